//! Memories of one block: shared memory, and the local memory of its threads.

use super::global::POISON;

/// All four bytes of a word.
const WHOLE: u8 = 0xf;

/// A small memory in words, with a note of which bytes have been written.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    words: Vec<u32>,
    /// One bit a byte, a word an entry.
    written: Vec<u8>,
    /// Words with unwritten bytes.
    incomplete: usize,
    bytes: usize,
}

impl Scratch {
    /// Unwritten memory of `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        let mut scratch = Self {
            words: vec![POISON; bytes.div_ceil(4)],
            written: vec![0; bytes.div_ceil(4)],
            incomplete: 0,
            bytes,
        };
        scratch.clear();
        scratch
    }

    /// Forgets all contents.
    pub fn clear(&mut self) {
        self.words.fill(POISON);
        self.written.fill(0);
        self.incomplete = self.words.len();
        // What lies behind the end counts as written.
        if !self.bytes.is_multiple_of(4)
            && let Some(last) = self.written.last_mut()
        {
            *last = WHOLE & (WHOLE << (self.bytes % 4));
        }
    }

    /// Bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.bytes
    }

    #[inline(always)]
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    #[inline(always)]
    pub fn words_mut(&mut self) -> &mut [u32] {
        &mut self.words
    }

    /// The `bytes` (1, 2, 4 or 8) bytes at a multiple of their number.
    #[inline(always)]
    pub fn read(&self, offset: usize, bytes: usize) -> u64 {
        let word = self.words[offset / 4];
        match bytes {
            1 => u64::from(word >> (8 * (offset % 4)) & 0xff),
            2 => u64::from(word >> (8 * (offset % 4)) & 0xffff),
            4 => u64::from(word),
            _ => u64::from(word) | u64::from(self.words[offset / 4 + 1]) << 32,
        }
    }

    /// Writes `bytes` (1, 2, 4 or 8) bytes at a multiple of their number.
    #[inline(always)]
    pub fn write(&mut self, offset: usize, bytes: usize, value: u64) {
        let at = offset / 4;
        match bytes {
            1 | 2 => {
                let shift = 8 * (offset % 4);
                let mask = (if bytes == 1 { 0xffu32 } else { 0xffff }) << shift;
                self.words[at] = self.words[at] & !mask | (value as u32) << shift & mask;
            }
            4 => self.words[at] = value as u32,
            _ => {
                self.words[at] = value as u32;
                self.words[at + 1] = (value >> 32) as u32;
            }
        }
        self.mark_written(offset, bytes);
    }

    /// Whether every byte has been written.
    #[inline(always)]
    pub fn is_complete(&self) -> bool {
        self.incomplete == 0
    }

    #[inline(always)]
    pub fn is_written(&self, offset: usize, bytes: usize) -> bool {
        if self.incomplete == 0 {
            return true;
        }
        if bytes < 4 {
            let mask = ((1 << bytes) - 1) << (offset % 4);
            return self.written[offset / 4] & mask == mask;
        }
        self.written[offset / 4..(offset + bytes) / 4]
            .iter()
            .all(|&word| word == WHOLE)
    }

    #[inline(always)]
    pub fn mark_written(&mut self, offset: usize, bytes: usize) {
        if self.incomplete == 0 {
            return;
        }
        let mask = if bytes < 4 {
            ((1u8 << bytes) - 1) << (offset % 4)
        } else {
            WHOLE
        };
        if bytes >= 4 && self.is_written(offset, bytes) {
            return;
        }
        for word in &mut self.written[offset / 4..(offset + bytes).div_ceil(4)] {
            let now = *word | mask;
            self.incomplete -= usize::from(*word != WHOLE && now == WHOLE);
            *word = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_complete_once_each_byte_has_been_written() {
        let mut scratch = Scratch::new(11);
        for (offset, bytes) in [(0, 8), (8, 2)] {
            scratch.write(offset, bytes, 0x0123_4567_89ab_cdef);
            assert!(!scratch.is_complete());
            assert!(scratch.is_written(offset, bytes) && !scratch.is_written(10, 1));
        }
        scratch.write(10, 1, 0x77);
        assert!(scratch.is_complete());
        assert_eq!(scratch.read(0, 8), 0x0123_4567_89ab_cdef);
        assert_eq!((scratch.read(8, 2), scratch.read(10, 1)), (0xcdef, 0x77));
        scratch.clear();
        assert!(!scratch.is_written(3, 1));
    }
}
