//! Tokens to a [`Ptx`]: directives, variables and functions. Bodies are in [`body`](super::body).

use super::lexer::{Token, tokens};
use super::{Function, Immediate, Initial, Ptx, StateSpace, SyntaxError, Variable};

/// The most bytes of a text; real modules have a few hundred kilobytes.
const LONGEST_TEXT: usize = 64 << 20;

/// Elements of an initialiser; more would be data, not code.
const LONGEST_INITIALISER: usize = 1 << 22;

/// Parses a whole file.
///
/// # Errors
/// The first thing that is no PTX, with its line.
pub fn parse(text: &str) -> Result<Ptx, SyntaxError> {
    if text.len() > LONGEST_TEXT {
        let message = format!("the text has more than {LONGEST_TEXT} bytes");
        return Err(SyntaxError::new(1, message));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
    };
    parser.file()
}

/// A cursor over the tokens.
pub(super) struct Parser<'t, 'a> {
    pub(super) tokens: &'t [(Token<'a>, u32)],
    pub(super) at: usize,
}

impl<'a> Parser<'_, 'a> {
    pub(super) fn line(&self) -> u32 {
        let at = self.at.min(self.tokens.len().saturating_sub(1));
        self.tokens.get(at).map_or(1, |&(_, line)| line)
    }

    pub(super) fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.line(), message)
    }

    pub(super) fn peek(&self) -> Option<&Token<'a>> {
        self.peek_ahead(0)
    }

    pub(super) fn peek_ahead(&self, ahead: usize) -> Option<&Token<'a>> {
        self.tokens.get(self.at + ahead).map(|(token, _)| token)
    }

    /// What stands here, for an error.
    pub(super) fn found(&self) -> String {
        match self.peek() {
            None => "the end of the text".to_owned(),
            Some(Token::Name(name)) => format!("'{name}'"),
            Some(Token::Dotted(word, _)) => format!("'.{word}'"),
            Some(Token::Number(_)) => "a number".to_owned(),
            Some(Token::Text(_)) => "a string".to_owned(),
            Some(Token::Symbol(symbol)) => format!("'{symbol}'"),
        }
    }

    pub(super) fn expected(&self, what: &str) -> SyntaxError {
        self.error(format!("expected {what}, found {}", self.found()))
    }

    pub(super) fn is_symbol(&self, symbol: char) -> bool {
        self.peek() == Some(&Token::Symbol(symbol))
    }

    pub(super) fn accept(&mut self, symbol: char) -> bool {
        let found = self.is_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, symbol: char) -> Result<(), SyntaxError> {
        if self.accept(symbol) {
            return Ok(());
        }
        Err(self.expected(&format!("'{symbol}'")))
    }

    pub(super) fn name(&mut self) -> Result<&'a str, SyntaxError> {
        if let Some(&Token::Name(name)) = self.peek() {
            self.at += 1;
            return Ok(name);
        }
        Err(self.expected("a name"))
    }

    /// A word after a dot.
    pub(super) fn dotted(&mut self) -> Option<&'a str> {
        let Some(&Token::Dotted(word, _)) = self.peek() else {
            return None;
        };
        self.at += 1;
        Some(word)
    }

    pub(super) fn accept_dotted(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(&Token::Dotted(word, _)) if word == wanted);
        self.at += usize::from(found);
        found
    }

    /// A number, perhaps negative.
    pub(super) fn number(&mut self) -> Result<Immediate, SyntaxError> {
        let negative = self.accept('-');
        let Some(&Token::Number(number)) = self.peek() else {
            return Err(self.expected("a number"));
        };
        self.at += 1;
        Ok(match (number, negative) {
            (number, false) => number,
            (Immediate::Integer(value), true) => Immediate::Integer(value.wrapping_neg()),
            (Immediate::Single(bits), true) => Immediate::Single(bits ^ 1 << 31),
            (Immediate::Double(bits), true) => Immediate::Double(bits ^ 1 << 63),
        })
    }

    pub(super) fn integer(&mut self) -> Result<u64, SyntaxError> {
        match self.number()? {
            Immediate::Integer(value) => Ok(value),
            _ => {
                self.at -= 1;
                Err(self.error("expected an integer, found a floating-point number"))
            }
        }
    }

    fn file(&mut self) -> Result<Ptx, SyntaxError> {
        let mut ptx = Ptx::default();
        let mut version = None;
        while self.peek().is_some() {
            let line = self.line();
            let Some(directive) = self.dotted() else {
                return Err(self.expected("a directive"));
            };
            match directive {
                "version" => version = Some(self.number()?),
                "target" => self.target(&mut ptx)?,
                "address_size" => {
                    if self.integer()? != 64 {
                        return Err(SyntaxError::new(line, "only .address_size 64 is supported"));
                    }
                }
                "file" => {
                    let file = self.source_file()?;
                    ptx.files.push(file);
                }
                // Debugging information of no consequence for what a kernel does.
                "section" => self.skip_section()?,
                "visible" | "weak" | "common" => {}
                "extern" => {
                    if !matches!(self.peek(), Some(Token::Dotted("shared" | "func", _))) {
                        return Err(self.error(
                            "only functions and dynamic shared memory can be .extern here: \
                             there is no linker",
                        ));
                    }
                    if self.accept_dotted("func") {
                        let function = self.function(line, false)?;
                        ptx.functions.push(function);
                    } else {
                        self.at += 1;
                        let mut variables = self.variables(StateSpace::Shared, line)?;
                        variables.iter_mut().for_each(|v| v.external = true);
                        ptx.variables.append(&mut variables);
                    }
                }
                "entry" | "func" => {
                    let function = self.function(line, directive == "entry")?;
                    ptx.functions.push(function);
                }
                "global" => ptx
                    .variables
                    .append(&mut self.variables(StateSpace::Global, line)?),
                "const" => ptx
                    .variables
                    .append(&mut self.variables(StateSpace::Const, line)?),
                "shared" => ptx
                    .variables
                    .append(&mut self.variables(StateSpace::Shared, line)?),
                other => {
                    let message = format!("the directive .{other} is not supported");
                    return Err(SyntaxError::new(line, message));
                }
            }
        }
        if version.is_none() || ptx.target.is_empty() {
            return Err(SyntaxError::new(
                1,
                "the text has no .version and .target: it is no PTX module",
            ));
        }
        Ok(ptx)
    }

    fn target(&mut self, ptx: &mut Ptx) -> Result<(), SyntaxError> {
        ptx.target = self.name()?.to_owned();
        while self.accept(',') {
            let option = self.name()?;
            if option != "debug" {
                self.at -= 1;
                return Err(self.error(format!("the target option {option} is not supported")));
            }
        }
        Ok(())
    }

    fn source_file(&mut self) -> Result<(u32, String), SyntaxError> {
        let number = self.integer()? as u32;
        let Some(&Token::Text(name)) = self.peek() else {
            return Err(self.expected("a file name in quotes"));
        };
        self.at += 1;
        while self.accept(',') {
            self.integer()?;
        }
        Ok((number, name.to_owned()))
    }

    fn skip_section(&mut self) -> Result<(), SyntaxError> {
        while !self.is_symbol('{') {
            if self.peek().is_none() {
                return Err(self.expected("'{'"));
            }
            self.at += 1;
        }
        while !self.accept('}') {
            if self.peek().is_none() {
                return Err(self.expected("'}'"));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn function(&mut self, line: u32, is_kernel: bool) -> Result<Function, SyntaxError> {
        let returns = if self.is_symbol('(') {
            self.parameters()?
        } else {
            Vec::new()
        };
        let name = self.name()?.to_owned();
        let parameters = if self.is_symbol('(') {
            self.parameters()?
        } else {
            Vec::new()
        };
        let mut directives = Vec::new();
        while let Some(directive) = self.dotted() {
            let mut numbers = Vec::new();
            if matches!(self.peek(), Some(Token::Number(_))) {
                numbers.push(self.integer()?);
                while self.accept(',') {
                    numbers.push(self.integer()?);
                }
            }
            directives.push((directive.to_owned(), numbers));
        }
        let body = if self.accept(';') {
            None
        } else {
            self.expect('{')?;
            Some(self.body(0)?)
        };
        Ok(Function {
            line,
            name,
            is_kernel,
            returns,
            parameters,
            directives,
            body,
        })
    }

    fn parameters(&mut self) -> Result<Vec<Variable>, SyntaxError> {
        self.expect('(')?;
        let mut parameters = Vec::new();
        while !self.accept(')') {
            let line = self.line();
            if !self.accept_dotted("param") {
                return Err(self.expected("'.param'"));
            }
            parameters.push(self.variable(StateSpace::Param, line)?);
            if !self.is_symbol(')') {
                self.expect(',')?;
            }
        }
        Ok(parameters)
    }

    /// One or more variables and a semicolon.
    pub(super) fn variables(
        &mut self,
        space: StateSpace,
        line: u32,
    ) -> Result<Vec<Variable>, SyntaxError> {
        let first = self.variable(space, line)?;
        let mut all = vec![first];
        while self.accept(',') {
            let mut next = all[0].clone();
            self.declarator(&mut next)?;
            all.push(next);
        }
        self.expect(';')?;
        Ok(all)
    }

    fn variable(&mut self, space: StateSpace, line: u32) -> Result<Variable, SyntaxError> {
        let mut variable = Variable {
            line,
            space,
            name: String::new(),
            element: String::new(),
            align: None,
            elements: 1,
            initial: Vec::new(),
            external: false,
        };
        loop {
            match self.peek() {
                Some(Token::Dotted("align", _)) => {
                    self.at += 1;
                    let align = self.integer()?;
                    if !align.is_power_of_two() || align > 1 << 16 {
                        return Err(self.error(format!("{align} is no alignment")));
                    }
                    variable.align = variable.align.max(Some(align));
                }
                // `.ptr .global .align 16` says where a parameter points: a hint.
                Some(Token::Dotted("ptr", _)) => {
                    self.at += 1;
                    if matches!(
                        self.peek(),
                        Some(Token::Dotted("global" | "const" | "shared" | "local", _))
                    ) {
                        self.at += 1;
                    }
                    if self.accept_dotted("align") {
                        self.integer()?;
                    }
                }
                Some(&Token::Dotted(word, _)) if variable.element.is_empty() => {
                    self.at += 1;
                    variable.element = word.to_owned();
                }
                Some(Token::Name(_)) if !variable.element.is_empty() => break,
                _ => return Err(self.expected("a type and a name")),
            }
        }
        self.declarator(&mut variable)?;
        Ok(variable)
    }

    /// Name, dimensions, initialiser.
    fn declarator(&mut self, variable: &mut Variable) -> Result<(), SyntaxError> {
        variable.name = self.name()?.to_owned();
        variable.elements = 1;
        variable.initial.clear();
        while self.accept('[') {
            let length = if self.is_symbol(']') {
                0
            } else {
                self.integer()?
            };
            variable.elements = variable
                .elements
                .checked_mul(length)
                .filter(|&n| n < 1 << 40)
                .ok_or_else(|| self.error(format!("'{}' is too long", variable.name)))?;
            self.expect(']')?;
        }
        if self.accept('=') {
            self.initialiser(&mut variable.initial, 0)?;
            if variable.initial.len() as u64 > variable.elements {
                return Err(self.error(format!(
                    "'{}' has {} elements, but {} values",
                    variable.name,
                    variable.elements,
                    variable.initial.len()
                )));
            }
        }
        Ok(())
    }

    fn initialiser(&mut self, out: &mut Vec<Initial>, depth: u32) -> Result<(), SyntaxError> {
        if out.len() >= LONGEST_INITIALISER || depth > 8 {
            return Err(self.error("the initialiser is too long or too deep"));
        }
        if self.accept('{') {
            while !self.accept('}') {
                self.initialiser(out, depth + 1)?;
                if !self.is_symbol('}') {
                    self.expect(',')?;
                }
            }
            return Ok(());
        }
        if matches!(self.peek(), Some(Token::Name(_))) {
            let mut name = self.name()?;
            // `generic(x)` is the generic address of x, which is the only one here.
            if name == "generic" && self.accept('(') {
                name = self.name()?;
                self.expect(')')?;
            }
            let offset = if self.accept('+') { self.integer()? } else { 0 };
            out.push(Initial::Address(name.to_owned(), offset as i64));
            return Ok(());
        }
        out.push(Initial::Number(self.number()?));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

    #[test]
    fn variables_and_parameters_keep_size_alignment_and_values() {
        let text = format!(
            "{HEAD}.const .align 8 .b8 table[2][3] = {{1, 2, {{-1}}}};\n\
             .extern .shared .align 16 .b8 dynamic[];\n\
             .visible .entry k(.param .u64 .ptr .global .align 4 a, .param .align 8 .b8 b[24])\n\
             .maxntid 128, 1, 1\n{{ ret; }}"
        );
        let ptx = parse(&text).unwrap();
        let table = &ptx.variables[0];
        assert_eq!((table.elements, table.align), (6, Some(8)));
        let minus_one = Initial::Number(Immediate::Integer(u64::MAX));
        assert_eq!(table.initial[2], minus_one);
        assert!(ptx.variables[1].external && ptx.variables[1].elements == 0);
        let kernel = &ptx.functions[0];
        assert_eq!(kernel.parameters[1].elements, 24);
        assert_eq!(kernel.directives[0], ("maxntid".into(), vec![128, 1, 1]));
    }

    #[test]
    fn a_text_cut_anywhere_is_an_error_or_a_shorter_module_and_never_a_panic() {
        let text = format!(
            "{HEAD}.global .align 4 .b8 g[4] = {{1,2,3,4}};\n.entry k(.param .u64 a)\n{{\n\
             .reg .b32 %r<4>;\n@!%p1 ld.global.v2.f32 {{%f1, _}}, [%rd1+-8];\nL: {{ bra L; }}\n\
             call.uni (r), f, (a, 1);\nsetp.lt.s32 %p|%q, %r1, -5;\nret;\n}}\n"
        );
        for end in 0..text.len() {
            if let Ok(ptx) = parse(&text[..end]) {
                assert!(ptx.functions.len() <= 1);
            }
        }
        assert_eq!(parse(&text).unwrap().functions.len(), 1);
    }

    #[test]
    fn what_is_no_module_is_refused_with_its_line() {
        for (text, line) in [
            ("", 1),
            ("hello", 1),
            (".version 7.0\n.target sm_80\n.address_size 32\n", 3),
            (".version 7.0\n.target sm_80\n.madeup 3\n", 3),
            (".version 7.0\n.target sm_80, texmode_independent\n", 2),
        ] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text:?}");
        }
    }
}
