//! The lease.

use super::{Happening, LEASE, World};
use crate::Isolation;

impl World {
    pub(super) fn look_after_lease(&mut self, replica: usize, life: u64) -> Result<(), String> {
        let is_over = self.replicas[replica].life != life;
        if is_over || self.is_asleep(replica, || Happening::Lease { replica, life }) {
            return Ok(());
        }
        let Some(worker) = &self.replicas[replica].worker else { return Ok(()) };
        let (token, holder, until) = self.lease;
        let is_mine = holder == replica && self.replicas[replica].lease_until > 0 && token > 0;
        let is_silent = self.is_healed && self.liars.contains_key(&replica);
        let is_lost = matches!(worker.isolation(), Some(Isolation::Missed | Isolation::Conflict));
        let may = !is_silent && !is_lost;
        let now = self.now;
        // The answer may be lost or late.
        let reached = self.is_healed || self.random.u32(0..10) > 0;
        if is_mine && now < until && may && reached {
            self.lease.2 = now + LEASE;
            self.hold(replica);
        } else if now >= until && may && reached {
            self.lease = (token + 1, replica, now + LEASE);
            self.seen.leases += 1;
            self.hold(replica);
        }
        let next = self.random.u64(LEASE / 4..LEASE / 2);
        self.after(next, Happening::Lease { replica, life });
        self.carry_out(replica)
    }

    pub(super) fn hold(&mut self, replica: usize) {
        let token = self.lease.0;
        let it = &mut self.replicas[replica];
        it.lease_until = self.now + LEASE;
        let (now, until) = (it.skew.monotonic(self.now), it.skew.monotonic(self.now + LEASE * 9 / 10));
        if let Some(worker) = &mut it.worker {
            worker.lease_held(token, until, now);
        }
    }
}
