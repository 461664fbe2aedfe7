//! What the parser makes of a text.

/// A whole file.
#[derive(Debug, Default)]
pub struct Ptx {
    /// Of `.target`, such as `sm_80`.
    pub target: String,
    /// File names by their numbers in `.file`.
    pub files: Vec<(u32, String)>,
    /// Variables outside of functions.
    pub variables: Vec<Variable>,
    pub functions: Vec<Function>,
}

/// Where a variable lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateSpace {
    Global,
    Const,
    Shared,
    Local,
    Param,
}

/// A variable, a parameter, or an array of either.
#[derive(Clone, Debug)]
pub struct Variable {
    pub line: u32,
    pub space: StateSpace,
    pub name: String,
    /// Of one element, as written, such as `b32`.
    pub element: String,
    /// Explicit alignment in bytes.
    pub align: Option<u64>,
    /// Number of elements; 0 where it is left open, as for dynamic shared memory.
    pub elements: u64,
    /// Values of its first elements; the rest is zero.
    pub initial: Vec<Initial>,
    pub external: bool,
}

/// One number of an initialiser.
#[derive(Clone, Debug, PartialEq)]
pub enum Initial {
    Number(Immediate),
    /// The address of a variable, plus an offset in bytes.
    Address(String, i64),
}

/// A kernel (`.entry`) or a device function (`.func`).
#[derive(Debug)]
pub struct Function {
    pub line: u32,
    pub name: String,
    pub is_kernel: bool,
    pub returns: Vec<Variable>,
    pub parameters: Vec<Variable>,
    /// Names of directives between head and body, with their numbers.
    pub directives: Vec<(String, Vec<u64>)>,
    /// Absent for a declaration.
    pub body: Option<Vec<Statement>>,
}

/// One statement of a body.
#[derive(Debug)]
pub enum Statement {
    Label(String),
    Registers(RegisterDeclaration),
    Variable(Variable),
    Location(Location),
    Block(Vec<Statement>),
    /// A named list of labels for `brx.idx`.
    BranchTargets(String, Vec<String>),
    Instruction(Instruction),
}

/// A line of the source that the following instructions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    pub file: u32,
    pub line: u32,
}

/// `.reg .b32 %r<100>;` declares `%r0` to `%r99`; without a count it declares the name itself.
#[derive(Debug)]
pub struct RegisterDeclaration {
    pub line: u32,
    pub class: String,
    pub names: Vec<(String, Option<u64>)>,
}

/// One instruction as written.
#[derive(Debug)]
pub struct Instruction {
    pub line: u32,
    /// `@p` or `@!p`: the predicate's name and whether it is negated.
    pub guard: Option<(String, bool)>,
    pub opcode: String,
    /// The words between dots behind the opcode, in their order.
    pub modifiers: Vec<String>,
    pub operands: Vec<Operand>,
}

/// A number as written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Immediate {
    /// In two's complement.
    Integer(u64),
    /// Bits of `0f...`.
    Single(u32),
    /// Bits of `0d...`, or of a decimal number.
    Double(u64),
}

/// One operand as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register, a special register, a label, a variable or a function.
    Name(String),
    /// `!p`.
    Not(String),
    Immediate(Immediate),
    /// `_`.
    Sink,
    /// `{a, b, c, d}`.
    Vector(Vec<Operand>),
    /// `[base + offset]`; without a base, the offset is absolute.
    Address(Option<String>, i64),
    /// `a|b`.
    Pair(Box<Operand>, Box<Operand>),
    /// `(a, b)`, as in calls.
    List(Vec<Operand>),
    /// `name + offset`.
    Offset(String, i64),
}
