//! The words between dots of an instruction, taken one by one in the order that the ISA gives.

/// A cursor over an instruction's modifiers. What is left over in the end is refused.
#[derive(Debug)]
pub struct Modifiers<'a> {
    words: &'a [String],
}

impl<'a> Modifiers<'a> {
    pub fn new(words: &'a [String]) -> Self {
        Self { words }
    }

    /// The next word, without taking it.
    pub fn peek(&self) -> Option<&'a str> {
        self.words.first().map(String::as_str)
    }

    /// The last word, without taking it: often the type.
    pub fn last(&self) -> Option<&'a str> {
        self.words.last().map(String::as_str)
    }

    /// Takes the next word.
    pub fn take(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// Takes the next word if it is this one.
    pub fn accept(&mut self, wanted: &str) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.take();
        }
        found
    }

    /// Takes the next word if `choose` knows it.
    pub fn choose<T>(&mut self, choose: impl Fn(&str) -> Option<T>) -> Option<T> {
        let chosen = choose(self.peek()?)?;
        self.take();
        Some(chosen)
    }

    /// Takes the next word, which must be one that `choose` knows.
    pub fn require<T>(
        &mut self,
        what: &str,
        choose: impl Fn(&str) -> Option<T>,
    ) -> Result<T, String> {
        let Some(word) = self.peek() else {
            return Err(format!("{what} is missing"));
        };
        self.choose(choose)
            .ok_or_else(|| format!(".{word} is not supported where {what} should stand"))
    }

    /// Refuses what is left over.
    pub fn finish(&self) -> Result<(), String> {
        match self.peek() {
            Some(word) => Err(format!("the modifier .{word} is not supported here")),
            None => Ok(()),
        }
    }
}
