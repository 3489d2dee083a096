//! What a library has done.

use kasmina_kernel_load::{LibraryError, LoadError};
use kasmina_leyline::BlueprintId;

/// What a library has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Served {
    /// Requests that were answered with Ready.
    pub ready: usize,
    /// Requests that were answered with Error.
    pub failed: usize,
    /// Requests that cannot be read, or that have no usable id. There is nobody to answer.
    pub malformed: usize,
    /// Messages that are not requests.
    pub ignored: usize,
    /// Kernels that were announced.
    pub announced: usize,
    /// Answers and announcements that the bus will never take. A request whose answer is too large is given up.
    pub refused: usize,
    /// Acknowledgements that the bus did not take. Those of answers are tried again.
    pub unacknowledged: usize,
    /// Messages that the bus has no room for yet, and requests that were taken and not answered.
    pub waiting: usize,
    /// Kernels of the catalogue that cannot be served, and why. Each is told once, and its requests are answered with
    /// Error.
    pub unfit: Vec<(BlueprintId, LoadError)>,
    /// Why the catalogue could not be read again. What it said before is served.
    pub catalogue: Option<LibraryError>,
}

impl Served {
    /// Whether nothing happened. What waits can only be tried again.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self == Self { waiting: self.waiting, unacknowledged: self.unacknowledged, ..Self::default() }
    }

    /// Adds what happened after this. What waits is replaced, and so is the state of the catalogue.
    pub fn add(&mut self, later: Self) {
        let Self { ready, failed, malformed, ignored, announced, refused, unacknowledged, waiting, unfit, catalogue } =
            later;
        self.ready += ready;
        self.failed += failed;
        self.malformed += malformed;
        self.ignored += ignored;
        self.announced += announced;
        self.refused += refused;
        self.unacknowledged += unacknowledged;
        self.waiting = waiting;
        self.unfit.extend(unfit);
        self.catalogue = catalogue;
    }
}
