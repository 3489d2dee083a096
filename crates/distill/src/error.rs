//! What can go wrong with a teacher.

use std::path::PathBuf;

use kasmina_grown::{ForwardError, GrownError};
use kasmina_memory::OverBudget;
use kasmina_safety::BreakerOpen;

/// Why there is no teacher, or nothing to learn from it. Training goes on without it: see [`Lesson::loss`](crate::Lesson::loss).
#[allow(missing_docs, reason = "the messages say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::IntoStaticStr)]
#[non_exhaustive]
pub enum DistillError {
    #[strum(serialize = "distill_setting")]
    #[error("{key} is {value} and {demand}")]
    Setting { key: &'static str, value: String, demand: &'static str },
    /// There was none, or it was dropped.
    #[strum(serialize = "no_teacher")]
    #[error("there is no teacher")]
    NoTeacher,
    /// The teacher has failed too often.
    #[error("the teacher is not asked: {0}")]
    Breaker(BreakerOpen),
    #[error("the teacher does not fit: {0}")]
    OverBudget(#[from] OverBudget),
    /// The reservation that was handed over is of another pool, or too small.
    #[strum(serialize = "teacher_unreserved")]
    #[error("the teacher takes {needed} bytes, and {reserved} are reserved in the pool of teachers")]
    Unreserved { needed: u64, reserved: u64 },
    #[strum(serialize = "teacher_io")]
    #[error("{}: {detail}", path.display())]
    Io { path: PathBuf, detail: String },
    #[strum(serialize = "teacher_malformed")]
    #[error("{} cannot be read as a teacher: {detail}", path.display())]
    Malformed { path: PathBuf, detail: String },
    /// It was replaced between the check of its budget and its loading.
    #[strum(serialize = "teacher_changed")]
    #[error("{} had {expected} bytes when its budget was checked, and has {got} now", path.display())]
    Changed { path: PathBuf, expected: u64, got: u64 },
    #[strum(serialize = "teacher_mismatch")]
    #[error("{} is of another module: {detail}", path.display())]
    Mismatch { path: PathBuf, detail: String },
    #[error(transparent)]
    Grown(#[from] GrownError),
    /// A fossil of the teacher could not do its part.
    #[error("the teacher cannot run: {0}")]
    Forward(#[from] ForwardError),
    #[strum(serialize = "teacher_not_finite")]
    #[error("the teacher's {what} are not finite")]
    NotFinite { what: &'static str },
    #[strum(serialize = "distill_shape")]
    #[error("the student's {what} have the shape {student:?}, and the teacher's {teacher:?}")]
    Shape { what: String, student: Vec<usize>, teacher: Vec<usize> },
    #[strum(serialize = "unknown_activation")]
    #[error("nobody has recorded an activation {name:?} of rank {rank}")]
    UnknownActivation { name: String, rank: usize },
}

impl DistillError {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Breaker(open) => open.reason(),
            Self::OverBudget(over) => over.reason(),
            Self::Grown(error) => error.reason(),
            Self::Forward(error) => error.reason(),
            Self::Setting { .. }
            | Self::NoTeacher
            | Self::Unreserved { .. }
            | Self::Io { .. }
            | Self::Malformed { .. }
            | Self::Changed { .. }
            | Self::Mismatch { .. }
            | Self::NotFinite { .. }
            | Self::Shape { .. }
            | Self::UnknownActivation { .. } => self.into(),
        }
    }
}
