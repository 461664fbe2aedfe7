//! What a kernel declares: parameters, variables and their places, limits of its blocks.

use crate::emulator::syntax::{Function, StateSpace, SyntaxError, Variable};

use super::super::Parameter;
use super::super::scope::{Address, Scope};
use super::Decoder;

/// The most bytes of local memory of one thread, as on a GPU.
const LARGEST_LOCAL: u64 = 512 << 10;

impl Decoder<'_> {
    pub(super) fn module_scope(&mut self) -> Result<(), SyntaxError> {
        let ptx = self.ptx;
        for variable in &ptx.variables {
            self.line = variable.line;
            let address = match variable.space {
                StateSpace::Global | StateSpace::Const => self.buffer(variable)?,
                _ => self.place(variable, "")?,
            };
            let name = variable.name.clone();
            self.scopes[0].variables.insert(name, address);
        }
        Ok(())
    }

    fn buffer(&self, variable: &Variable) -> Result<Address, SyntaxError> {
        self.module
            .address(&variable.name, Some(variable.line))
            .map(|(space, base)| Address::Buffer(space, base))
            .ok_or_else(|| self.error(format!("'{}' has no address", variable.name)))
    }

    /// Gives a variable of a function its place.
    pub(super) fn place(
        &mut self,
        variable: &Variable,
        function: &str,
    ) -> Result<Address, SyntaxError> {
        let (bytes, align) = variable.layout()?;
        let open_end = variable.elements == 0;
        if open_end && variable.space != StateSpace::Shared {
            return Err(self.error(format!("'{}' has no size", variable.name)));
        }
        if !variable.initial.is_empty()
            && !matches!(variable.space, StateSpace::Global | StateSpace::Const)
        {
            return Err(self.error(format!("'{}' cannot have initial values", variable.name)));
        }
        let next = |end: &mut u64| {
            let start = end.next_multiple_of(align as u64);
            *end = start + bytes as u64;
            start
        };
        match variable.space {
            StateSpace::Global | StateSpace::Const => self.buffer(variable),
            StateSpace::Shared if open_end => Ok(Address::DynamicShared),
            StateSpace::Shared => {
                let key = (function.to_owned(), variable.name.clone(), variable.line);
                if let Some(&known) = self.shared.get(&key) {
                    return Ok(known);
                }
                let address = Address::Shared(next(&mut self.shared_end));
                self.shared.insert(key, address);
                Ok(address)
            }
            StateSpace::Local | StateSpace::Param => {
                let start = next(&mut self.local_end);
                if self.local_end > LARGEST_LOCAL {
                    let message =
                        format!("a thread needs more than {LARGEST_LOCAL} bytes of local memory");
                    return Err(self.error(message));
                }
                Ok(match variable.space {
                    StateSpace::Local => Address::Local(start),
                    _ => Address::Frame(start),
                })
            }
        }
    }

    pub(super) fn parameters(&mut self, function: &Function) -> Result<(), SyntaxError> {
        let mut end = 0usize;
        let mut scope = Scope::default();
        for parameter in &function.parameters {
            let (size, align) = parameter.layout()?;
            let offset = end.next_multiple_of(align);
            end = offset + size;
            if end > 32_764 {
                return Err(self.error("the parameters have more than 32764 bytes"));
            }
            let address = Address::Param(offset as u64);
            scope.variables.insert(parameter.name.clone(), address);
            self.kernel.parameters.push(Parameter {
                name: parameter.name.clone(),
                offset,
                size,
                align,
            });
        }
        self.kernel.parameter_bytes = end.next_multiple_of(8);
        self.scopes.push(scope);
        self.bases = vec![1];
        Ok(())
    }

    pub(super) fn directives(&mut self, function: &Function) -> Result<(), SyntaxError> {
        for (name, numbers) in &function.directives {
            let axis = |i: usize| numbers.get(i).map_or(1, |&n| u32::try_from(n).unwrap_or(0));
            let block = [axis(0), axis(1), axis(2)];
            let threads = block.iter().fold(1u32, |all, &n| all.saturating_mul(n));
            match name.as_str() {
                "maxntid" => self.kernel.max_threads = Some(threads),
                "reqntid" => self.kernel.required_block = Some(block),
                // Wishes to the compiler behind PTX, of no consequence for what a kernel does.
                "minnctapersm" | "maxnreg" | "maxnctapersm" | "noreturn" => {}
                other => {
                    let line = function.line;
                    let message = format!("the directive .{other} is not supported");
                    return Err(SyntaxError::new(line, message));
                }
            }
        }
        Ok(())
    }
}
