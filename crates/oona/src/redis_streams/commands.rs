//! What a subscriber says to the server.

use std::time::Duration;

use kasmina_leyline::UnixTime;
use redis::{Cmd, cmd};

use super::{consumer::Consumer, inbox::Dead};
use crate::{EntryId, Stream};

/// Writes the dead letter, then acknowledges the entry, if the group still has it. If the first fails, the second does
/// not happen.
const BURY: &str = "
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if #pending == 0 then return 0 end
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if #entry == 0 then redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) return 0 end
local letter = {'stream', KEYS[1], 'group', ARGV[1], 'entry', ARGV[2], 'cause', ARGV[3], 'deliveries', ARGV[4]}
local fields = entry[1][2]
for i = 1, #fields, 2 do
    if fields[i] == 'payload' or fields[i] == 'signature' then
        letter[#letter + 1] = fields[i]
        letter[#letter + 1] = fields[i + 1]
    end
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', unpack(letter))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return 1
";

impl Consumer {
    pub(super) fn name(&self, stream: Stream) -> &str {
        self.settings.bus.streams.of(stream)
    }

    /// A group begins with the oldest entry that it can still get.
    pub(super) fn group(&self, stream: Stream, wall: UnixTime) -> Cmd {
        let since = self.settings.bus.first_deliverable(wall).as_nanos() / 1_000_000;
        let mut command = cmd("XGROUP");
        command.arg("CREATE").arg(self.name(stream)).arg(&self.subscription.group).arg(since.max(0)).arg("MKSTREAM");
        command
    }

    /// Makes entries of this consumer count as delivered just now, without another delivery.
    pub(super) fn refresh(&self, stream: Stream, ids: &[EntryId]) -> Cmd {
        let mut command = cmd("XCLAIM");
        command.arg(self.name(stream)).arg(&self.subscription.group).arg(&self.subscription.consumer).arg(0);
        for id in ids {
            command.arg(id.to_string());
        }
        command.arg("JUSTID");
        command
    }

    pub(super) fn claim(&self, stream: Stream, cursor: &[u8], most: usize) -> Cmd {
        let idle = u64::try_from(self.settings.bus.claim_after.as_millis()).unwrap_or(u64::MAX);
        let mut command = cmd("XAUTOCLAIM");
        command.arg(self.name(stream)).arg(&self.subscription.group).arg(&self.subscription.consumer);
        command.arg(idle).arg(cursor).arg("COUNT").arg(most);
        command
    }

    pub(super) fn acknowledgement(&self, stream: Stream, ids: &[EntryId]) -> Cmd {
        let mut command = cmd("XACK");
        command.arg(self.name(stream)).arg(&self.subscription.group);
        for id in ids {
            command.arg(id.to_string());
        }
        command
    }

    pub(super) fn burial(&self, dead: &Dead) -> Cmd {
        let bus = &self.settings.bus;
        let mut command = cmd("EVAL");
        command.arg(BURY).arg(2).arg(self.name(dead.id.stream)).arg(&bus.streams.dead_letters);
        command.arg(&self.subscription.group).arg(dead.id.entry.to_string()).arg(dead.cause.name());
        command.arg(dead.deliveries).arg(bus.stream_capacity);
        command
    }

    pub(super) fn read(&self, streams: &[Stream], most: usize, block: Option<Duration>) -> Cmd {
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.subscription.group).arg(&self.subscription.consumer).arg("COUNT").arg(most);
        if let Some(block) = block {
            command.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(u64::MAX));
        }
        command.arg("STREAMS");
        for stream in streams {
            command.arg(self.name(*stream));
        }
        for _ in streams {
            command.arg(">");
        }
        command
    }
}
