//! Walks a kernel's statements and the device functions that it calls, which are inlined.

mod declarations;
mod operands;

use std::collections::{HashMap, HashSet};

use crate::emulator::finding::SourceLine;
use crate::emulator::syntax::{Function, Location, Operand, Ptx, Statement, SyntaxError};

use super::scope::{Address, Label, Scope};
use super::types::{Class, Type};
use super::variables::Module;
use super::{ALWAYS, Instruction, Kernel, Modifiers, Op, ParameterPart, SINK, Slot, Special};
use super::{
    async_copy, atomics, barrier, compare, control, convert, float, integer, memory, tensor, warp,
};

pub use operands::exactly;

/// The most instructions of a kernel with all its calls inlined.
const LONGEST_CODE: usize = 1 << 20;

/// The first address of shared and local memory; those before it belong to nobody.
pub const SHARED_BASE: u64 = 1024;
pub const LOCAL_BASE: u64 = 1024;

/// Decodes one kernel.
pub fn kernel(
    ptx: &Ptx,
    functions: &HashMap<&str, &Function>,
    module: &Module,
    function: &Function,
) -> Result<Kernel, SyntaxError> {
    let mut decoder = Decoder {
        ptx,
        functions,
        module,
        kernel: Kernel {
            name: function.name.clone(),
            predicates: 1,
            locations: vec![None],
            constant_predicates: vec![(ALWAYS, true)],
            shared_granule: 16,
            global_granule: 16,
            ..Kernel::default()
        },
        scopes: vec![Scope::default()],
        bases: vec![0],
        calls: vec![function.name.clone()],
        returns: Vec::new(),
        labels: Vec::new(),
        constants: HashMap::new(),
        specials: HashMap::new(),
        parameter_slots: HashMap::new(),
        dynamic: Vec::new(),
        shared: HashMap::new(),
        carry: None,
        reads: HashSet::new(),
        shared_end: 0,
        local_end: 0,
        locations: HashMap::new(),
        location: 0,
        line: function.line,
    };
    decoder.module_scope()?;
    decoder.parameters(function)?;
    decoder.directives(function)?;
    if let Some(body) = &function.body {
        decoder.statements(body)?;
    }
    decoder.emit_plain(Op::Control(control::Control::Exit))?;
    decoder.finish()
}

/// The state of decoding one kernel.
pub struct Decoder<'p> {
    ptx: &'p Ptx,
    functions: &'p HashMap<&'p str, &'p Function>,
    module: &'p Module,
    kernel: Kernel,
    scopes: Vec<Scope>,
    /// Where the scopes of each function under way begin; names of callers are not visible.
    bases: Vec<usize>,
    /// Names of the functions under way.
    calls: Vec<String>,
    /// Where `ret` goes in each inlined function.
    returns: Vec<Label>,
    /// Addresses of labels, once known.
    labels: Vec<Option<u32>>,
    constants: HashMap<(Class, u64), Slot>,
    specials: HashMap<(Class, Special), Slot>,
    parameter_slots: HashMap<ParameterPart, Slot>,
    /// Constants that hold an offset from the beginning of dynamic shared memory.
    dynamic: Vec<(Class, Slot)>,
    /// Static shared variables of functions by function, name and line.
    shared: HashMap<(String, String, u32), Address>,
    carry: Option<Slot>,
    /// Registers that some instruction reads.
    reads: HashSet<(Class, Slot)>,
    shared_end: u64,
    local_end: u64,
    locations: HashMap<Location, u32>,
    location: u32,
    line: u32,
}

/// Result of decoding: an error is a message about the current line.
pub type Decoded<T> = Result<T, String>;

impl<'p> Decoder<'p> {
    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.line, message)
    }

    fn statements(&mut self, statements: &'p [Statement]) -> Result<(), SyntaxError> {
        let mut scope = Scope::default();
        for statement in statements {
            if let Statement::Label(name) = statement {
                let label = self.new_label();
                if scope.labels.insert(name.clone(), label).is_some() {
                    return Err(self.error(format!("the label {name} stands twice in one scope")));
                }
            }
            if let Statement::BranchTargets(name, targets) = statement {
                scope.branch_targets.insert(name.clone(), targets.clone());
            }
        }
        self.scopes.push(scope);
        for statement in statements {
            self.statement(statement)?;
        }
        self.scopes.pop();
        Ok(())
    }

    fn statement(&mut self, statement: &'p Statement) -> Result<(), SyntaxError> {
        let last = self.scopes.len() - 1;
        match statement {
            Statement::Label(name) => {
                let label = self.scopes[last].labels.get(name).copied();
                if let Some(label) = label {
                    self.set_label(label);
                }
            }
            Statement::Registers(declaration) => self.scopes[last].declare(declaration)?,
            Statement::Variable(variable) => {
                self.line = variable.line;
                let function = self.calls.last().cloned().unwrap_or_default();
                let address = self.place(variable, &function)?;
                let name = variable.name.clone();
                self.scopes[last].variables.insert(name, address);
            }
            Statement::Location(location) => self.set_location(*location),
            Statement::Block(inner) => self.statements(inner)?,
            Statement::BranchTargets(..) => {}
            Statement::Instruction(instruction) => {
                self.line = instruction.line;
                let written = || {
                    let mut text = instruction.opcode.clone();
                    for word in &instruction.modifiers {
                        text.push('.');
                        text.push_str(word);
                    }
                    text
                };
                self.instruction(instruction).map_err(|error| match error {
                    Failure::Here(message) => {
                        SyntaxError::new(instruction.line, format!("{}: {message}", written()))
                    }
                    Failure::Elsewhere(error) => error,
                })?;
            }
        }
        Ok(())
    }

    fn set_location(&mut self, location: Location) {
        // Line 0 is code that the compiler made up.
        if location.line == 0 {
            return;
        }
        let locations = &mut self.kernel.locations;
        let files = &self.ptx.files;
        self.location = *self.locations.entry(location).or_insert_with(|| {
            let file = files.iter().find(|(number, _)| *number == location.file);
            locations.push(Some(SourceLine {
                file: file.map_or_else(|| "?".to_owned(), |(_, name)| name.clone()),
                line: location.line,
            }));
            locations.len() as u32 - 1
        });
    }

    fn instruction(
        &mut self,
        written: &'p crate::emulator::syntax::Instruction,
    ) -> Result<(), Failure> {
        let (guard, flip) = match &written.guard {
            None => (ALWAYS, 0),
            Some((name, negated)) => {
                let slot = self.read_register(name, Class::Pred)?;
                (slot, if *negated { u32::MAX } else { 0 })
            }
        };
        let mut modifiers = Modifiers::new(&written.modifiers);
        let m = &mut modifiers;
        let operands = written.operands.as_slice();
        let float = |m: &Modifiers| m.last().and_then(Type::named).is_some_and(Type::is_float);
        let (op, flop) = match written.opcode.as_str() {
            "call" => {
                m.accept("uni");
                m.finish()?;
                if written.guard.is_some() {
                    return Err("a guarded call is not supported".to_owned().into());
                }
                return self.call(operands);
            }
            "ret" => {
                m.accept("uni");
                let op = match self.returns.last() {
                    Some(&target) => control::Control::Branch { target },
                    None => control::Control::Exit,
                };
                (Op::Control(op), 0)
            }
            "exit" | "trap" | "brkpt" | "bra" | "brx" | "nop" | "nanosleep" => {
                (control::decode(self, &written.opcode, m, operands)?, 0)
            }
            "abs" | "add" | "div" | "fma" | "mad" | "max" | "min" | "mul" | "neg" | "sub"
                if float(m) =>
            {
                float::decode(self, &written.opcode, m, operands)?
            }
            "copysign" | "cos" | "ex2" | "lg2" | "rcp" | "rsqrt" | "sin" | "sqrt" | "tanh" => {
                float::decode(self, &written.opcode, m, operands)?
            }
            "setp" | "set" | "selp" | "slct" | "testp" => {
                (compare::decode(self, &written.opcode, m, operands)?, 0)
            }
            "and" | "or" | "xor" | "not" if m.last() == Some("pred") => {
                (compare::decode(self, &written.opcode, m, operands)?, 0)
            }
            "mov" | "cvt" | "cvta" => (convert::decode(self, &written.opcode, m, operands)?, 0),
            "ld" | "ldu" | "st" | "prefetch" | "prefetchu" | "isspacep" => {
                (memory::decode(self, &written.opcode, m, operands)?, 0)
            }
            "atom" | "red" => (atomics::decode(self, &written.opcode, m, operands)?, 0),
            "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => {
                (warp::decode(self, &written.opcode, m, operands)?, 0)
            }
            "bar" | "barrier" | "membar" | "fence" => {
                (barrier::decode(self, &written.opcode, m, operands)?, 0)
            }
            "ldmatrix" | "stmatrix" | "mma" | "movmatrix" => {
                (tensor::decode(self, &written.opcode, m, operands)?, 0)
            }
            "cp" => (async_copy::decode(self, m, operands)?, 0),
            opcode => (integer::decode(self, opcode, m, operands)?, 0),
        };
        modifiers.finish()?;
        self.emit(op, guard, flip, flop)
    }

    fn call(&mut self, operands: &'p [Operand]) -> Result<(), Failure> {
        let (returns, name, arguments) = match operands {
            [Operand::Name(name)] => (&[][..], name, &[][..]),
            [Operand::Name(name), Operand::List(arguments)] => (&[][..], name, &arguments[..]),
            [Operand::List(returns), Operand::Name(name)] => (&returns[..], name, &[][..]),
            [
                Operand::List(returns),
                Operand::Name(name),
                Operand::List(arguments),
            ] => (&returns[..], name, &arguments[..]),
            _ => {
                return Err("only calls of a function by name are supported"
                    .to_owned()
                    .into());
            }
        };
        if name == "__assertfail" {
            let op = control::Control::Trap { assertion: true };
            return self.emit_plain(Op::Control(op)).map_err(Failure::Elsewhere);
        }
        let Some(&callee) = self.functions.get(name.as_str()) else {
            return Err(format!("there is no function '{name}'").into());
        };
        let Some(body) = &callee.body else {
            return Err(format!("the function '{name}' has no body here").into());
        };
        if callee.is_kernel {
            return Err(format!("'{name}' is a kernel, not a device function").into());
        }
        if self.calls.contains(name) {
            return Err(format!("'{name}' calls itself: recursion is not supported").into());
        }
        let mut scope = Scope::default();
        for (formals, actuals) in [(&callee.returns, returns), (&callee.parameters, arguments)] {
            if formals.len() != actuals.len() {
                let message = format!(
                    "'{name}' has {} parameters here, but {} were given",
                    formals.len(),
                    actuals.len()
                );
                return Err(message.into());
            }
            for (formal, actual) in formals.iter().zip(actuals) {
                let address = match actual {
                    Operand::Name(name) => self.variable(name),
                    _ => None,
                };
                let Some(address @ Address::Frame(_)) = address else {
                    let message =
                        format!("the argument for '{}' is no .param variable", formal.name);
                    return Err(message.into());
                };
                scope.variables.insert(formal.name.clone(), address);
            }
        }
        let (line, location) = (self.line, self.location);
        let end = self.new_label();
        self.bases.push(self.scopes.len());
        self.scopes.push(scope);
        self.calls.push(name.clone());
        self.returns.push(end);
        self.statements(body).map_err(Failure::Elsewhere)?;
        self.returns.pop();
        self.calls.pop();
        self.scopes.pop();
        self.bases.pop();
        self.set_label(end);
        (self.line, self.location) = (line, location);
        Ok(())
    }

    pub fn emit_plain(&mut self, op: Op) -> Result<(), SyntaxError> {
        self.emit(op, ALWAYS, 0, 0)
            .map_err(|failure| match failure {
                Failure::Here(message) => self.error(message),
                Failure::Elsewhere(error) => error,
            })
    }

    fn emit(&mut self, op: Op, guard: Slot, flip: u32, flop: u8) -> Result<(), Failure> {
        if self.kernel.code.len() >= LONGEST_CODE {
            return Err(format!("the kernel has more than {LONGEST_CODE} instructions").into());
        }
        self.kernel.code.push(Instruction {
            op,
            guard,
            flip,
            flop,
            line: self.line,
            location: self.location,
        });
        Ok(())
    }

    fn new_label(&mut self) -> Label {
        self.labels.push(None);
        self.labels.len() as Label - 1
    }

    fn set_label(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label as usize) {
            *place = Some(self.kernel.code.len() as u32);
        }
    }

    fn finish(mut self) -> Result<Kernel, SyntaxError> {
        for at in 0..self.kernel.code.len() {
            let instruction = &mut self.kernel.code[at];
            let line = instruction.line;
            let Op::Control(control) = &mut instruction.op else {
                continue;
            };
            for target in control.targets() {
                let known = self.labels.get(*target as usize).copied().flatten();
                *target =
                    known.ok_or_else(|| SyntaxError::new(line, "a label was never placed"))?;
            }
        }
        for instruction in &mut self.kernel.code {
            if let Op::Atomic(atomic) = &mut instruction.op {
                // nvcc writes `atom` even where nothing reads the old value.
                if !self.reads.contains(&(atomic.ty.class(), atomic.d)) {
                    atomic.d = SINK;
                }
                self.kernel.in_order |= atomic.depends_on_order();
            }
        }
        self.kernel.static_shared = self.shared_end as usize;
        self.kernel.local_bytes = self.local_end as usize;
        let dynamic = SHARED_BASE + self.shared_end.next_multiple_of(16);
        for (class, slot) in &self.dynamic {
            match class {
                Class::R64 => self.kernel.constants64.push((*slot, dynamic)),
                _ => self.kernel.constants32.push((*slot, dynamic as u32)),
            }
        }
        self.kernel.find_written();
        Ok(self.kernel)
    }
}

/// Why decoding stopped: at the current line, or at another one that has been named already.
pub enum Failure {
    Here(String),
    Elsewhere(SyntaxError),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Here(message)
    }
}
