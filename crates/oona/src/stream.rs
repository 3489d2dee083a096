//! The streams, their names, and what goes where.

use std::collections::BTreeSet;

use kasmina_leyline::v1::BusMessageType;

/// A stream, by what it is for. The order is that in which a subscriber reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// What cannot wait: messages of CRITICAL priority, and the overflow of [`Normal`](Self::Normal).
    Emergency,
    /// States, commands and field reports.
    Normal,
    /// New versions of a policy.
    Policy,
    /// Requests for a compiled kernel.
    KernelRequests,
    /// Kernels that are ready, and changes of the catalogue.
    KernelReady,
    /// Kernels that could not be made.
    KernelErrors,
    /// Telemetry packets.
    Telemetry,
    /// What the workers of one training run say to each other.
    Coordination,
}

impl Stream {
    /// All of them, in the order in which a subscriber reads them.
    pub const ALL: [Self; 8] = [
        Self::Emergency,
        Self::Normal,
        Self::Policy,
        Self::KernelRequests,
        Self::KernelReady,
        Self::KernelErrors,
        Self::Telemetry,
        Self::Coordination,
    ];

    /// The home of a type of message, which is where it goes if it is not CRITICAL:
    ///
    /// | type | stream |
    /// |---|---|
    /// | `SYSTEM_STATE`, `ADAPTATION_COMMAND`, `FIELD_REPORT` | normal |
    /// | `TELEMETRY` | telemetry |
    /// | `POLICY_UPDATE` | policy |
    /// | `KERNEL_PREFETCH_REQUEST` | kernel requests |
    /// | `KERNEL_PREFETCH_READY`, `KERNEL_CATALOG_UPDATE` | kernel ready |
    /// | `KERNEL_PREFETCH_ERROR` | kernel errors |
    /// | `COORDINATION` | coordination |
    ///
    /// `UNSPECIFIED` has none.
    #[must_use]
    pub const fn home(message_type: BusMessageType) -> Option<Self> {
        match message_type {
            BusMessageType::Unspecified => None,
            BusMessageType::SystemState | BusMessageType::AdaptationCommand | BusMessageType::FieldReport => {
                Some(Self::Normal)
            }
            BusMessageType::Telemetry => Some(Self::Telemetry),
            BusMessageType::PolicyUpdate => Some(Self::Policy),
            BusMessageType::KernelPrefetchRequest => Some(Self::KernelRequests),
            BusMessageType::KernelPrefetchReady | BusMessageType::KernelCatalogUpdate => Some(Self::KernelReady),
            BusMessageType::KernelPrefetchError => Some(Self::KernelErrors),
            BusMessageType::Coordination => Some(Self::Coordination),
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// What the streams are called on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is named after its stream")]
pub struct StreamNames {
    pub emergency: String,
    pub normal: String,
    pub policy: String,
    pub kernel_requests: String,
    pub kernel_ready: String,
    pub kernel_errors: String,
    pub telemetry: String,
    pub coordination: String,
    /// Where entries go that nobody could handle.
    pub dead_letters: String,
}

impl Default for StreamNames {
    fn default() -> Self {
        Self::prefixed("oona")
    }
}

impl StreamNames {
    /// Names that begin with `prefix` and a dot, such as `oona.normal`.
    #[must_use]
    pub fn prefixed(prefix: &str) -> Self {
        let name = |rest: &str| format!("{prefix}.{rest}");
        Self {
            emergency: name("emergency"),
            normal: name("normal"),
            policy: name("policy"),
            kernel_requests: name("kernels.requests"),
            kernel_ready: name("kernels.ready"),
            kernel_errors: name("kernels.errors"),
            telemetry: name("telemetry"),
            coordination: name("coordination"),
            dead_letters: name("dead_letters"),
        }
    }

    /// The name of a stream.
    #[must_use]
    pub fn of(&self, stream: Stream) -> &str {
        match stream {
            Stream::Emergency => &self.emergency,
            Stream::Normal => &self.normal,
            Stream::Policy => &self.policy,
            Stream::KernelRequests => &self.kernel_requests,
            Stream::KernelReady => &self.kernel_ready,
            Stream::KernelErrors => &self.kernel_errors,
            Stream::Telemetry => &self.telemetry,
            Stream::Coordination => &self.coordination,
        }
    }

    /// The first name that is empty or that two streams share.
    pub(crate) fn unusable(&self) -> Option<&str> {
        let mut seen = BTreeSet::new();
        let all = Stream::ALL.into_iter().map(|stream| self.of(stream)).chain([self.dead_letters.as_str()]);
        all.into_iter().find(|name| name.is_empty() || !seen.insert(*name))
    }
}
