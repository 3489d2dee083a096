//! A library and a reader whose answers a test gives, one call at a time.

use std::fmt;
use std::time::Duration;

use crossbeam::channel::{self, Receiver, Sender};
use kasmina_leyline::{BlueprintId, v1::BlueprintDescriptor};

use crate::{ArtifactReader, Fetched, KernelLibrary, LibraryError};

/// Blocks in every call until its [`Gate`] answers. As a library it is asked for blueprints, as a reader for
/// references.
#[derive(Clone, Debug)]
pub struct Gated {
    calls: Sender<Call>,
}

/// The calls of a [`Gated`].
#[derive(Debug)]
pub struct Gate {
    calls: Receiver<Call>,
}

/// A call that waits for its answer. If it is dropped, the library is unavailable; if it is kept, the call never ends.
pub struct Call {
    asked: String,
    answer: Sender<Answer>,
}

enum Answer {
    Give(Result<Fetched, LibraryError>),
    Panic(&'static str),
}

/// A library that is also a reader, and its gate.
#[must_use]
pub fn gated() -> (Gated, Gate) {
    let (sender, receiver) = channel::unbounded();
    (Gated { calls: sender }, Gate { calls: receiver })
}

impl Gate {
    /// The next call, if there is one within `at_most`.
    #[must_use]
    pub fn call(&self, at_most: Duration) -> Option<Call> {
        self.calls.recv_timeout(at_most).ok()
    }

    /// A call that has come already.
    #[must_use]
    pub fn try_call(&self) -> Option<Call> {
        self.calls.try_recv().ok()
    }
}

impl Call {
    /// The blueprint or the reference.
    #[must_use]
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// Lets the call return.
    pub fn answer(self, answer: Result<Fetched, LibraryError>) {
        // Whoever called waits, however long.
        let _ = self.answer.send(Answer::Give(answer));
    }

    /// Makes the call panic.
    pub fn panic(self, message: &'static str) {
        let _ = self.answer.send(Answer::Panic(message));
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Gated {
    #[expect(clippy::panic, reason = "a test asks for it")]
    fn ask(&self, asked: &str) -> Result<Fetched, LibraryError> {
        let (answer, answered) = channel::bounded(1);
        // Without a gate the call is dropped, and with it the sender.
        let _ = self.calls.send(Call { asked: asked.to_owned(), answer });
        match answered.recv() {
            Ok(Answer::Give(answer)) => answer,
            Ok(Answer::Panic(message)) => panic!("{message}"),
            Err(_) => Err(LibraryError::Unavailable { detail: "the gate is gone".into() }),
        }
    }
}

impl KernelLibrary for Gated {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        Ok(super::sample_descriptor(blueprint))
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        self.ask(blueprint.as_str())
    }
}

impl ArtifactReader for Gated {
    fn read(&self, artifact_ref: &str, _limit: usize) -> Result<Vec<u8>, LibraryError> {
        let missing = || LibraryError::reference(artifact_ref);
        self.ask(artifact_ref)?.here().map(|artifact| artifact.bytes).ok_or_else(missing)
    }
}
