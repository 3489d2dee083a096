//! What can be seen of the manager from outside.

use kasmina::{leyline::v1::SeedLifecycleStage::*, registry::parameter_ids};

use super::{
    command::Who,
    ledger::{Snapshot, Told as Telemetry},
    rig::{Rig, SLOTS},
};
use crate::common::{bytes, seed};

impl Rig {
    /// Takes the packets out of the sink.
    pub fn listen(&mut self) {
        let mut told = Telemetry::default();
        for packet in self.world.sink.take() {
            // What is critical is told again by the process behind a crash, under the id that it had.
            if !self.packets.insert(packet.packet_id.clone()) {
                continue;
            }
            let about = packet.system_health.as_ref().and_then(|health| health.indicators.get("seed_id"));
            let about = about.and_then(|id| Who::SEEDS.iter().position(|who| who.name() == id));
            about.into_iter().for_each(|index| told.packets[index] += 1);
            told.events.extend(packet.events.into_iter().map(|event| (about, event)));
        }
        let breakers = told.breakers();
        if let Some((_, last)) = breakers.iter().rfind(|(breaker, _)| breaker == "isolation") {
            (self.seen.unanswered, self.seen.isolation_closed) = (0, last == "breaker_closed");
        }
        for index in 0..3 {
            self.seen.heard[index].extend(told.moves(index));
        }
        self.seen.told = Some(told);
    }

    pub fn look(&mut self) {
        let states = self.world.manager.export_seed_states();
        for (index, state) in states.into_iter().enumerate() {
            let id = seed(Who::SEEDS[index].name());
            let kernel = self.world.manager.kernel(&id).map(|own| (parameter_ids(&own), bytes(&own)));
            let registered: Vec<_> = self.world.manager.registry().parameters_of(&id).collect();
            self.ever_owned.extend(registered.iter().copied());
            self.seen.after[index] = Snapshot {
                stage: self.world.manager.stage(&id).unwrap(),
                alpha: self.world.manager.alpha(&id).map(|alpha| alpha.get()),
                slot: SLOTS[index],
                registered,
                kernel,
                state,
            };
        }
        if self.seen.after.iter().any(|seed| seed.stage == SeedStageFossilized) {
            self.control = None;
        }
        self.seen.host = parameter_ids(&self.host).into_iter().collect();
        self.seen.host_bytes[1] = bytes(&self.host);
        self.seen.control = self.control.as_ref().map(|(control, _)| bytes(control));
        let registry = self.world.manager.registry();
        self.seen.owners = self.ever_owned.iter().map(|id| (*id, registry.owner(*id).cloned())).collect();
    }
}
