//! Bodies of functions: statements and operands.

use super::lexer::Token;
use super::parser::Parser;
use super::{
    Instruction, Location, Operand, RegisterDeclaration, StateSpace, Statement, SyntaxError,
};

/// How deep `{}` may nest, in statements and in operands.
const DEEPEST: u32 = 32;

impl<'a> Parser<'_, 'a> {
    /// Statements up to the closing brace, which is taken too.
    pub(super) fn body(&mut self, depth: u32) -> Result<Vec<Statement>, SyntaxError> {
        if depth > DEEPEST {
            return Err(self.error(format!("blocks nest more than {DEEPEST} deep")));
        }
        let mut statements = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.expected("'}'")),
                Some(Token::Symbol('}')) => {
                    self.at += 1;
                    return Ok(statements);
                }
                Some(Token::Symbol('{')) => {
                    self.at += 1;
                    statements.push(Statement::Block(self.body(depth + 1)?));
                }
                Some(Token::Symbol(';')) => self.at += 1,
                Some(Token::Dotted(..)) => self.directive(&mut statements)?,
                Some(&Token::Name(name)) if self.peek_ahead(1) == Some(&Token::Symbol(':')) => {
                    self.at += 2;
                    if self.accept_dotted("branchtargets") {
                        let targets = self.names()?;
                        statements.push(Statement::BranchTargets(name.to_owned(), targets));
                    } else {
                        statements.push(Statement::Label(name.to_owned()));
                    }
                }
                _ => {
                    let instruction = self.instruction()?;
                    statements.push(Statement::Instruction(instruction));
                }
            }
        }
    }

    fn names(&mut self) -> Result<Vec<String>, SyntaxError> {
        let mut names = vec![self.name()?.to_owned()];
        while self.accept(',') {
            names.push(self.name()?.to_owned());
        }
        self.expect(';')?;
        Ok(names)
    }

    fn directive(&mut self, statements: &mut Vec<Statement>) -> Result<(), SyntaxError> {
        let line = self.line();
        let space = match self.dotted() {
            Some("reg") => {
                let declaration = self.registers(line)?;
                statements.push(Statement::Registers(declaration));
                return Ok(());
            }
            Some("loc") => {
                let location = self.location()?;
                statements.push(Statement::Location(location));
                return Ok(());
            }
            Some("pragma") => return self.pragma(),
            Some("shared") => StateSpace::Shared,
            Some("local") => StateSpace::Local,
            Some("param") => StateSpace::Param,
            Some("global") => StateSpace::Global,
            Some("const") => StateSpace::Const,
            other => {
                let other = other.unwrap_or_default();
                let message = format!("the directive .{other} is not supported in a body");
                return Err(SyntaxError::new(line, message));
            }
        };
        let variables = self.variables(space, line)?;
        statements.extend(variables.into_iter().map(Statement::Variable));
        Ok(())
    }

    fn registers(&mut self, line: u32) -> Result<RegisterDeclaration, SyntaxError> {
        let Some(class) = self.dotted() else {
            return Err(self.expected("a register type"));
        };
        let mut names = Vec::new();
        loop {
            let name = self.name()?.to_owned();
            let count = if self.accept('<') {
                let count = self.integer()?;
                self.expect('>')?;
                Some(count)
            } else {
                None
            };
            names.push((name, count));
            if !self.accept(',') {
                break;
            }
        }
        self.expect(';')?;
        Ok(RegisterDeclaration {
            line,
            class: class.to_owned(),
            names,
        })
    }

    /// `file line column [, function_name label [+ offset], inlined_at file line column]`
    fn location(&mut self) -> Result<Location, SyntaxError> {
        let location = Location {
            file: self.integer()? as u32,
            line: self.integer()? as u32,
        };
        self.integer()?;
        while self.accept(',') {
            match self.name()? {
                "function_name" => {
                    self.name()?;
                    if self.accept('+') {
                        self.integer()?;
                    }
                }
                "inlined_at" => {
                    for _ in 0..3 {
                        self.integer()?;
                    }
                }
                _ => {
                    self.at -= 1;
                    return Err(self.expected("'function_name' or 'inlined_at'"));
                }
            }
        }
        self.accept(';');
        Ok(location)
    }

    /// Hints for the compiler behind PTX.
    fn pragma(&mut self) -> Result<(), SyntaxError> {
        loop {
            if !matches!(self.peek(), Some(Token::Text(_))) {
                return Err(self.expected("a string"));
            }
            self.at += 1;
            if !self.accept(',') {
                return self.expect(';');
            }
        }
    }

    fn instruction(&mut self) -> Result<Instruction, SyntaxError> {
        let line = self.line();
        let guard = if self.accept('@') {
            let negated = self.accept('!');
            Some((self.name()?.to_owned(), negated))
        } else {
            None
        };
        let opcode = self.name()?.to_owned();
        let mut modifiers = Vec::new();
        while let Some(&Token::Dotted(word, true)) = self.peek() {
            self.at += 1;
            modifiers.push(word.to_owned());
        }
        let mut operands = Vec::new();
        if !self.is_symbol(';') {
            operands.push(self.operand(0)?);
            while self.accept(',') {
                operands.push(self.operand(0)?);
            }
        }
        self.expect(';')?;
        Ok(Instruction {
            line,
            guard,
            opcode,
            modifiers,
            operands,
        })
    }

    fn operand(&mut self, depth: u32) -> Result<Operand, SyntaxError> {
        if depth > DEEPEST {
            return Err(self.error("an operand nests too deep"));
        }
        let first = self.simple_operand(depth)?;
        if self.accept('|') {
            let second = self.simple_operand(depth)?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    fn list(&mut self, end: char, depth: u32) -> Result<Vec<Operand>, SyntaxError> {
        let mut operands = Vec::new();
        while !self.accept(end) {
            operands.push(self.operand(depth + 1)?);
            if !self.is_symbol(end) {
                self.expect(',')?;
            }
        }
        Ok(operands)
    }

    fn simple_operand(&mut self, depth: u32) -> Result<Operand, SyntaxError> {
        match self.peek() {
            Some(Token::Symbol('{')) => {
                self.at += 1;
                Ok(Operand::Vector(self.list('}', depth)?))
            }
            Some(Token::Symbol('(')) => {
                self.at += 1;
                Ok(Operand::List(self.list(')', depth)?))
            }
            Some(Token::Symbol('[')) => {
                self.at += 1;
                self.address()
            }
            Some(Token::Symbol('!')) => {
                self.at += 1;
                Ok(Operand::Not(self.name()?.to_owned()))
            }
            Some(Token::Name("_")) => {
                self.at += 1;
                Ok(Operand::Sink)
            }
            Some(&Token::Name(name)) => {
                self.at += 1;
                if self.is_symbol('+') || self.is_symbol('-') {
                    return Ok(Operand::Offset(name.to_owned(), self.offset()?));
                }
                Ok(Operand::Name(name.to_owned()))
            }
            _ => Ok(Operand::Immediate(self.number()?)),
        }
    }

    fn address(&mut self) -> Result<Operand, SyntaxError> {
        let base = match self.peek() {
            Some(&Token::Name(name)) => {
                self.at += 1;
                Some(name.to_owned())
            }
            _ => None,
        };
        let offset = if base.is_none() {
            self.integer()? as i64
        } else {
            self.offset()?
        };
        self.expect(']')?;
        Ok(Operand::Address(base, offset))
    }

    /// `+8`, `+-8`, `-8` or nothing.
    fn offset(&mut self) -> Result<i64, SyntaxError> {
        if self.accept('+') || self.is_symbol('-') {
            return Ok(self.integer()? as i64);
        }
        Ok(0)
    }
}
