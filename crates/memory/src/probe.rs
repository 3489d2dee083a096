//! The seam to what the operating system says.

/// Says how much memory the process has.
///
/// If it says too little, the process grows past its limit unnoticed; if it says too much, seeds do not germinate that could.
pub trait ResidentProbe {
    /// The resident memory of this process in bytes; `None` if that cannot be known here.
    fn resident(&mut self) -> Option<u64>;
}

/// Knows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl ResidentProbe for NoProbe {
    fn resident(&mut self) -> Option<u64> {
        None
    }
}

/// A function that knows.
impl<F: FnMut() -> Option<u64>> ResidentProbe for F {
    fn resident(&mut self) -> Option<u64> {
        self()
    }
}
