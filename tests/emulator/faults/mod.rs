//! Faults planted into the samples' PTX by editing its text.

#![allow(dead_code)] // The table is read by more than one test binary.

mod table;

use cosmogan::emulator::FindingKind;
pub use table::FAULTS;

/// One planted fault.
pub struct Fault {
    /// What was done to the kernel, in a few words.
    pub name: &'static str,
    pub file: &'static str,
    pub kernel: &'static str,
    pub edits: &'static [Edit],
    pub found: Found,
}

/// How a fault shows.
#[derive(Clone, Copy)]
pub enum Found {
    /// By a finding of this kind, among others.
    By(FindingKind),
    /// By what the kernel leaves in memory; nothing that it does is wrong in itself.
    WrongValues,
}

/// One replacement of text.
#[derive(Clone, Copy)]
pub struct Edit {
    /// Within the kernel's body, its blanks collapsed to one each and `.loc` lines left out.
    pub from: &'static str,
    pub to: &'static str,
    /// Which of the `of` places that read so, from 0.
    pub which: usize,
    pub of: usize,
}

/// The only place that reads `from`.
pub const fn only(from: &'static str, to: &'static str) -> Edit {
    nth(from, to, 0, 1)
}

pub const fn nth(from: &'static str, to: &'static str, which: usize, of: usize) -> Edit {
    Edit {
        from,
        to,
        which,
        of,
    }
}

impl Fault {
    /// `text` with the fault, or why an edit does not fit.
    pub fn planted(&self, text: &str) -> Result<String, String> {
        let mut text = collapsed(text);
        let start = text
            .find(&format!(".entry {}(", self.kernel))
            .ok_or_else(|| format!("{} has no kernel {}", self.file, self.kernel))?;
        let end = text[start..]
            .find("\n}\n")
            .map_or(text.len(), |at| start + at);
        let mut body = text[start..end].to_owned();
        for edit in self.edits {
            let places: Vec<usize> = body.match_indices(edit.from).map(|(at, _)| at).collect();
            if places.len() != edit.of {
                return Err(format!(
                    "{}, {}: {} places read '{}', not {}",
                    self.kernel,
                    self.name,
                    places.len(),
                    edit.from,
                    edit.of
                ));
            }
            let at = places[edit.which];
            body.replace_range(at..at + edit.from.len(), edit.to);
        }
        text.replace_range(start..end, &body);
        Ok(text)
    }
}

/// Lines without indentation, repeated blanks and `.loc`.
fn collapsed(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() != Some(&".loc") {
            lines.push_str(&words.join(" "));
            lines.push('\n');
        }
    }
    lines
}
