//! What the families of instructions ask the decoder for: registers, labels, constants.

use crate::emulator::syntax::{Immediate, Operand};

use super::super::scope::{Address, Label};
use super::super::types::{Class, Type};
use super::super::{Kernel, Op, ParameterPart, SINK, Slot, Special};
use super::{Decoded, Decoder, LOCAL_BASE, SHARED_BASE};

impl Decoder<'_> {
    fn visible(&self) -> impl Iterator<Item = usize> + use<> {
        let base = self.bases.last().copied().unwrap_or(0);
        (base..self.scopes.len()).rev().chain(std::iter::once(0))
    }

    /// The place of a variable.
    pub fn variable(&self, name: &str) -> Option<Address> {
        self.visible()
            .find_map(|i| self.scopes[i].variables.get(name).copied())
    }

    /// The label of a name.
    pub fn label(&self, name: &str) -> Decoded<Label> {
        self.visible()
            .find_map(|i| self.scopes[i].labels.get(name).copied())
            .ok_or_else(|| format!("there is no label {name} in scope"))
    }

    /// The labels of a `.branchtargets` list.
    pub fn branch_targets(&self, name: &str) -> Decoded<Vec<Label>> {
        let names = self
            .visible()
            .find_map(|i| self.scopes[i].branch_targets.get(name))
            .ok_or_else(|| format!("there is no list of branch targets {name} in scope"))?;
        names.iter().map(|name| self.label(name)).collect()
    }

    /// The class of a register, if the name is one.
    pub fn class(&self, name: &str) -> Option<Class> {
        self.visible()
            .find_map(|i| self.scopes[i].register(name))
            .map(|(class, _)| class)
    }

    fn new_slot(&mut self, class: Class) -> Decoded<Slot> {
        let count = match class {
            Class::Pred => &mut self.kernel.predicates,
            Class::R16 | Class::R32 => &mut self.kernel.slots32,
            Class::R64 => &mut self.kernel.slots64,
        };
        let slot = Slot::try_from(*count)
            .ok()
            .filter(|&slot| slot != SINK)
            .ok_or("the kernel uses more than 65534 registers of a kind")?;
        *count += 1;
        Ok(slot)
    }

    /// The slot of any register and its class.
    pub fn any_register(&mut self, name: &str) -> Decoded<(Class, Slot)> {
        let found = self
            .visible()
            .find_map(|i| self.scopes[i].register(name).map(|found| (i, found)));
        match found {
            Some((_, (class, Some(slot)))) => Ok((class, slot)),
            Some((scope, (class, None))) => {
                let slot = self.new_slot(class)?;
                self.scopes[scope].met(name, class, slot);
                Ok((class, slot))
            }
            None => Err(format!("there is no register {name}")),
        }
    }

    /// The slot of a register that must be of this class.
    pub fn register(&mut self, name: &str, class: Class) -> Decoded<Slot> {
        let (own, slot) = self.any_register(name)?;
        if own != class {
            return Err(format!("{name} is a register of {own:?}, not of {class:?}"));
        }
        Ok(slot)
    }

    /// As [`register`](Self::register), of a register that the instruction reads.
    pub fn read_register(&mut self, name: &str, class: Class) -> Decoded<Slot> {
        let slot = self.register(name, class)?;
        self.reads.insert((class, slot));
        Ok(slot)
    }

    /// A register that holds a part of the kernel's parameters.
    pub fn parameter(&mut self, part: ParameterPart) -> Decoded<Slot> {
        if let Some(&slot) = self.parameter_slots.get(&part) {
            return Ok(slot);
        }
        let slot = self.new_slot(part.class)?;
        self.kernel.parameter_slots.push((slot, part));
        self.parameter_slots.insert(part, slot);
        Ok(slot)
    }

    /// Bytes of the kernel's parameter space.
    pub fn parameter_bytes(&self) -> usize {
        self.kernel.parameter_bytes
    }

    /// A register without a name.
    pub fn temporary(&mut self, class: Class) -> Decoded<Slot> {
        self.new_slot(class)
    }

    /// Adds an instruction before the one under way. It runs in all active lanes.
    pub fn emit_extra(&mut self, op: Op) -> Decoded<()> {
        self.emit_plain(op).map_err(|error| error.message)
    }

    /// Whether a device function is being inlined.
    pub fn in_function(&self) -> bool {
        !self.returns.is_empty()
    }

    /// Where a result goes.
    pub fn destination(&mut self, operand: &Operand, class: Class) -> Decoded<Slot> {
        match operand {
            Operand::Name(name) => self.register(name, class),
            Operand::Sink => self.new_slot(class),
            other => Err(format!("{other:?} cannot take a result")),
        }
    }

    /// Where an operand of type `ty` comes from: a register, or one made for a constant, a special
    /// register or a variable's address.
    pub fn source(&mut self, operand: &Operand, ty: Type) -> Decoded<Slot> {
        match operand {
            Operand::Name(name) if self.class(name).is_some() => {
                self.read_register(name, ty.class())
            }
            Operand::Name(name) => match special(name) {
                Some(special) => self.special(special, ty.class()),
                None => self.address_of(name, 0, ty.class()),
            },
            Operand::Offset(name, offset) => self.address_of(name, *offset, ty.class()),
            Operand::Immediate(immediate) => {
                let bits = immediate_bits(*immediate, ty)?;
                self.constant(ty.class(), bits)
            }
            other => Err(format!("{other:?} cannot stand for a value of type {ty:?}")),
        }
    }

    /// A destination and `count` sources (at most three), all of one type; sources that are not
    /// there repeat the first.
    pub fn destination_and_sources(
        &mut self,
        operands: &[Operand],
        count: usize,
        ty: Type,
    ) -> Decoded<(Slot, [Slot; 3])> {
        let (dst, sources) = operands.split_first().ok_or("it takes operands")?;
        if sources.len() != count {
            return Err(format!(
                "it takes {} operands, but {} were given",
                count + 1,
                operands.len()
            ));
        }
        let mut slots = [None; 3];
        for (slot, source) in slots.iter_mut().zip(sources) {
            *slot = Some(self.source(source, ty)?);
        }
        let first = slots[0].ok_or("it takes sources")?;
        let dst = self.destination(dst, ty.class())?;
        Ok((dst, slots.map(|slot| slot.unwrap_or(first))))
    }

    /// A register that holds `bits`.
    pub fn constant(&mut self, class: Class, bits: u64) -> Decoded<Slot> {
        let bits = match class {
            Class::Pred => u64::from(bits != 0),
            Class::R16 => bits & 0xffff,
            Class::R32 => bits & 0xffff_ffff,
            Class::R64 => bits,
        };
        let class = if class == Class::R16 {
            Class::R32
        } else {
            class
        };
        if let Some(&slot) = self.constants.get(&(class, bits)) {
            return Ok(slot);
        }
        let slot = self.new_slot(class)?;
        match class {
            Class::Pred => self.kernel.constant_predicates.push((slot, bits != 0)),
            Class::R64 => self.kernel.constants64.push((slot, bits)),
            _ => self.kernel.constants32.push((slot, bits as u32)),
        }
        self.constants.insert((class, bits), slot);
        Ok(slot)
    }

    fn special(&mut self, special: Special, class: Class) -> Decoded<Slot> {
        // 64-bit reads of special registers are of `%gridid` alone, which is zero here.
        let class = match (class, special) {
            (Class::R64, Special::Zero) => return self.constant(Class::R64, 0),
            (Class::R32 | Class::R16, _) => Class::R32,
            _ => return Err(format!("a special register is not of {class:?}")),
        };
        if let Some(&slot) = self.specials.get(&(class, special)) {
            return Ok(slot);
        }
        let slot = self.new_slot(class)?;
        self.kernel.specials.push((slot, special));
        self.specials.insert((class, special), slot);
        Ok(slot)
    }

    /// A register that holds the address of a variable in its own memory.
    fn address_of(&mut self, name: &str, offset: i64, class: Class) -> Decoded<Slot> {
        let address = self
            .variable(name)
            .ok_or_else(|| format!("'{name}' is no register, special register or variable"))?;
        if class == Class::R16 || class == Class::Pred {
            return Err(format!("the address of '{name}' does not fit"));
        }
        let base = match address {
            Address::Buffer(_, base) => base,
            Address::Shared(at) => SHARED_BASE + at,
            Address::Local(at) | Address::Frame(at) => LOCAL_BASE + at,
            Address::Param(at) => at,
            Address::DynamicShared => {
                if offset != 0 {
                    return Err("an offset from dynamic shared memory is not supported".into());
                }
                let slot = self.new_slot(class)?;
                self.dynamic.push((class, slot));
                return Ok(slot);
            }
        };
        self.constant(class, base.wrapping_add_signed(offset))
    }

    /// The predicate that holds the carry of `add.cc` and its kin.
    pub fn carry(&mut self) -> Decoded<Slot> {
        if let Some(slot) = self.carry {
            return Ok(slot);
        }
        let slot = self.new_slot(Class::Pred)?;
        self.carry = Some(slot);
        Ok(slot)
    }

    /// The number of an operand that must be a constant.
    pub fn literal(&self, operand: &Operand) -> Decoded<u64> {
        match operand {
            Operand::Immediate(Immediate::Integer(value)) => Ok(*value),
            other => Err(format!("{other:?} stands where a constant integer should")),
        }
    }

    /// The kernel under way, for what its instructions say about it as a whole.
    pub fn kernel_mut(&mut self) -> &mut Kernel {
        &mut self.kernel
    }
}

/// Exactly `N` operands.
pub fn exactly<const N: usize>(operands: &[Operand]) -> Decoded<&[Operand; N]> {
    operands
        .try_into()
        .map_err(|_| format!("it takes {N} operands, but {} were given", operands.len()))
}

fn immediate_bits(immediate: Immediate, ty: Type) -> Decoded<u64> {
    match (immediate, ty) {
        (Immediate::Integer(value), _) if !ty.is_float() => Ok(value),
        (Immediate::Single(bits), Type::F32 | Type::B32) => Ok(bits.into()),
        (Immediate::Double(bits), Type::F64 | Type::B64) => Ok(bits),
        (Immediate::Double(bits), Type::F32) => {
            Ok(u64::from((f64::from_bits(bits) as f32).to_bits()))
        }
        (other, _) => Err(format!("{other:?} is no constant of type {ty:?}")),
    }
}

fn special(name: &str) -> Option<Special> {
    let axis = |name: &str| match name {
        "x" => Some(0),
        "y" => Some(1),
        "z" => Some(2),
        _ => None,
    };
    let (stem, axis) = match name.split_once('.') {
        Some((stem, suffix)) => (stem, Some(axis(suffix)?)),
        None => (name, None),
    };
    Some(match (stem, axis) {
        ("%tid", Some(axis)) => Special::Tid(axis),
        ("%ntid", Some(axis)) => Special::Ntid(axis),
        ("%ctaid", Some(axis)) => Special::Ctaid(axis),
        ("%nctaid", Some(axis)) => Special::Nctaid(axis),
        ("%laneid", None) => Special::LaneId,
        ("%warpid", None) => Special::WarpId,
        ("%nwarpid", None) => Special::WarpCount,
        ("%lanemask_eq", None) => Special::LaneMaskEq,
        ("%lanemask_le", None) => Special::LaneMaskLe,
        ("%lanemask_lt", None) => Special::LaneMaskLt,
        ("%lanemask_ge", None) => Special::LaneMaskGe,
        ("%lanemask_gt", None) => Special::LaneMaskGt,
        ("%dynamic_smem_size", None) => Special::DynamicSharedBytes,
        ("%total_smem_size", None) => Special::TotalSharedBytes,
        ("%smid" | "%gridid", None) => Special::Zero,
        _ => return None,
    })
}
