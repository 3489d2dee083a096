//! The process that has the kernels: Urza's part.

use std::error::Error;

use kasmina::safety::SystemClock;
use kasmina_urza::{Urza, UrzaSettings};

use super::story::{Story, join};

/// Answers requests for kernels. Runs until it is killed.
pub(super) fn serve(address: &str, story: &Story) -> Result<(), Box<dyn Error>> {
    let bus = join(address, Some(Urza::subscription("urza")))?;
    Urza::open(bus, story.kernels(), None, UrzaSettings::default(), SystemClock::new())?.serve(|| false, |_| {})?;
    Ok(())
}
