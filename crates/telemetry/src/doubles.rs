//! Test doubles: a sink in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kasmina_leyline::v1::TelemetryPacket;

use crate::{Sink, SinkError};

/// Keeps every packet in memory. A clone is a handle of the same sink: give one to the manager and script or read the other.
#[derive(Clone, Debug, Default)]
pub struct MemorySink(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    packets: Vec<Arc<TelemetryPacket>>,
    down: bool,
    offered: u64,
}

impl MemorySink {
    /// Removes and returns the packets that were delivered, oldest first.
    #[must_use]
    pub fn take(&self) -> Vec<TelemetryPacket> {
        let packets = std::mem::take(&mut self.state().packets);
        packets.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    /// From now on refuses every packet (`true`), or takes them again (`false`).
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// How many packets were offered so far, the refused ones included.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.state().offered
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for MemorySink {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        let mut state = self.state();
        state.offered += 1;
        if state.down {
            return Err(SinkError { sink: "memory", source: "it was set down".into() });
        }
        state.packets.push(Arc::clone(packet));
        Ok(())
    }
}
