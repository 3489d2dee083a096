//! Orders, and what goes wrong.

use kasmina_leyline::CommandId;

use super::super::replica::Skew;
use super::{Happening, LEASE, MS, World};
use crate::Order;

impl World {
    pub(super) fn order(&mut self) {
        if self.is_healed && self.orders > 0 && self.random.bool() {
            self.after(20 * MS, Happening::Order);
            return;
        }
        self.orders += 1;
        let skew = Skew { rate: 1_000, wall_ms: self.random.i64(-50..0) };
        let issued_at = skew.unix(self.now);
        let rollback_to = (self.random.u8(0..12) == 0 && !self.is_healed).then(|| {
            let steps = self.replicas.iter().map(|it| it.step).max().unwrap_or(0);
            let every = self.settings.every;
            (steps / every).saturating_sub(self.random.u64(0..4)) * every
        });
        let Ok(id) = CommandId::new(format!("order-{}", self.orders)) else { return };
        let order = Order { id, issued_at, bytes: vec![0; 8], rollback_to };
        // Each replica gets it, or does not; some get old ones again.
        let old = self.old_orders.get(self.random.usize(0..32)).cloned();
        for it in &mut self.replicas {
            if it.worker.is_some() && self.random.u8(0..4) > 0 {
                it.pending.push(order.clone());
            }
            if self.random.u8(0..8) == 0 {
                it.pending.extend(old.clone());
            }
            let surplus = it.pending.len().saturating_sub(40);
            it.pending.drain(..surplus);
        }
        self.old_orders.push_front(order);
        self.old_orders.truncate(32);
        let next = self.random.u64(MS..20 * MS);
        self.after(next, Happening::Order);
    }

    pub(super) fn fault(&mut self) {
        if self.faults == 0 || self.is_healed {
            return;
        }
        self.faults -= 1;
        let workers = self.replicas.len();
        let replica = self.random.usize(0..workers);
        match self.random.u8(0..6) {
            0 => {
                self.replicas[replica].die();
                let back = self.random.u64(MS..3_000 * MS);
                self.after(back, Happening::Restart { replica });
            }
            1 => {
                let sleep = self.random.u64(MS..2_500 * MS);
                self.replicas[replica].asleep_until = self.now + sleep;
            }
            // A holder that sleeps past its lease, or dies.
            2 => self.replicas[self.lease.1].asleep_until = self.now + self.random.u64(LEASE / 2..3 * LEASE),
            3 => {
                let holder = self.lease.1;
                self.replicas[holder].die();
                let back = self.random.u64(MS..2_000 * MS);
                self.after(back, Happening::Restart { replica: holder });
            }
            _ => {
                for side in &mut self.network.sides {
                    *side = self.random.u8(0..2);
                }
                let heals = self.random.u64(MS..2_500 * MS);
                self.after(heals, Happening::Heal);
            }
        }
        let next = self.random.u64(MS..800 * MS);
        self.after(next, Happening::Fault);
    }

    /// Nothing goes wrong any more, and liars are silent.
    pub(in crate::doubles) fn heal(&mut self) -> Result<(), String> {
        self.is_healed = true;
        self.network.heal();
        for replica in 0..self.replicas.len() {
            self.replicas[replica].asleep_until = self.now;
            self.restart(replica)?;
        }
        Ok(())
    }
}
