//! Walks a kernel's statements and the device functions that it calls, which are inlined.

use std::collections::{HashMap, HashSet};

use crate::emulator::finding::SourceLine;
use crate::emulator::syntax::{
    Function, Immediate, Location, Operand, Ptx, StateSpace, Statement, SyntaxError, Variable,
};

use super::scope::{Address, Label, Scope};
use super::types::{Class, Type};
use super::variables::Module;
use super::{
    ALWAYS, Instruction, Kernel, Modifiers, Op, Parameter, ParameterPart, SINK, Slot, Special,
};
use super::{
    async_copy, atomics, barrier, compare, control, convert, float, integer, memory, tensor, warp,
};

/// The most instructions of a kernel with all its calls inlined.
const LONGEST_CODE: usize = 1 << 20;

/// The most bytes of local memory of one thread, as on a GPU.
const LARGEST_LOCAL: u64 = 512 << 10;

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

    fn module_scope(&mut self) -> Result<(), SyntaxError> {
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
    fn place(&mut self, variable: &Variable, function: &str) -> Result<Address, SyntaxError> {
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

    fn parameters(&mut self, function: &Function) -> Result<(), SyntaxError> {
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

    fn directives(&mut self, function: &Function) -> Result<(), SyntaxError> {
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

// What the families ask for.
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
