//! Why a command failed, in one line.

use std::{io, path::PathBuf};

use kasmina_blending::BlendRefusal;
use kasmina_commands::{SecretError, SendError};
use kasmina_leyline::InvalidId;
use kasmina_rollback::StoreError;
use kasmina_watch::ServerError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}; or use --secret-file FILE")]
    Secret(#[source] SecretError),
    #[error("--secret-file {path}: {detail}")]
    SecretFile { path: PathBuf, detail: String },
    #[error("{path} is a file: name the directory that it is in", path = path.display())]
    NotADirectory { path: PathBuf },
    #[error("--issued-by: {0}")]
    Sender(#[source] InvalidId),
    #[error("{flag} goes with --{goes_with} only")]
    Mismatch { flag: &'static str, goes_with: &'static str },
    #[error("annotation {name} has two different values; --run sets training_run_id")]
    Contradiction { name: String },
    #[error("--annotation signature: the signature is made from the secret")]
    Signature,
    #[error("{0}")]
    Blend(#[from] BlendRefusal),
    #[error("{0}")]
    Send(#[from] SendError),
    #[error("standard output is a terminal, and a command is not text: add --out FILE")]
    Terminal,
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{0}; or use another --port")]
    Server(#[from] ServerError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{name} is not a reason that Kasmina gives; {}", suggestion(.nearest))]
    UnknownReason { name: String, nearest: Vec<String> },
    #[cfg(feature = "kernels")]
    #[error("{0}")]
    Library(#[from] kasmina_kernel_load::LibraryError),
    #[cfg(feature = "kernels")]
    #[error("{damaged} of {of} kernels cannot be used")]
    Kernels { damaged: usize, of: usize },
    #[cfg(feature = "kernels")]
    #[error(
        "no built-in blueprint fits: one that starts as the identity has as many channels out as in; try --start zero"
    )]
    NothingFits,
    #[cfg(feature = "bus")]
    #[error("{0}")]
    Refused(#[from] kasmina_oona::Refused),
    #[cfg(feature = "bus")]
    #[error(
        "the bus has not stored the command after {seconds} s: {condition}. If it was on its way, it may still be carried out: look before \
         you send it again"
    )]
    NotStored { seconds: u64, condition: String },
    #[cfg(feature = "bus")]
    #[error("--bus: {0}")]
    BusSettings(#[from] kasmina_oona::SettingsError),
    #[cfg(feature = "bus")]
    #[error("{0}")]
    Bus(#[from] kasmina_oona::BusError),
    #[cfg(feature = "urza")]
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
}

fn suggestion(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return "`kasmina explain` lists all".to_owned();
    }
    format!("did you mean {}?", nearest.join(" or "))
}

impl Failure {
    /// 1 if something failed, 2 if the arguments are wrong.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Sender(_)
            | Self::Mismatch { .. }
            | Self::Contradiction { .. }
            | Self::Signature
            | Self::NotADirectory { .. }
            | Self::UnknownReason { .. }
            | Self::Blend(_)
            | Self::Send(_) => 2,
            #[cfg(feature = "kernels")]
            Self::NothingFits => 2,
            #[cfg(feature = "bus")]
            Self::BusSettings(_) => 2,
            #[cfg(feature = "kernels")]
            Self::Library(_) | Self::Kernels { .. } => 1,
            #[cfg(feature = "bus")]
            Self::Bus(_) | Self::Refused(_) | Self::NotStored { .. } => 1,
            #[cfg(feature = "urza")]
            Self::Signals(_) => 1,
            Self::Secret(_)
            | Self::SecretFile { .. }
            | Self::Terminal
            | Self::Write { .. }
            | Self::Server(_)
            | Self::Store(_) => 1,
        }
    }
}
