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
        let waiting = by_stream(&waiting);
        let mut streams = if room > 0 { consumer.open(made, now) } else { Vec::new() };
        streams.retain(|stream| !unfinished || self.cursors.contains_key(stream));
        // In one exchange, so that nothing that was refreshed can have become idle again.
        let mut commands: Vec<Cmd> = waiting.iter().map(|(stream, ids)| consumer.refresh(*stream, ids)).collect();
        for stream in &streams {
            let cursor = self.cursors.remove(stream).unwrap_or_else(|| BEGINNING.into());
            commands.push(consumer.claim(*stream, &cursor, room));
        }
        let mut answers = link.exchange(&commands, now)?.into_iter();
        let gone = waiting.into_iter().zip(&mut answers).flat_map(|((stream, ids), answer)| gone(stream, ids, answer));
        let gone: BTreeSet<DeliveryId> = gone.collect();
        consumer.lock().inbox.forget(&gone);
        let mut found = false;
        for (stream, answer) in streams.into_iter().zip(answers) {
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

/// The entries that the server did not refresh: somebody else has settled them.
fn gone(stream: Stream, ids: Vec<EntryId>, answer: Value) -> Vec<DeliveryId> {
    let Some(kept) = reply::array(answer) else { return Vec::new() };
    let kept: BTreeSet<EntryId> = kept.into_iter().filter_map(reply::entry_id).collect();
    ids.into_iter().filter(|id| !kept.contains(id)).map(|entry| DeliveryId { stream, entry }).collect()
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
