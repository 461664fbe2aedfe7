//! What names mean in a body: registers, labels, variables, each in the innermost `{}` that
//! declares them.

use std::collections::HashMap;

use crate::emulator::syntax::{RegisterDeclaration, StateSpace, SyntaxError};

use super::Slot;
use super::types::{Class, Type};

/// A place in the code that branches go to; known by its number until all code is there.
pub type Label = u32;

/// Where a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// In global or constant memory.
    Buffer(StateSpace, u64),
    /// In shared memory, from the beginning of the static part.
    Shared(u64),
    /// In dynamic shared memory: behind the static part, whose size is not known yet.
    DynamicShared,
    /// In the local memory of a thread.
    Local(u64),
    /// Like `Local`, for parameters of device functions: read and written as parameters.
    Frame(u64),
    /// In the parameters of the kernel.
    Param(u64),
}

/// The names of one `{}`.
#[derive(Debug, Default)]
pub struct Scope {
    /// Declared with a count: `%r<100>`.
    families: HashMap<String, (Class, u64)>,
    /// Declared one by one.
    singles: HashMap<String, Class>,
    /// Registers that have been met.
    slots: HashMap<String, (Class, Slot)>,
    pub labels: HashMap<String, Label>,
    pub variables: HashMap<String, Address>,
    pub branch_targets: HashMap<String, Vec<String>>,
}

impl Scope {
    /// Adds the registers of a declaration.
    pub fn declare(&mut self, declaration: &RegisterDeclaration) -> Result<(), SyntaxError> {
        let class = Type::named(&declaration.class)
            .filter(|ty| ty.bytes() != 1)
            .map(Type::class)
            .ok_or_else(|| {
                let message = format!("registers of type .{} are not supported", declaration.class);
                SyntaxError::new(declaration.line, message)
            })?;
        for (name, count) in &declaration.names {
            match count {
                Some(count) => {
                    self.families.insert(name.clone(), (class, *count));
                }
                None => {
                    self.singles.insert(name.clone(), class);
                }
            }
        }
        Ok(())
    }

    /// The class of a register declared here and its slot, if it has been met before.
    pub fn register(&self, name: &str) -> Option<(Class, Option<Slot>)> {
        if let Some(&(class, slot)) = self.slots.get(name) {
            return Some((class, Some(slot)));
        }
        if let Some(&class) = self.singles.get(name) {
            return Some((class, None));
        }
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        // `%a1<5>` declares `%a10` too: each split of the digits can be the right one.
        (1..=digits).find_map(|n| {
            let (family, number) = name.split_at(name.len() - n);
            let &(class, count) = self.families.get(family)?;
            let canonical = n == 1 || !number.starts_with('0');
            let inside = number.parse::<u64>().is_ok_and(|i| i < count);
            (canonical && inside).then_some((class, None))
        })
    }

    /// Remembers the slot of a register.
    pub fn met(&mut self, name: &str, class: Class, slot: Slot) {
        self.slots.insert(name.to_owned(), (class, slot));
    }
}
