//! How much memory the operating system says that this process has.

use std::fs;

use kasmina_memory::ResidentProbe;

/// Asks Linux, in `/proc/self/statm`. On other systems it knows nothing.
///
/// ```
/// use kasmina::{ProcessMemory, memory::ResidentProbe};
///
/// let resident = ProcessMemory::new().resident();
/// assert_eq!(resident.is_some(), cfg!(target_os = "linux"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ProcessMemory {
    /// The bytes of a page; `None` if that is not known.
    page: Option<u64>,
}

impl ProcessMemory {
    /// The kernel tells each process the size of its pages under this key of the auxiliary vector, `AT_PAGESZ`.
    const PAGE_SIZE: usize = 6;

    /// Finds out how large a page is.
    #[must_use]
    pub fn new() -> Self {
        Self { page: fs::read("/proc/self/auxv").ok().and_then(|vector| page_size(&vector)) }
    }
}

impl Default for ProcessMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl ResidentProbe for ProcessMemory {
    fn resident(&mut self) -> Option<u64> {
        resident(&fs::read_to_string("/proc/self/statm").ok()?, self.page?)
    }
}

/// The value under [`ProcessMemory::PAGE_SIZE`] in pairs of words of this machine.
fn page_size(vector: &[u8]) -> Option<u64> {
    let words = vector.chunks_exact(size_of::<usize>()).map(|word| word.try_into().map(usize::from_ne_bytes));
    let words: Vec<usize> = words.collect::<Result<_, _>>().ok()?;
    let found = words.chunks_exact(2).find(|pair| pair[0] == ProcessMemory::PAGE_SIZE)?;
    u64::try_from(found[1]).ok().filter(|page| page.is_power_of_two())
}

/// The second number is that of resident pages.
fn resident(statm: &str, page: u64) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_size_is_found_in_the_auxiliary_vector() {
        let vector = |words: &[usize]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
        assert_eq!(page_size(&vector(&[33, 6, 6, 16_384, 0, 0])), Some(16_384));
        assert_eq!(page_size(&vector(&[6, 1000])), None, "not a power of two");
        assert_eq!(page_size(&vector(&[16, 4096, 6])), None, "cut off");
    }

    #[test]
    fn resident_pages_are_the_second_number() {
        assert_eq!(resident("900 25 10 1 0 300 0\n", 4096), Some(102_400));
        for text in ["", "900", "900 many", "900 18446744073709551615"] {
            assert_eq!(resident(text, 4096), None, "{text:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_that_is_written_to_shows() {
        let mut process = ProcessMemory::new();
        let before = process.resident().unwrap();
        let block = vec![1_u8; 64 << 20];
        let grown = process.resident().unwrap().saturating_sub(before);
        assert!(grown > 48 << 20, "{grown} bytes more for {}", block.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    }
}
