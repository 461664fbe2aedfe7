//! Sizes of variables, and the buffers of those that live in global and constant memory.

use std::collections::HashMap;

use crate::emulator::memory::global::GlobalMemory;
use crate::emulator::syntax::{
    Immediate, Initial, Ptx, StateSpace, Statement, SyntaxError, Variable,
};

use super::types::Type;

/// The most bytes of one variable that is not a buffer.
const LARGEST: u64 = 1 << 24;

impl Variable {
    /// Bytes and alignment.
    pub(super) fn layout(&self) -> Result<(usize, usize), SyntaxError> {
        let element = Type::named(&self.element)
            .filter(|&element| element != Type::Pred)
            .ok_or_else(|| {
                let message = format!("variables of type .{} are not supported", self.element);
                SyntaxError::new(self.line, message)
            })?;
        let bytes = self.elements.saturating_mul(element.bytes() as u64);
        let limit = match self.space {
            StateSpace::Global | StateSpace::Const => LARGEST_MODULE,
            _ => LARGEST,
        };
        if bytes > limit {
            let message = format!("'{}' has {bytes} bytes, more than {limit}", self.name);
            return Err(SyntaxError::new(self.line, message));
        }
        let align = self.align.unwrap_or(0).max(element.bytes() as u64);
        Ok((bytes as usize, align as usize))
    }
}

/// The most bytes that a module's variables in global and constant memory have together.
const LARGEST_MODULE: u64 = 1 << 28;

/// What the functions of a module share.
#[derive(Debug, Default)]
pub struct Module {
    /// Addresses and spaces of variables in global and constant memory. Those declared within
    /// functions are known by name and line.
    addresses: HashMap<(String, u32), (StateSpace, u64)>,
    buffers: Vec<(String, usize)>,
}

impl Module {
    /// Makes and fills the buffers.
    pub fn new(ptx: &Ptx, memory: &mut GlobalMemory) -> Result<Self, SyntaxError> {
        let mut declared = Vec::new();
        for variable in &ptx.variables {
            collect(variable, &mut declared);
        }
        for function in &ptx.functions {
            if let Some(body) = &function.body {
                collect_from(body, &mut declared);
            }
        }
        let mut module = Self::default();
        let made = module.make(&declared, memory);
        if made.is_err() {
            module
                .buffers
                .iter()
                .for_each(|&(_, index)| memory.free(index));
        }
        made.map(|()| module)
    }

    fn make(
        &mut self,
        declared: &[&Variable],
        memory: &mut GlobalMemory,
    ) -> Result<(), SyntaxError> {
        let mut total = 0;
        for variable in declared {
            let (bytes, _) = variable.layout()?;
            total += bytes as u64;
            if total > LARGEST_MODULE {
                let message =
                    format!("the module's variables have more than {LARGEST_MODULE} bytes");
                return Err(SyntaxError::new(variable.line, message));
            }
            let constant = variable.space == StateSpace::Const;
            let refuse = |error: &dyn ToString| SyntaxError::new(variable.line, error.to_string());
            let index = memory
                .allocate(&variable.name, bytes, constant)
                .map_err(|error| refuse(&error))?;
            self.buffers.push((variable.name.clone(), index));
            let base = memory.slot(index).map_or(0, |slot| slot.base);
            let key = (variable.name.clone(), variable.line);
            if self.addresses.insert(key, (variable.space, base)).is_some() {
                return Err(refuse(&format!("'{}' is defined twice", variable.name)));
            }
        }
        for (variable, (_, index)) in declared.iter().zip(&self.buffers) {
            let bytes = self.initial_bytes(variable)?;
            if let Some(slot) = memory.slot(*index) {
                slot.upload(0, &bytes);
            }
        }
        Ok(())
    }

    /// The address of a variable of global or constant memory. `line` picks one declared within a
    /// function, else any of this name.
    pub fn address(&self, name: &str, line: Option<u32>) -> Option<(StateSpace, u64)> {
        match line {
            Some(line) => self.addresses.get(&(name.to_owned(), line)).copied(),
            None => {
                let all = self.addresses.iter().filter(|((own, _), _)| own == name);
                all.min_by_key(|((_, line), _)| *line)
                    .map(|(_, &address)| address)
            }
        }
    }

    /// Names and indices of the buffers.
    pub fn buffers(&self) -> Vec<(String, usize)> {
        self.buffers.clone()
    }

    fn initial_bytes(&self, variable: &Variable) -> Result<Vec<u8>, SyntaxError> {
        let (bytes, _) = variable.layout()?;
        let element = Type::named(&variable.element).map_or(1, Type::bytes);
        let mut out = Vec::with_capacity(bytes);
        for value in &variable.initial {
            let bits = match value {
                Initial::Number(Immediate::Integer(value)) => *value,
                Initial::Number(Immediate::Single(bits)) if element == 4 => u64::from(*bits),
                Initial::Number(Immediate::Double(bits)) if element == 8 => *bits,
                Initial::Number(Immediate::Double(bits)) if element == 4 => {
                    u64::from((f64::from_bits(*bits) as f32).to_bits())
                }
                Initial::Address(name, offset) if element == 8 => {
                    let (_, base) = self.address(name, None).ok_or_else(|| {
                        let message = format!("'{name}' is no variable with an address");
                        SyntaxError::new(variable.line, message)
                    })?;
                    base.wrapping_add_signed(*offset)
                }
                other => {
                    let message = format!(
                        "{other:?} cannot be a value of '{}' of type .{}",
                        variable.name, variable.element
                    );
                    return Err(SyntaxError::new(variable.line, message));
                }
            };
            out.extend_from_slice(&bits.to_le_bytes()[..element]);
        }
        // PTX: variables in global and constant memory are zero unless they say otherwise.
        out.resize(bytes, 0);
        Ok(out)
    }
}

fn collect<'a>(variable: &'a Variable, out: &mut Vec<&'a Variable>) {
    if matches!(variable.space, StateSpace::Global | StateSpace::Const) {
        out.push(variable);
    }
}

fn collect_from<'a>(statements: &'a [Statement], out: &mut Vec<&'a Variable>) {
    for statement in statements {
        match statement {
            Statement::Variable(variable) => collect(variable, out),
            Statement::Block(inner) => collect_from(inner, out),
            _ => {}
        }
    }
}
