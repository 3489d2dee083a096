//! Takes over the entries of consumers that died, and keeps those that wait here.

use std::collections::{BTreeMap, BTreeSet};

use kasmina_leyline::Monotonic;
use redis::{Cmd, Value, cmd};

use super::{
    consumer::{Consumer, by_stream},
    link::{Broken, Link},
    reply::{self, Fields},
};
use crate::{DeliveryId, DropCause, EntryId, Stream};

const BEGINNING: &str = "0-0";

/// When entries were last looked for, and where the search goes on.
#[derive(Debug, Default)]
pub(super) struct Claims {
    looked: Option<Monotonic>,
    cursors: BTreeMap<Stream, Vec<u8>>,
}

/// What one XAUTOCLAIM brought.
struct Claimed {
    cursor: Vec<u8>,
    entries: Vec<(EntryId, Option<Fields>)>,
    trimmed: u64,
}

impl Claims {
    /// Looks for idle entries, if it is time. Returns whether there were some.
    ///
    /// An entry that waits here for `poll` must not count as idle: every claim counts as a delivery, and it would be
    /// given up without anybody having seen it. XCLAIM with JUSTID refreshes it and counts nothing.
    pub(super) fn run(
        &mut self,
        consumer: &Consumer,
        link: &mut Link,
        made: &BTreeSet<Stream>,
        now: Monotonic,
    ) -> Result<bool, Broken> {
        let settings = &consumer.settings;
        let unfinished = !self.cursors.is_empty();
        if !unfinished && self.looked.is_some_and(|at| now.since(at) < settings.claim_every) {
            return Ok(false);
        }
        self.looked = Some(now);
        let (waiting, room) = {
            let mut state = consumer.lock();
            state.inbox.give_up(settings.bus.claim_after * 2, now);
            let room = state.inbox.room(settings.batch, settings.bus.most_unacknowledged);
            (state.inbox.waiting(), room)
        };
        refresh(consumer, link, &waiting, now)?;
        if room == 0 {
            return Ok(false);
        }
        let mut found = false;
        for stream in consumer.open(made, now) {
            if unfinished && !self.cursors.contains_key(&stream) {
                continue;
            }
            let cursor = self.cursors.remove(&stream).unwrap_or_else(|| BEGINNING.into());
            let mut command = cmd("XAUTOCLAIM");
            let idle = u64::try_from(settings.bus.claim_after.as_millis()).unwrap_or(u64::MAX);
            command.arg(consumer.name(stream)).arg(&consumer.subscription.group).arg(&consumer.subscription.consumer);
            command.arg(idle).arg(cursor).arg("COUNT").arg(room);
            let Some(answer) = link.exchange(&[command], now)?.pop() else { continue };
            if let Some(error) = reply::refusal(&answer) {
                consumer.lock().refusals.refused(stream, error, now);
                continue;
            }
            let Some(claimed) = claimed(answer) else { continue };
            found |= !claimed.entries.is_empty();
            if claimed.cursor != BEGINNING.as_bytes() {
                self.cursors.insert(stream, claimed.cursor);
            }
            consumer.lock().inbox.counts.dropped(DropCause::Trimmed, claimed.trimmed);
            let attempts = attempts(consumer, link, stream, &claimed.entries, now)?;
            let entries = claimed.entries.into_iter().zip(attempts);
            consumer.arrive(stream, entries.map(|((id, fields), attempt)| (id, fields, attempt)).collect());
        }
        Ok(found)
    }
}

fn refresh(consumer: &Consumer, link: &mut Link, waiting: &[DeliveryId], now: Monotonic) -> Result<(), Broken> {
    let grouped = by_stream(waiting);
    let command = |(stream, ids): &(Stream, Vec<EntryId>)| {
        let mut command = cmd("XCLAIM");
        command.arg(consumer.name(*stream)).arg(&consumer.subscription.group).arg(&consumer.subscription.consumer);
        command.arg(0);
        for id in ids {
            command.arg(id.to_string());
        }
        command.arg("JUSTID");
        command
    };
    let commands: Vec<Cmd> = grouped.iter().map(command).collect();
    let answers = link.exchange(&commands, now)?;
    let mut gone = BTreeSet::new();
    for ((stream, ids), answer) in grouped.into_iter().zip(answers) {
        let Some(kept) = reply::array(answer) else { continue };
        let kept: BTreeSet<EntryId> = kept.into_iter().filter_map(reply::entry_id).collect();
        gone.extend(ids.into_iter().filter(|id| !kept.contains(id)).map(|entry| DeliveryId { stream, entry }));
    }
    consumer.lock().inbox.forget(&gone);
    Ok(())
}

fn claimed(answer: Value) -> Option<Claimed> {
    let mut parts = reply::array(answer)?.into_iter();
    let cursor = reply::bytes(parts.next()?)?;
    let entries = reply::entries(parts.next()?)?;
    let trimmed = parts.next().and_then(reply::array).map_or(0, |deleted| deleted.len() as u64);
    Some(Claimed { cursor, entries, trimmed })
}

/// How often each of these entries was delivered, the claim included: XAUTOCLAIM does not say it.
fn attempts(
    consumer: &Consumer,
    link: &mut Link,
    stream: Stream,
    entries: &[(EntryId, Option<Fields>)],
    now: Monotonic,
) -> Result<Vec<u32>, Broken> {
    let question = |(id, _): &(EntryId, Option<Fields>)| {
        let (mut command, id) = (cmd("XPENDING"), id.to_string());
        command.arg(consumer.name(stream)).arg(&consumer.subscription.group).arg(&id).arg(&id).arg(1);
        command
    };
    let questions: Vec<Cmd> = entries.iter().map(question).collect();
    let answers = link.exchange(&questions, now)?;
    // It was claimed just now, so that it was delivered once before.
    Ok(answers.into_iter().map(|answer| deliveries(answer).unwrap_or(2)).collect())
}

fn deliveries(answer: Value) -> Option<u32> {
    let pending = reply::array(answer)?.into_iter().next()?;
    let count = reply::count(reply::array(pending)?.get(3)?)?;
    u32::try_from(count).ok()
}
