//! Verifying.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use kasmina_leyline::{
    CommandId, Monotonic, UnixTime,
    v1::AdaptationCommand,
    wire::{MapOrder, SignedBytes},
};
use prost::Message;

use crate::{KeyRing, LedgerGauges, NonceLedger, NonceRefusal, Rejection};

/// Something that a [`Verifier`] has vouched for. Nobody else can make one, and none can be copied.
#[derive(Debug, PartialEq)]
pub struct Verified<T>(pub(crate) T);

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Says which commands are obeyed.
///
/// A wrong yes lets a stranger operate on the network; a wrong no costs an honest sender a command, which it learns from
/// the telemetry.
pub trait Verifier: Send {
    /// Verifies the bytes of one `AdaptationCommand` and uses up its nonce.
    ///
    /// # Errors
    /// [`Rejection`]; no nonce is used up.
    fn verify(&mut self, wire: &[u8], wall: UnixTime, now: Monotonic)
    -> Result<Verified<AdaptationCommand>, Rejection>;

    /// Takes in what was vouched for before a restart: the nonces that a journal has kept, and the watermark of those that it has
    /// not. None of them is vouched for again.
    fn remember(&mut self, seen: Vec<(CommandId, UnixTime)>, watermark: Option<UnixTime>, now: Monotonic);

    /// How the nonce ledger stands.
    fn gauges(&self) -> LedgerGauges;
}

impl<V: Verifier + ?Sized> Verifier for Box<V> {
    fn verify(
        &mut self,
        wire: &[u8],
        wall: UnixTime,
        now: Monotonic,
    ) -> Result<Verified<AdaptationCommand>, Rejection> {
        (**self).verify(wire, wall, now)
    }

    fn remember(&mut self, seen: Vec<(CommandId, UnixTime)>, watermark: Option<UnixTime>, now: Monotonic) {
        (**self).remember(seen, watermark, now);
    }

    fn gauges(&self) -> LedgerGauges {
        (**self).gauges()
    }
}

/// For whoever keeps a handle, for example to rotate the keys of a [`CommandVerifier`].
impl<V: Verifier> Verifier for Arc<Mutex<V>> {
    fn verify(
        &mut self,
        wire: &[u8],
        wall: UnixTime,
        now: Monotonic,
    ) -> Result<Verified<AdaptationCommand>, Rejection> {
        self.lock().unwrap_or_else(PoisonError::into_inner).verify(wire, wall, now)
    }

    fn remember(&mut self, seen: Vec<(CommandId, UnixTime)>, watermark: Option<UnixTime>, now: Monotonic) {
        self.lock().unwrap_or_else(PoisonError::into_inner).remember(seen, watermark, now);
    }

    fn gauges(&self) -> LedgerGauges {
        self.lock().unwrap_or_else(PoisonError::into_inner).gauges()
    }
}

/// Obeys nobody: what a manager has that was given no verifier.
#[derive(Clone, Copy, Debug, Default)]
pub struct RejectAll;

impl Verifier for RejectAll {
    fn verify(&mut self, _: &[u8], _: UnixTime, _: Monotonic) -> Result<Verified<AdaptationCommand>, Rejection> {
        Err(Rejection::NoVerifier)
    }

    fn remember(&mut self, _: Vec<(CommandId, UnixTime)>, _: Option<UnixTime>, _: Monotonic) {}

    fn gauges(&self) -> LedgerGauges {
        LedgerGauges::default()
    }
}

/// How far a command's time of issue may lie from this machine's wall clock. The defaults are Esper's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshnessWindow {
    /// How far back. Default 60 s.
    pub back: Duration,
    /// How far ahead. Default 5 s.
    pub ahead: Duration,
}

impl Default for FreshnessWindow {
    fn default() -> Self {
        Self { back: Duration::from_secs(60), ahead: Duration::from_secs(5) }
    }
}

/// Verifies commands by shared secrets.
#[derive(Clone, Debug)]
pub struct CommandVerifier {
    keys: KeyRing,
    window: FreshnessWindow,
    ledger: NonceLedger,
}

impl CommandVerifier {
    /// Accepts what a key of this ring has signed. An empty ring accepts nothing.
    #[must_use]
    pub fn new(keys: KeyRing) -> Self {
        Self { keys, window: FreshnessWindow::default(), ledger: NonceLedger::default() }
    }

    /// With another window of freshness.
    #[must_use]
    pub const fn with_window(mut self, window: FreshnessWindow) -> Self {
        self.window = window;
        self
    }

    /// Obeys only what was issued after `time`, usually the start of the process: what was obeyed before it is remembered by
    /// nobody, and could be replayed while it is fresh.
    #[must_use]
    pub fn issued_after(mut self, time: UnixTime) -> Self {
        self.ledger.forget_all_before(time);
        self
    }

    /// With another ledger.
    #[must_use]
    pub fn with_ledger(mut self, ledger: NonceLedger) -> Self {
        self.ledger = ledger;
        self
    }

    /// The keys, to rotate them.
    pub const fn keys_mut(&mut self) -> &mut KeyRing {
        &mut self.keys
    }

    fn authentic(&self, wire: &[u8]) -> Result<AdaptationCommand, Rejection> {
        let received = SignedBytes::parse(wire)?;
        let signature = received.signature().ok_or(Rejection::MissingSignature)?;
        let signature = decode(signature).ok_or(Rejection::InvalidSignature)?;
        let made_in = |order| self.keys.any_made(&signature, &[&received.in_order(order)]);
        let as_received = self.keys.any_made(&signature, &received.as_received());
        if !(as_received || made_in(MapOrder::Upb) || made_in(MapOrder::Bytewise)) {
            return Err(Rejection::InvalidSignature);
        }
        Ok(AdaptationCommand::decode(wire)?)
    }
}

impl Verifier for CommandVerifier {
    fn verify(
        &mut self,
        wire: &[u8],
        wall: UnixTime,
        now: Monotonic,
    ) -> Result<Verified<AdaptationCommand>, Rejection> {
        let command = self.authentic(wire)?;
        let id = CommandId::new(&command.command_id).map_err(Rejection::MissingCommandId)?;
        let Some(issued_at) = command.issued_at.map(UnixTime::from) else {
            return Err(Rejection::MissingTimestamp { id });
        };
        let (ahead, age) = (issued_at.since(wall), wall.since(issued_at));
        if ahead > self.window.ahead {
            return Err(Rejection::IssuedInFuture { id, ahead });
        }
        if age > self.window.back {
            return Err(Rejection::StaleCommand { id, age });
        }
        match self.ledger.admit(&id, issued_at, now) {
            Ok(()) => Ok(Verified(command)),
            Err(NonceRefusal::Replayed) => Err(Rejection::NonceReplayed { id }),
            Err(NonceRefusal::Forgotten) => Err(Rejection::StaleCommand { id, age }),
        }
    }

    fn remember(&mut self, seen: Vec<(CommandId, UnixTime)>, watermark: Option<UnixTime>, now: Monotonic) {
        if let Some(watermark) = watermark {
            self.ledger.forget_all_before(watermark);
        }
        self.ledger.remember(seen, now);
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
