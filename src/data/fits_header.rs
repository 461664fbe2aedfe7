//! Headers of FITS files: cards of 80 characters in blocks of 2880 bytes, up to `END`. Looked
//! up in the mapped file, so that a hostile header can neither allocate nor overflow.
//!
//! Format: the FITS standard 4.0, sections 3 and 4
//! (<https://fits.gsfc.nasa.gov/fits_standard.html>).

use std::borrow::Cow;

/// Headers and data fill blocks of so many bytes.
pub(super) const BLOCK: usize = 2880;
pub(super) const CARD: usize = 80;
/// 8 MB of header: real ones have some hundred cards.
const MOST_CARDS: usize = 100_000;

/// The cards of one header, without `END`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cards<'a>(&'a [[u8; CARD]]);

/// What a card says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A quoted string, without the quotes and trailing blanks.
    Text(Cow<'a, str>),
    /// A number or a logical, as it is written.
    Word(&'a str),
}

impl<'a> Cards<'a> {
    /// The header that begins at byte `start`, and where the data behind it begin. `None`
    /// without an `END` in the first 100000 cards.
    pub fn read(file: &'a [u8], start: usize) -> Option<(Self, usize)> {
        let cards = file.get(start..)?.as_chunks::<CARD>().0;
        let end = cards.iter().take(MOST_CARDS).position(is_end)?;
        let bytes = (end + 1) * CARD;
        Some((
            Self(&cards[..end]),
            start + bytes.next_multiple_of(BLOCK).min(file.len() - start),
        ))
    }

    /// The value of the first card called `key`; `None` where there is none, or no value in it.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let mut name = [b' '; 8];
        name.get_mut(..key.len())?.copy_from_slice(key.as_bytes());
        let card = self.0.iter().find(|card| card[..8] == name)?;
        if card[8..10] != *b"= " {
            return None;
        }
        value(card[10..].trim_ascii())
    }

    /// The whole number called `key`: `Err` holds what is there instead.
    pub fn integer(&self, key: &str) -> Option<Result<i64, String>> {
        self.number(key, |text| text.parse().ok())
    }

    /// The finite number called `key`: `Err` holds what is there instead.
    pub fn float(&self, key: &str) -> Option<Result<f64, String>> {
        self.number(key, |text| {
            // Fortran's double precision.
            let text = text.replace(['D', 'd'], "E");
            text.parse().ok().filter(|value: &f64| value.is_finite())
        })
    }

    fn number<T>(&self, key: &str, parse: fn(&str) -> Option<T>) -> Option<Result<T, String>> {
        Some(match self.get(key)? {
            Value::Word(text) => parse(text).ok_or_else(|| text.to_owned()),
            Value::Text(text) => Err(format!("the string '{text}'")),
        })
    }

    /// Whether `key` is true.
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key) == Some(Value::Word("T"))
    }

    /// Whether `key` is the string `text`.
    pub fn is_text(&self, key: &str, text: &str) -> bool {
        matches!(self.get(key), Some(Value::Text(found)) if found == text)
    }
}

fn is_end(card: &[u8; CARD]) -> bool {
    card.starts_with(b"END") && card[3..].trim_ascii().is_empty()
}

fn value(field: &[u8]) -> Option<Value<'_>> {
    if let Some(rest) = field.strip_prefix(b"'") {
        return text(rest);
    }
    let word = field.split(|&byte| byte == b'/').next()?.trim_ascii();
    let word = std::str::from_utf8(word).unwrap_or("characters that are not ASCII");
    (!word.is_empty()).then_some(Value::Word(word))
}

/// The string up to its closing quote; two quotes stand for one.
fn text(rest: &[u8]) -> Option<Value<'_>> {
    let mut end = 0;
    let mut doubled = false;
    loop {
        let quote = end + rest.get(end..)?.iter().position(|&byte| byte == b'\'')?;
        if rest.get(quote + 1) != Some(&b'\'') {
            let text = String::from_utf8_lossy(rest[..quote].trim_ascii_end());
            return Some(Value::Text(if doubled {
                text.replace("''", "'").into()
            } else {
                text
            }));
        }
        doubled = true;
        end = quote + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cards: &[&str]) -> Vec<u8> {
        let mut bytes: Vec<u8> = cards
            .iter()
            .chain(&["END"])
            .flat_map(|card| format!("{card:80}").into_bytes())
            .collect();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
        bytes
    }

    #[test]
    fn values_of_all_types_are_found_behind_comments_and_quotes() {
        let bytes = header(&[
            "SIMPLE  =                    T / conforms",
            "COMMENT = 'not a value'",
            "BITPIX  =                  -32",
            "ANGLE   = 3.5D0/ degrees",
            "NAME    = 'it''s / quoted  ' / it is",
            "EMPTY   =                      / undefined",
            "NOEQUAL   12",
            "OPEN    = 'no end",
            "BITPIX  =                   16",
        ]);
        let (cards, start) = Cards::read(&bytes, 0).unwrap();
        assert_eq!(start, BLOCK);
        assert!(cards.is_true("SIMPLE") && !cards.is_true("BITPIX"));
        assert_eq!(cards.integer("BITPIX"), Some(Ok(-32)));
        assert_eq!(cards.float("ANGLE"), Some(Ok(3.5)));
        assert!(cards.is_text("NAME", "it's / quoted"));
        assert_eq!(cards.float("NAME").unwrap().unwrap_err().len(), 26);
        assert_eq!(cards.integer("ANGLE"), Some(Err("3.5D0".to_owned())));
        for missing in ["EMPTY", "NOEQUAL", "OPEN", "GONE", "", "TOOLONGAKEY"] {
            assert_eq!(cards.get(missing), None, "{missing}");
        }
    }

    #[test]
    fn a_header_without_its_end_is_none() {
        let bytes = header(&["SIMPLE  =                    T"]);
        assert!(Cards::read(&bytes[..160], 0).is_some());
        assert!(Cards::read(&bytes[..159], 0).is_none());
        assert!(Cards::read(&bytes, 80).is_some());
        assert!(Cards::read(&bytes, bytes.len() + 1).is_none());
    }
}
