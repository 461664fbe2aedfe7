//! Arguments of a kernel as they stand on the command line.

use anyhow::Result;

use cosmogan::emulator::{Argument, Buffer};

/// An argument; buffers are names still.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Address(String),
    Plain(Argument),
    Struct(Vec<Value>),
}

impl Value {
    /// With buffers in place of their names.
    ///
    /// # Errors
    /// Those of `find`.
    pub fn argument(&self, find: &impl Fn(&str) -> Result<Buffer>) -> Result<Argument> {
        Ok(match self {
            Self::Address(name) => Argument::Buffer(find(name)?),
            Self::Plain(argument) => argument.clone(),
            Self::Struct(members) => Argument::Struct(
                members
                    .iter()
                    .map(|member| member.argument(find))
                    .collect::<Result<_>>()?,
            ),
        })
    }
}

/// Parses `@x`, `i32:7`, `struct:{@x,f32:0.5}`.
pub fn value(text: &str) -> Result<Value, String> {
    nested(text, 0)
}

fn nested(text: &str, depth: u32) -> Result<Value, String> {
    let text = text.trim();
    if depth > 8 {
        return Err("structs nest more than 8 deep".to_owned());
    }
    if let Some(name) = text.strip_prefix('@') {
        return Ok(Value::Address(name.to_owned()));
    }
    let (ty, number) = text
        .split_once(':')
        .ok_or_else(|| format!("'{text}' is not @NAME, TYPE:VALUE or struct:{{...}}"))?;
    if ty == "struct" {
        let members = number
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .ok_or_else(|| format!("'{number}' is not {{ARGUMENT,...}}"))?;
        return members_of(members)
            .iter()
            .map(|member| nested(member, depth + 1))
            .collect::<Result<_, _>>()
            .map(Value::Struct);
    }
    macro_rules! number {
        ($($name:literal => $variant:ident),*) => {
            match ty {
                $($name => number.parse().ok().map(Argument::$variant),)*
                _ => {
                    return Err(format!(
                        "'{ty}' is no type; known are i8 u8 i16 u16 i32 u32 i64 u64 f32 f64"
                    ));
                }
            }
        };
    }
    let argument = number!(
        "i8" => I8, "u8" => U8, "i16" => I16, "u16" => U16, "i32" => I32,
        "u32" => U32, "i64" => I64, "u64" => U64, "f32" => F32, "f64" => F64
    );
    argument
        .map(Value::Plain)
        .ok_or_else(|| format!("'{number}' is no number of type {ty}"))
}

/// The parts between commas that stand in no inner braces.
fn members_of(text: &str) -> Vec<&str> {
    let (mut members, mut depth, mut start) = (Vec::new(), 0i32, 0);
    for (i, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    members.push(&text[start..]);
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_hold_numbers_addresses_and_structs() {
        let expected = Value::Struct(vec![
            Value::Address("x".into()),
            Value::Plain(Argument::I32(-7)),
            Value::Struct(vec![
                Value::Plain(Argument::F32(0.2)),
                Value::Plain(Argument::U8(255)),
            ]),
        ]);
        assert_eq!(
            value("struct:{@x, i32:-7,struct:{f32:0.2,u8:255}}"),
            Ok(expected)
        );
    }

    #[test]
    fn what_is_no_argument_is_refused_in_words() {
        for (text, word) in [
            ("7", "'7' is not @NAME"),
            ("i31:7", "'i31' is no type"),
            ("u8:256", "'256' is no number of type u8"),
            ("struct:i32:7", "is not {ARGUMENT"),
            ("struct:{i32:7", "is not {ARGUMENT"),
        ] {
            let error = value(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
