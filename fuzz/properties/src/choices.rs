//! Decisions out of a fuzzer's bytes.

/// Takes bytes from the front; zeros when they are used up, so that every input means something.
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `bound`; 0 where there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let wide = bound > 256;
        let number = usize::from(self.byte()) | if wide { usize::from(self.byte()) << 8 } else { 0 };
        number.checked_rem(bound).unwrap_or(0)
    }

    pub(crate) fn number<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// Small, huge, or anything.
    pub(crate) fn sequence(&mut self) -> u64 {
        match self.byte() % 4 {
            0 => u64::from(self.byte()),
            1 => u64::MAX - u64::from(self.byte()),
            2 => u64::from_le_bytes(self.number()),
            _ => 1,
        }
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let index = self.below(from.len());
        from.get(index).copied()
    }

    /// At most `most` bytes.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = self.below(most + 1);
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(crate) fn text(&mut self, most: usize) -> String {
        String::from_utf8_lossy(self.bytes(most)).into_owned()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Spoils `bytes` in one to four places.
    pub(crate) fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            self.spoil_once(bytes);
        }
    }

    fn spoil_once(&mut self, bytes: &mut Vec<u8>) {
        let kind = self.byte() % 9;
        let at = self.below(bytes.len().max(1));
        let other = self.below(bytes.len().max(1));
        let (low, high) = (at.min(other), at.max(other).min(bytes.len()));
        match kind {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (other % 8)),
            1 => {
                let value = self.byte();
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
            }
            2 => bytes.insert(at.min(bytes.len()), other as u8),
            3 => drop(bytes.drain(low..high.min(low + 1 + usize::from(self.byte())))),
            4 => bytes.truncate(at),
            5 if high > low => bytes.swap(at, other),
            6 => {
                let copied = bytes[low..high].to_vec();
                bytes.splice(high..high, copied);
            }
            7 => bytes.extend_from_slice(self.bytes(16)),
            _ => {
                let value = self.bytes(8).to_vec();
                bytes.iter_mut().skip(at).zip(value).for_each(|(byte, value)| *byte = value);
            }
        }
    }
}
