//! Text to tokens.

use super::{Immediate, SyntaxError};

/// One token. Names keep a leading `%`, `$` or `_`; a directive or a modifier is a dot before a
/// word and is kept without the dot.
#[derive(Clone, Debug, PartialEq)]
pub enum Token<'a> {
    Name(&'a str),
    /// `.word`, and whether it touches what stands before it.
    Dotted(&'a str, bool),
    Number(Immediate),
    Text(&'a str),
    Symbol(char),
}

/// Tokens with their lines.
pub fn tokens(text: &str) -> Result<Vec<(Token<'_>, u32)>, SyntaxError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        line: 1,
    };
    let mut tokens = Vec::new();
    while lexer.skip_blank()? {
        let line = lexer.line;
        tokens.push((lexer.next()?, line));
    }
    Ok(tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text
            .as_bytes()
            .get(self.at + ahead)
            .copied()
            .unwrap_or(0)
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.line, message)
    }

    /// Skips blanks and comments; false at the end of the text.
    fn skip_blank(&mut self) -> Result<bool, SyntaxError> {
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            match rest {
                [] => return Ok(false),
                [b'\n', ..] => {
                    self.line += 1;
                    self.at += 1;
                }
                [b'/', b'/', ..] => {
                    let end = rest.iter().position(|&b| b == b'\n');
                    self.at += end.unwrap_or(rest.len());
                }
                [b'/', b'*', ..] => {
                    let end = rest.windows(2).skip(2).position(|w| w == b"*/");
                    let end = end.ok_or_else(|| self.error("a comment has no end"))? + 4;
                    self.line += rest[..end].iter().filter(|&&b| b == b'\n').count() as u32;
                    self.at += end;
                }
                [byte, ..] if byte.is_ascii_whitespace() => self.at += 1,
                _ => return Ok(true),
            }
        }
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text.as_bytes()[self.at..];
        let len = rest.iter().position(|&b| !accept(b)).unwrap_or(rest.len());
        let start = self.at;
        self.at += len;
        &self.text[start..self.at]
    }

    fn next(&mut self) -> Result<Token<'a>, SyntaxError> {
        let start = self.at;
        match self.peek(0) {
            b'.' if is_word(self.peek(1)) && !self.peek(1).is_ascii_digit() => {
                let touching = start > 0
                    && (is_word(self.text.as_bytes()[start - 1])
                        || self.text.as_bytes()[start - 1] == b'>');
                self.at += 1;
                // `.L1::no_allocate` is one modifier.
                self.take_while(|b| is_word(b) || b == b':');
                Ok(Token::Dotted(&self.text[start + 1..self.at], touching))
            }
            // `.1d`, `.2d`: dimensions are modifiers too.
            b'.' if start > 0 && is_word(self.text.as_bytes()[start - 1]) => {
                self.at += 1;
                let word = self.take_while(is_word);
                if word.is_empty() {
                    return Err(self.error("a dot is followed by no word"));
                }
                Ok(Token::Dotted(word, true))
            }
            b'0'..=b'9' => self.number(),
            b'"' => {
                self.at += 1;
                let body = self.take_while(|b| b != b'"' && b != b'\n');
                if self.peek(0) != b'"' {
                    return Err(self.error("a string has no end"));
                }
                self.at += 1;
                Ok(Token::Text(body))
            }
            b'%' if is_word(self.peek(1)) => {
                self.at += 1;
                self.take_while(is_word);
                // `%tid.x` is one name.
                if self.peek(0) == b'.'
                    && matches!(self.peek(1), b'x' | b'y' | b'z')
                    && !is_word(self.peek(2))
                {
                    self.at += 2;
                }
                Ok(Token::Name(&self.text[start..self.at]))
            }
            byte if is_word(byte) => Ok(Token::Name(self.take_while(is_word))),
            byte if byte.is_ascii_graphic() => {
                self.at += 1;
                Ok(Token::Symbol(byte.into()))
            }
            _ => {
                let character = self.text[start..].chars().next().unwrap_or('\0');
                Err(self.error(format!("{character:?} belongs to no token")))
            }
        }
    }

    fn number(&mut self) -> Result<Token<'a>, SyntaxError> {
        let start = self.at;
        let word = self.take_while(is_word);
        let bad = |lexer: &Self| {
            let text = &lexer.text[start..lexer.at];
            lexer.error(format!("'{text}' is not a number"))
        };
        if let Some(bits) = word.strip_prefix("0f").or(word.strip_prefix("0F")) {
            let bits = exact_hex(bits, 8).ok_or_else(|| bad(self))?;
            return Ok(Token::Number(Immediate::Single(bits as u32)));
        }
        if let Some(bits) = word.strip_prefix("0d").or(word.strip_prefix("0D")) {
            let bits = exact_hex(bits, 16).ok_or_else(|| bad(self))?;
            return Ok(Token::Number(Immediate::Double(bits)));
        }
        if self.peek(0) == b'.' && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.take_while(is_word);
            if matches!(self.text.as_bytes()[self.at - 1], b'e' | b'E')
                && matches!(self.peek(0), b'+' | b'-')
            {
                self.at += 1;
                self.take_while(|b| b.is_ascii_digit());
            }
            let value: f64 = self.text[start..self.at].parse().map_err(|_| bad(self))?;
            return Ok(Token::Number(Immediate::Double(value.to_bits())));
        }
        let (digits, unsigned) = match word.strip_suffix('U') {
            Some(digits) => (digits, true),
            None => (word, false),
        };
        let value = match digits.get(..2) {
            Some("0x" | "0X") => u64::from_str_radix(&digits[2..], 16),
            Some("0b" | "0B") => u64::from_str_radix(&digits[2..], 2),
            Some(two) if two.starts_with('0') => u64::from_str_radix(&digits[1..], 8),
            _ => digits.parse(),
        };
        let _ = unsigned;
        value
            .map(|value| Token::Number(Immediate::Integer(value)))
            .map_err(|_| bad(self))
    }
}

fn exact_hex(digits: &str, len: usize) -> Option<u64> {
    if digits.len() != len {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Token<'_>> {
        tokens(text).unwrap().into_iter().map(|(t, _)| t).collect()
    }

    #[test]
    fn names_numbers_and_modifiers_are_told_apart() {
        assert_eq!(
            kinds("@%p1 ld.global.L1::no_allocate.v2.f32 {%f1,_}, [%rd1+-8];"),
            [
                Token::Symbol('@'),
                Token::Name("%p1"),
                Token::Name("ld"),
                Token::Dotted("global", true),
                Token::Dotted("L1::no_allocate", true),
                Token::Dotted("v2", true),
                Token::Dotted("f32", true),
                Token::Symbol('{'),
                Token::Name("%f1"),
                Token::Symbol(','),
                Token::Name("_"),
                Token::Symbol('}'),
                Token::Symbol(','),
                Token::Symbol('['),
                Token::Name("%rd1"),
                Token::Symbol('+'),
                Token::Symbol('-'),
                Token::Number(Immediate::Integer(8)),
                Token::Symbol(']'),
                Token::Symbol(';'),
            ]
        );
        assert_eq!(
            kinds("0f3F800000 0d3FF0000000000000 0x1F 017 0b11 7U %tid.x 0.5"),
            [
                Token::Number(Immediate::Single(0x3f80_0000)),
                Token::Number(Immediate::Double(0x3ff0_0000_0000_0000)),
                Token::Number(Immediate::Integer(31)),
                Token::Number(Immediate::Integer(15)),
                Token::Number(Immediate::Integer(3)),
                Token::Number(Immediate::Integer(7)),
                Token::Name("%tid.x"),
                Token::Number(Immediate::Double(0.5f64.to_bits())),
            ]
        );
    }

    #[test]
    fn lines_are_counted_through_comments_and_bad_tokens_are_named_with_theirs() {
        let all = tokens("a /* x\ny */ b // c\nd").unwrap();
        let lines: Vec<_> = all.iter().map(|&(_, line)| line).collect();
        assert_eq!(lines, [1, 2, 3]);
        for (text, line) in [
            ("a\n0f12", 2),
            ("/* ", 1),
            ("\n\n\"x", 3),
            ("é", 1),
            ("0x", 1),
        ] {
            assert_eq!(tokens(text).unwrap_err().line, line, "{text:?}");
        }
    }
}
