//! What must hold for any bytes from outside.
//!
//! One function for each fuzz target. It takes the fuzzer's bytes, and panics where a promise of the product is broken. The
//! first byte says what the rest is: the bytes of a parser as they are, or choices out of which something well-formed is made
//! and then spoilt. They run on stable too: the tests of this package put the checked-in corpus through them.

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a broken promise ends the process: a fuzzer looks for nothing else"
)]

mod annotations;
mod artifact;
mod blob;
mod choices;
mod command;
mod directory;
mod entry;
mod forge;
mod grown;
mod journal;
mod kernels;
mod outline;

pub use annotations::annotations;
pub use artifact::artifact;
pub use command::command;
pub use entry::entry;
pub use grown::grown;
pub use journal::journal;

/// The body of a fuzz target.
pub type Body = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Body); 6] = [
    ("command", command),
    ("annotations", annotations),
    ("artifact", artifact),
    ("journal", journal),
    ("grown", grown),
    ("entry", entry),
];
