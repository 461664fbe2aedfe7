//! Matrices in registers: `ldmatrix`, `stmatrix`, `mma`; run in `exec/tensor.rs`.

use crate::emulator::syntax::Operand;

use super::decoder::{Decoded, Decoder, exactly};
use super::memory::{Address, Space, address};
use super::types::{Class, Type};
use super::{Modifiers, Op, Slot};

/// `ldmatrix` or `stmatrix` of 1, 2 or 4 matrices of 8 x 8 values of 16 bits.
#[derive(Clone, Copy, Debug)]
pub struct Matrices {
    pub store: bool,
    pub transposed: bool,
    pub count: u8,
    /// Of a row of 16 bytes, lane by lane.
    pub address: Address,
    pub space: Space,
    pub registers: [Slot; 4],
}

/// `d = a b + c` of 16 x 8 x K values: a row by row, b column by column.
#[derive(Clone, Copy, Debug)]
pub struct Mma {
    /// K: 8 or 16.
    pub depth: u8,
    /// Of a and b: f16 or bf16.
    pub ty: Type,
    /// Whether d and c are of f32; else of f16.
    pub wide_d: bool,
    pub wide_c: bool,
    pub d: [Slot; 4],
    pub a: [Slot; 4],
    pub b: [Slot; 2],
    pub c: [Slot; 4],
}

#[derive(Clone, Debug)]
pub enum Tensor {
    Matrices(Matrices),
    Mma(Box<Mma>),
}

fn word(m: &mut Modifiers, wanted: &'static str) -> Decoded<()> {
    m.require(wanted, |word| (word == wanted).then_some(()))
}

/// Decodes a tensor instruction.
pub fn decode(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Op> {
    word(m, "sync")?;
    word(m, "aligned")?;
    Ok(Op::Tensor(match opcode {
        "ldmatrix" => matrices(d, false, m, operands)?,
        "stmatrix" => matrices(d, true, m, operands)?,
        "mma" => mma(d, m, operands)?,
        _ => return Err("the instruction is not supported".to_owned()),
    }))
}

/// The registers of a vector operand, or of a single one.
fn registers<const N: usize>(
    d: &mut Decoder,
    operand: &Operand,
    count: usize,
    mut slot: impl FnMut(&mut Decoder, &Operand) -> Decoded<Slot>,
) -> Decoded<[Slot; N]> {
    let elements = match operand {
        Operand::Vector(elements) => elements.as_slice(),
        single => std::slice::from_ref(single),
    };
    if elements.len() != count || count > N {
        return Err(format!(
            "{count} registers are wanted, not {}",
            elements.len()
        ));
    }
    let mut slots = [0; N];
    for (to, element) in slots.iter_mut().zip(elements) {
        *to = slot(d, element)?;
    }
    Ok(slots)
}

fn matrices(
    d: &mut Decoder,
    store: bool,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Tensor> {
    word(m, "m8n8")?;
    let count = m.require("x1, x2 or x4", |word| match word {
        "x1" => Some(1),
        "x2" => Some(2),
        "x4" => Some(4),
        _ => None,
    })?;
    let transposed = m.accept("trans");
    let mut space = super::memory::space(m);
    if !matches!(space, Space::Shared | Space::Generic) {
        return Err("matrices lie in shared memory".to_owned());
    }
    word(m, "b16")?;
    let [dst, src] = exactly(operands)?;
    let (data, at) = if store { (src, dst) } else { (dst, src) };
    let address = address(d, at, &mut space, false)?;
    let registers = registers(d, data, count, |d, operand| {
        if store {
            d.source(operand, Type::B32)
        } else {
            d.destination(operand, Class::R32)
        }
    })?;
    Ok(Tensor::Matrices(Matrices {
        store,
        transposed,
        count: count as u8,
        address,
        space,
        registers,
    }))
}

fn mma(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Tensor> {
    let depth = m.require("a shape", |word| match word {
        "m16n8k8" => Some(8),
        "m16n8k16" => Some(16),
        _ => None,
    })?;
    word(m, "row")?;
    word(m, "col")?;
    let accumulator = |word: &str| match word {
        "f32" => Some(true),
        "f16" => Some(false),
        _ => None,
    };
    let half = |word: &str| match word {
        "f16" => Some(Type::F16),
        "bf16" => Some(Type::BF16),
        _ => None,
    };
    let wide_d = m.require("the type of d", accumulator)?;
    let ty = m.require("the type of a", half)?;
    let ty_b = m.require("the type of b", half)?;
    let wide_c = m.require("the type of c", accumulator)?;
    if ty != ty_b || ty == Type::BF16 && !(wide_d && wide_c) || wide_d != wide_c {
        return Err("this combination of types is not supported".to_owned());
    }
    let [dst, a, b, c] = exactly(operands)?;
    let halves = usize::from(depth) / 8;
    let source = |d: &mut Decoder, operand: &Operand| d.source(operand, Type::B32);
    Ok(Tensor::Mma(Box::new(Mma {
        depth,
        ty,
        wide_d,
        wide_c,
        a: registers(d, a, 2 * halves, source)?,
        b: registers(d, b, halves, source)?,
        c: registers(d, c, if wide_c { 4 } else { 2 }, source)?,
        d: registers(d, dst, if wide_d { 4 } else { 2 }, |d, operand| {
            d.destination(operand, Class::R32)
        })?,
    })))
}
