//! The grammar of PTX: text to statements. Opcodes and types are still words here.

mod ast;
mod body;
mod lexer;
mod parser;

pub use ast::*;
pub use parser::parse;

/// Why a text was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub line: u32,
    pub message: String,
}

impl SyntaxError {
    pub fn new(line: u32, message: impl Into<String>) -> Self {
        Self {
            line,
            message: message.into(),
        }
    }
}
