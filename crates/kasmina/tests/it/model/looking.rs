//! What can be seen of the manager, and whether it is what the model says.

use kasmina::{leyline::v1::SeedLifecycleStage::*, registry::parameter_ids};

use super::{
    command::Who,
    ledger::{Snapshot, Told as Telemetry},
    prediction::SLOTS,
    rig::Rig,
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
            let mut kernel = None;
            // To look at a kernel is to replace it by itself.
            self.world.manager.tamper(&id, |own| {
                kernel = Some((parameter_ids(&own), bytes(&own)));
                own
            });
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
        self.seen.host_bytes[1] = bytes(&self.host);
        self.seen.control = self.control.as_ref().map(|(control, _)| bytes(control));
        let registry = self.world.manager.registry();
        self.seen.owners = self.ever_owned.iter().map(|id| (*id, registry.owner(*id).cloned())).collect();
    }

    /// Whether manager and model say the same of everything.
    pub fn compare(&mut self) -> Result<(), String> {
        for (index, seed) in self.model.seeds.iter().enumerate() {
            let is = &self.seen.after[index];
            let name = Who::SEEDS[index].name();
            if is.stage != seed.stage {
                return Err(format!("{name} is in {:?}, the model says {:?}", is.stage, seed.stage));
            }
            let tensors = seed.graft.as_ref().map_or(0, |graft| graft.kernel.tensors());
            if is.registered.len() != tensors {
                return Err(format!("{name} owns {}, the model says {tensors}", is.registered.len()));
            }
            let alpha = seed.graft.as_ref().and_then(|graft| graft.alpha());
            if alpha.is_some() && is.alpha != alpha {
                return Err(format!("{name} is at alpha {:?}, the model says {alpha:?}", is.alpha));
            }
        }
        let manager = &self.world.manager;
        let deadline = self.model.seeds.iter().filter_map(|seed| seed.embargo_end).min();
        if (manager.step(), manager.next_deadline()) != (self.model.step, deadline) {
            let is = (manager.step(), manager.next_deadline());
            return Err(format!("step and deadline are {is:?}, the model says {:?}", (self.model.step, deadline)));
        }
        let Some(told) = &self.seen.told else { return Ok(()) };
        let expected: Vec<_> = std::mem::take(&mut self.model.breaker_events);
        let expected: Vec<_> = expected.into_iter().map(|(name, event)| (name.to_owned(), event.to_owned())).collect();
        if told.breakers() != expected {
            return Err(format!("the breakers told {:?}, the model says {expected:?}", told.breakers()));
        }
        let mut expected = std::mem::take(&mut self.model.gate_failures);
        expected.sort_unstable();
        if told.gate_failures() != expected {
            return Err(format!("gates refused {:?}, the model says {expected:?}", told.gate_failures()));
        }
        Ok(())
    }
}
