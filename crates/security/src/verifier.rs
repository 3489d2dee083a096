//! The verifier: its trait, its null object, and the one that checks signatures.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use kasmina_leyline::{
    CommandId, Monotonic, UnixTime,
    wire::{MapOrder, SignedBytes},
};

use crate::{KeyRing, LedgerGauges, NonceLedger, NonceRefusal, Rejection, VerifiedBytes};

/// What must be kept across a restart, so that a [`Verifier`] rejects replays after it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long the nonce of an accepted command must be kept, counted from its acceptance.
    pub ttl: Duration,
    /// Commands issued at this time or before are no longer accepted, because their nonces may have been forgotten.
    pub watermark: Option<UnixTime>,
    /// The time to which an operator has reset the watermark in this process. Commands that were accepted before the reset must not
    /// raise it above this time when their nonces are forgotten.
    pub reset: Option<UnixTime>,
}

/// Decides which commands are accepted.
///
/// If it wrongly accepts one, a stranger operates on the network. If it wrongly rejects one, an honest sender loses a command, and
/// an event says so.
pub trait Verifier: Send {
    /// Verifies the bytes of one `AdaptationCommand` and uses up its nonce.
    ///
    /// # Errors
    /// [`Rejection`]; no nonce is used up.
    fn verify<'w>(&mut self, wire: &'w [u8], wall: UnixTime, now: Monotonic) -> Result<VerifiedBytes<'w>, Rejection>;

    /// Restores the replay protection after a restart: the nonces from the journal with their times of issue, and the watermark for
    /// older ones. None of these commands is accepted again. A manager that is reset calls it too, with a watermark alone: nothing that
    /// was issued then or before is accepted any more, and its nonces may be forgotten.
    fn restore(&mut self, seen: Vec<(CommandId, UnixTime)>, watermark: Option<UnixTime>, now: Monotonic);

    /// What a journal must keep, and the watermark to keep with it. If it is too little, a captured command can be obeyed twice; if
    /// it is too much, it costs disk space.
    fn retention(&self) -> Retention;

    /// The state of the nonce ledger, for telemetry only. Nothing may depend on it.
    fn gauges(&self) -> LedgerGauges {
        LedgerGauges::default()
    }
}

impl<V: Verifier + ?Sized> Verifier for &mut V {
    fn verify<'w>(&mut self, wire: &'w [u8], wall: UnixTime, now: Monotonic) -> Result<VerifiedBytes<'w>, Rejection> {
        (**self).verify(wire, wall, now)
    }

    fn restore(&mut self, seen: Vec<(CommandId, UnixTime)>, watermark: Option<UnixTime>, now: Monotonic) {
        (**self).restore(seen, watermark, now);
    }

    fn retention(&self) -> Retention {
        (**self).retention()
    }

    fn gauges(&self) -> LedgerGauges {
        (**self).gauges()
    }
}

impl<V: Verifier + ?Sized> Verifier for Box<V> {
    fn verify<'w>(&mut self, wire: &'w [u8], wall: UnixTime, now: Monotonic) -> Result<VerifiedBytes<'w>, Rejection> {
        (**self).verify(wire, wall, now)
    }

    fn restore(&mut self, seen: Vec<(CommandId, UnixTime)>, watermark: Option<UnixTime>, now: Monotonic) {
        (**self).restore(seen, watermark, now);
    }

    fn retention(&self) -> Retention {
        (**self).retention()
    }

    fn gauges(&self) -> LedgerGauges {
        (**self).gauges()
    }
}

/// For an owner that keeps a handle, for example to rotate the keys of a [`CommandVerifier`] or to reset its watermark.
impl<V: Verifier> Verifier for Arc<Mutex<V>> {
    fn verify<'w>(&mut self, wire: &'w [u8], wall: UnixTime, now: Monotonic) -> Result<VerifiedBytes<'w>, Rejection> {
        self.lock().unwrap_or_else(PoisonError::into_inner).verify(wire, wall, now)
    }

    fn restore(&mut self, seen: Vec<(CommandId, UnixTime)>, watermark: Option<UnixTime>, now: Monotonic) {
        self.lock().unwrap_or_else(PoisonError::into_inner).restore(seen, watermark, now);
    }

    fn retention(&self) -> Retention {
        self.lock().unwrap_or_else(PoisonError::into_inner).retention()
    }

    fn gauges(&self) -> LedgerGauges {
        self.lock().unwrap_or_else(PoisonError::into_inner).gauges()
    }
}

/// Rejects every command: the verifier of a manager that was given none. It asks for everything to be kept, so that opening a store
/// without a verifier loses no nonce of an earlier verifier.
#[derive(Clone, Copy, Debug, Default)]
pub struct RejectAll {
    watermark: Option<UnixTime>,
}

impl Verifier for RejectAll {
    fn verify<'w>(&mut self, _: &'w [u8], _: UnixTime, _: Monotonic) -> Result<VerifiedBytes<'w>, Rejection> {
        Err(Rejection::NoVerifier)
    }

    fn restore(&mut self, _: Vec<(CommandId, UnixTime)>, watermark: Option<UnixTime>, _: Monotonic) {
        self.watermark = self.watermark.max(watermark);
    }

    fn retention(&self) -> Retention {
        Retention { ttl: Duration::MAX, watermark: self.watermark, reset: None }
    }
}

/// How far a command's time of issue may be from this machine's wall clock. The defaults are Esper's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshnessWindow {
    /// The greatest age. Default 60 s.
    pub back: Duration,
    /// The farthest into the future. Default 5 s.
    pub ahead: Duration,
}

impl Default for FreshnessWindow {
    fn default() -> Self {
        Self { back: Duration::from_secs(60), ahead: Duration::from_secs(5) }
    }
}

/// Verifies commands with shared secrets.
///
/// It works on the bytes as they were received, and decodes nothing: a command that is rejected costs little more than its HMAC. It allocates
/// only while its ledger grows, for ids of more than 38 bytes and for maps of more than 16 entries.
#[derive(Clone, Debug)]
pub struct CommandVerifier {
    keys: KeyRing,
    window: FreshnessWindow,
    ledger: NonceLedger,
    digests: u64,
    /// The last command that had to be put into another order.
    reordered: Vec<u8>,
}

impl CommandVerifier {
    /// Accepts commands that were signed with a key of this ring. An empty ring accepts nothing.
    #[must_use]
    pub fn new(keys: KeyRing) -> Self {
        Self {
            keys,
            window: FreshnessWindow::default(),
            ledger: NonceLedger::default(),
            digests: 0,
            reordered: Vec::new(),
        }
    }

    /// Replaces the window of freshness.
    #[must_use]
    pub const fn with_window(mut self, window: FreshnessWindow) -> Self {
        self.window = window;
        self
    }

    /// Rejects everything that was issued at `time` or before, usually the start of the process. Use it without a store: nothing
    /// remembers what was obeyed before the start, so it could be replayed while it is fresh.
    #[must_use]
    pub fn issued_after(mut self, time: UnixTime) -> Self {
        self.ledger.forget_all_before(time);
        self
    }

    /// Replaces the nonce ledger.
    #[must_use]
    pub fn with_ledger(mut self, ledger: NonceLedger) -> Self {
        self.ledger = ledger;
        self
    }

    /// The key ring, to rotate keys.
    pub const fn keys_mut(&mut self) -> &mut KeyRing {
        &mut self.keys
    }

    /// Lowers the watermark to `now`, the current wall clock, if it is later than that. For an operator, after a wall clock that was
    /// ahead: without this, honest commands are rejected as issued before the watermark until the wall clock has caught up. For a
    /// store that no manager has open, `kasmina store reset-watermark DIR` does the same.
    ///
    /// It weakens the replay protection: a command that was accepted while the clock was ahead can be replayed when its time of
    /// issue has come, if its nonce is forgotten by then. Rotate the keys at the same time to close that gap.
    ///
    /// Returns whether the watermark was lowered.
    pub fn reset_watermark(&mut self, now: UnixTime) -> bool {
        self.ledger.reset_watermark(now)
    }

    /// How often a command was hashed so far, each key counted: what forged commands cost. A command whose maps can be in one order only
    /// is hashed once for each key of the ring, any other at most three times.
    #[must_use]
    pub const fn digests(&self) -> u64 {
        self.digests
    }

    /// Whether the command is signed with a key of the ring.
    fn authenticate(&mut self, received: &SignedBytes<'_>) -> Result<(), Rejection> {
        let signature = received.signature().ok_or(Rejection::MissingSignature)?;
        let signature = decode(signature).ok_or(Rejection::InvalidSignature)?;
        if self.made(&signature, &received.as_received()) {
            return Ok(());
        }
        for order in [MapOrder::Upb, MapOrder::Bytewise] {
            // A map that is already in that order gives the same bytes again.
            if received.is_in(order) {
                continue;
            }
            let mut reordered = mem::take(&mut self.reordered);
            reordered.clear();
            received.write_in_order(order, &mut reordered);
            let made = self.made(&signature, &[&reordered]);
            self.reordered = reordered;
            if made {
                return Ok(());
            }
        }
        Err(Rejection::InvalidSignature)
    }

    /// Whether a key of the ring made the signature.
    fn made(&mut self, signature: &[u8; 32], bytes: &[&[u8]]) -> bool {
        let (made, tried) = self.keys.any_made(signature, bytes);
        self.digests += tried;
        made
    }
}

impl Verifier for CommandVerifier {
    fn verify<'w>(&mut self, wire: &'w [u8], wall: UnixTime, now: Monotonic) -> Result<VerifiedBytes<'w>, Rejection> {
        let received = SignedBytes::parse(wire)?;
        self.authenticate(&received)?;
        let verified = VerifiedBytes::read(&received, wire)?;
        let (id, issued_at) = (verified.id(), verified.issued_at());
        let (ahead, age) = (issued_at.since(wall), wall.since(issued_at));
        if ahead > self.window.ahead {
            return Err(Rejection::IssuedInFuture { id: id.clone(), ahead });
        }
        if age > self.window.back {
            return Err(Rejection::StaleCommand { id: id.clone(), age });
        }
        match self.ledger.admit(id, issued_at, now) {
            Ok(()) => Ok(verified),
            Err(NonceRefusal::Replayed) => Err(Rejection::NonceReplayed { id: id.clone() }),
            Err(NonceRefusal::Forgotten) => {
                let watermark = self.ledger.watermark().unwrap_or(issued_at);
                let (behind, ahead) = (watermark.since(issued_at), watermark.since(wall));
                Err(Rejection::BeforeWatermark { id: id.clone(), behind, ahead })
            }
        }
    }

    fn restore(&mut self, seen: Vec<(CommandId, UnixTime)>, watermark: Option<UnixTime>, now: Monotonic) {
        if let Some(watermark) = watermark {
            self.ledger.forget_all_before(watermark);
        }
        self.ledger.restore(seen, now);
    }

    fn retention(&self) -> Retention {
        Retention { ttl: self.ledger.ttl(), watermark: self.ledger.watermark(), reset: self.ledger.reset() }
    }

    fn gauges(&self) -> LedgerGauges {
        self.ledger.gauges()
    }
}

/// The 32 bytes of a signature in standard base64; `None` for anything else.
fn decode(base64: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 33];
    let length = STANDARD.decode_slice(base64, &mut bytes).ok()?;
    (length == 32).then(|| bytes.first_chunk().copied()).flatten()
}
