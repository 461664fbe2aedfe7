//! Loads and stores; run in `exec/memory.rs`.

use crate::emulator::memory;
use crate::emulator::syntax::{Operand, StateSpace};

use super::convert::Convert;
use super::decoder::{Decoded, Decoder, exactly};
use super::integer::{self, IntType, Integer};
use super::scope;
use super::types::{Class, Type};
use super::{Modifiers, Op, ParameterPart, SINK, Slot};

/// The memory that an access goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Generic,
    Global,
    Const,
    Shared,
    Local,
    /// Parameters of device functions, kept beside local memory.
    Frame,
    /// Parameters of the kernel.
    Param,
}

/// How an access is ordered with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Weak,
    /// Volatile or relaxed: may race with other such accesses.
    Strong,
    Acquire,
    Release,
}

/// A register and a constant offset.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    pub base: Slot,
    /// Whether the base is of the 64-bit file.
    pub wide: bool,
    pub offset: i64,
}

/// A load or a store of 1, 2 or 4 adjacent elements.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    pub space: Space,
    pub store: bool,
    /// A load that promises that the kernel never writes there.
    pub read_only: bool,
    pub order: Order,
    pub address: Address,
    /// Bytes of an element.
    pub bytes: u8,
    pub count: u8,
    /// A load extends the sign.
    pub signed: bool,
    /// Of the registers.
    pub class: Class,
    pub registers: [Slot; 4],
}

impl Access {
    /// Bytes that each lane loads or stores.
    #[inline(always)]
    pub fn lane_bytes(&self) -> usize {
        usize::from(self.bytes) * usize::from(self.count)
    }
}

/// Decodes a load, a store, a prefetch or a question about an address.
pub fn decode(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Op> {
    match opcode {
        "ld" => access(d, false, m, operands),
        "st" => access(d, true, m, operands),
        "prefetch" => prefetch(d, m, operands),
        "isspacep" => is_space(d, m, operands),
        _ => Err("the instruction is not supported".to_owned()),
    }
}

/// The state space of a load, a store or an atomic operation.
pub fn space(m: &mut Modifiers) -> Space {
    m.choose(|word| {
        Some(match word {
            "global" => Space::Global,
            "const" => Space::Const,
            "shared" | "shared::cta" => Space::Shared,
            "local" => Space::Local,
            "param" | "param::entry" | "param::func" => Space::Param,
            _ => return None,
        })
    })
    .unwrap_or(Space::Generic)
}

/// `.cta`, `.cluster`, `.gpu` or `.sys`; all are taken as the widest.
pub fn scope_word(word: &str) -> Option<()> {
    matches!(word, "cta" | "cluster" | "gpu" | "sys").then_some(())
}

/// Words that concern caches alone.
fn caches(m: &mut Modifiers, store: bool) {
    let operator = |word: &str| {
        let known = match store {
            false => matches!(word, "ca" | "cg" | "cs" | "lu" | "cv"),
            true => matches!(word, "wb" | "cg" | "cs" | "wt"),
        };
        known.then_some(())
    };
    // An operator, or a hint for the first level; hints for the second are of wider accesses.
    if m.choose(operator).is_none() {
        m.choose(|word| {
            let hint = word.strip_prefix("L1::")?;
            matches!(
                hint,
                "evict_normal" | "evict_unchanged" | "evict_first" | "evict_last" | "no_allocate"
            )
            .then_some(())
        });
    }
    if !store {
        m.choose(prefetch_size);
    }
}

/// `.L2::64B` and its kin.
pub fn prefetch_size(word: &str) -> Option<()> {
    matches!(word, "L2::64B" | "L2::128B" | "L2::256B").then_some(())
}

fn access(d: &mut Decoder, store: bool, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    let volatile = m.accept("volatile");
    let order = m
        .choose(|word| {
            Some(match word {
                "weak" if !volatile => Order::Weak,
                "relaxed" if !volatile => Order::Strong,
                "acquire" if !store && !volatile => Order::Acquire,
                "release" if store && !volatile => Order::Release,
                _ => return None,
            })
        })
        .unwrap_or(if volatile { Order::Strong } else { Order::Weak });
    if order != Order::Weak && !volatile {
        m.require("a scope", scope_word)?;
    }
    let mut space = space(m);
    if store && space == Space::Const {
        return Err("constant memory cannot be written".to_owned());
    }
    caches(m, store);
    let read_only = !store && space == Space::Global && m.accept("nc");
    if read_only {
        caches(m, store);
    }
    let count = m
        .choose(|word| match word {
            "v2" => Some(2),
            "v4" => Some(4),
            _ => None,
        })
        .unwrap_or(1usize);
    let ty = m.require("a type", |word| {
        Type::named(word).filter(|ty| ty.bytes() > 0 && !ty.is_half())
    })?;
    let bytes = ty.bytes();
    if bytes * count > 16 {
        return Err("an access has at most 16 bytes".to_owned());
    }
    let [dst, src] = exactly(operands)?;
    let (data, at) = if store { (src, dst) } else { (dst, src) };
    let address = address(d, at, &mut space, store)?;
    let elements = match data {
        Operand::Vector(elements) if count > 1 => elements.as_slice(),
        single if count == 1 => std::slice::from_ref(single),
        _ => &[],
    };
    if elements.len() != count {
        return Err(format!("{count} registers are wanted"));
    }
    let (class, registers) = data_registers(d, elements, ty, store)?;
    if space == Space::Param
        && count == 1
        && registers[0] != SINK
        && let Some(offset) = parameter_offset(d, at, bytes)
    {
        let part = ParameterPart {
            offset,
            bytes,
            signed: ty.is_signed(),
            class,
        };
        let (dst, a) = (registers[0], d.parameter(part)?);
        return Ok(Op::Convert(match class {
            Class::R64 => Convert::Move64 { d: dst, a },
            _ => Convert::Move32 { d: dst, a },
        }));
    }
    let kernel = d.kernel_mut();
    if matches!(space, Space::Shared | Space::Generic) {
        kernel.shared_granule = kernel.shared_granule.min(bytes * count);
    }
    if matches!(space, Space::Global | Space::Generic) {
        kernel.global_granule = kernel.global_granule.min(bytes * count);
    }
    // Such a load may wait for another block.
    kernel.in_order |= order != Order::Weak && matches!(space, Space::Global | Space::Generic);
    Ok(Op::Memory(Access {
        space,
        store,
        read_only,
        order,
        address,
        bytes: bytes as u8,
        count: count as u8,
        signed: ty.is_signed(),
        class,
        registers,
    }))
}

/// The place of a whole and aligned part of the kernel's parameters that is addressed by name.
fn parameter_offset(d: &Decoder, operand: &Operand, bytes: usize) -> Option<usize> {
    let Operand::Address(Some(name), offset) = operand else {
        return None;
    };
    let Some(scope::Address::Param(start)) = d.variable(name) else {
        return None;
    };
    let at = usize::try_from(start.checked_add_signed(*offset)?).ok()?;
    let inside = at.checked_add(bytes)? <= d.parameter_bytes();
    (inside && at.is_multiple_of(bytes)).then_some(at)
}

/// The registers of an access, all of one class that may be wider than the type.
fn data_registers(
    d: &mut Decoder,
    elements: &[Operand],
    ty: Type,
    store: bool,
) -> Decoded<(Class, [Slot; 4])> {
    let mut class = None;
    for element in elements {
        if let Operand::Name(name) = element
            && let Some(own) = d.class(name)
        {
            if class.is_some_and(|class| class != own) {
                return Err("the registers are of several classes".to_owned());
            }
            class = Some(own);
        }
    }
    let class = class.unwrap_or(ty.class());
    let exact = ty.is_float() && class != ty.class();
    if class == Class::Pred || class.bytes() < ty.bytes() || exact {
        return Err(format!("registers of {class:?} do not fit {ty:?}"));
    }
    let mut slots = [SINK; 4];
    for (slot, element) in slots.iter_mut().zip(elements) {
        *slot = match element {
            Operand::Sink if !store => SINK,
            Operand::Name(name) if store && d.class(name).is_some() => {
                d.read_register(name, class)?
            }
            other if store => d.source(other, ty)?,
            other => d.destination(other, class)?,
        };
    }
    Ok((class, slots))
}

/// The address of an operand `[...]`. A variable says which memory it is in.
pub fn address(
    d: &mut Decoder,
    operand: &Operand,
    space: &mut Space,
    store: bool,
) -> Decoded<Address> {
    let Operand::Address(base, offset) = operand else {
        return Err(format!("{operand:?} is no address"));
    };
    let Some(name) = base else {
        let base = d.constant(Class::R64, *offset as u64)?;
        return Ok(Address {
            base,
            wide: true,
            offset: 0,
        });
    };
    if let Some(class) = d.class(name) {
        let wide = class == Class::R64;
        // Constants lie in buffers, beyond 32 bits.
        let narrow_is_enough = !matches!(space, Space::Generic | Space::Global | Space::Const);
        if !(wide || class == Class::R32 && narrow_is_enough) {
            return Err(format!("{name} holds no address of this memory"));
        }
        if *space == Space::Param && (store || d.in_function()) {
            return Err("parameters of device functions are addressed by name only".to_owned());
        }
        return Ok(Address {
            base: d.read_register(name, class)?,
            wide,
            offset: *offset,
        });
    }
    let place = d
        .variable(name)
        .ok_or_else(|| format!("'{name}' is no register or variable"))?;
    *space = match (place, *space) {
        (scope::Address::Buffer(StateSpace::Const, _), Space::Const | Space::Generic) => {
            Space::Const
        }
        (scope::Address::Buffer(StateSpace::Global, _), Space::Global | Space::Generic) => {
            Space::Global
        }
        (scope::Address::Shared(_) | scope::Address::DynamicShared, Space::Shared) => Space::Shared,
        (scope::Address::Local(_), Space::Local) => Space::Local,
        (scope::Address::Frame(_), Space::Param) => Space::Frame,
        (scope::Address::Param(_), Space::Param) if !store => Space::Param,
        (place, space) => return Err(format!("'{name}' at {place:?} is not in {space:?}")),
    };
    let base = d.source(&Operand::Name(name.clone()), Type::U64)?;
    Ok(Address {
        base,
        wide: true,
        offset: *offset,
    })
}

/// Checked, then forgotten: caches do not exist here.
fn prefetch(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    let mut space = space(m);
    m.require("a cache level", |word| {
        matches!(word, "L1" | "L2" | "L2::evict_last" | "L2::evict_normal").then_some(())
    })?;
    if !matches!(space, Space::Generic | Space::Global | Space::Local) {
        return Err("global and local memory alone is prefetched".to_owned());
    }
    let [at] = exactly(operands)?;
    address(d, at, &mut space, false)?;
    Ok(Op::Control(super::control::Control::Nop))
}

fn is_space(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    use super::compare::{Compare, Condition, Logic, Relation};
    let window = m.require("a state space", |word| {
        Some(match word {
            "shared" | "shared::cta" => memory::SHARED_WINDOW,
            "local" => memory::LOCAL_WINDOW,
            "param" => memory::PARAM_WINDOW,
            _ => return None,
        })
    })?;
    let [p, a] = exactly(operands)?;
    let a = d.source(a, Type::U64)?;
    // The window is the upper half: shift it down, then compare.
    let shifted = d.temporary(Class::R64)?;
    let distance = d.constant(Class::R32, 32)?;
    d.emit_extra(Op::Integer(Integer {
        operation: integer::Operation::Shr,
        ty: IntType::U64,
        d: shifted,
        a,
        b: distance,
        c: a,
    }))?;
    Ok(Op::Compare(Compare::Set {
        relation: Relation::Eq,
        ty: Type::U64,
        ftz: false,
        logic: Logic::And,
        with: Condition {
            slot: super::ALWAYS,
            flip: 0,
        },
        p: Some(d.destination(p, Class::Pred)?),
        q: None,
        a: shifted,
        b: d.constant(Class::R64, window)?,
    }))
}
