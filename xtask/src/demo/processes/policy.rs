//! The process that decides: Tamiyo's part. It remembers nothing, so that it can be killed at any time.

use std::{error::Error, thread};

use kasmina::{
    CommandSender,
    leyline::v1::{BusMessageType, SeedState, SystemStatePacket},
    safety::{Clock, SystemClock},
};
use kasmina_oona::{Bus, Delivery, Stream, Subscription};
use prost::Message;

use super::story::{A_MOMENT, Story, join, secret};
use crate::stopwatch::Stopwatch;

/// Orders what the plan says, whenever a trainer says where it is. Runs until it is killed.
pub(super) fn decide(address: &str, story: &Story) -> Result<(), Box<dyn Error>> {
    let bus = join(address, Some(Subscription::new("policy", "policy", [Stream::Normal])))?;
    let mut sender = CommandSender::new(&secret()?, "tamiyo")?;
    let since = Stopwatch::start();
    // A command that is on its way is not sent again for a second.
    let mut sent = None;
    loop {
        let arrived = bus.poll(64)?;
        let state = arrived.iter().rev().find_map(|delivery| state(delivery, story));
        if let Some((step, seed)) = state
            && sent.is_none_or(|(for_step, at)| for_step != step || since.seconds() > at + 1.0)
            && let Some(order) = story.order(seed.stage(), step)
        {
            let command = sender.order(&order, SystemClock::new().unix())?;
            let _ = bus.publish(kasmina_dispatch::command(command));
            sent = Some((step, since.seconds()));
        }
        for delivery in &arrived {
            bus.acknowledge(delivery.id)?;
        }
        if arrived.is_empty() {
            thread::sleep(A_MOMENT);
        }
    }
}

/// Where the run is, and how its seed.
fn state(delivery: &Delivery, story: &Story) -> Option<(u64, SeedState)> {
    if delivery.message_type != BusMessageType::SystemState {
        return None;
    }
    let packet = SystemStatePacket::decode(delivery.envelope.payload.as_slice()).ok()?;
    let is_its = |state: &SeedState| state.seed_id == story.seed.as_str();
    let ours = packet.training_run_id == story.run.as_str();
    let seed = packet.seed_states.into_iter().find(is_its).filter(|_| ours)?;
    Some((packet.global_step, seed))
}
