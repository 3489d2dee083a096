//! A run, its policy, and a bus between them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kasmina_commands::{BreakerName, CommandSender, Order};
use kasmina_dispatch::{Inbox, Served, command};
use kasmina_leyline::{
    CommandId, Monotonic, SeedId, TrainingRunId, UnixTime,
    v1::{CircuitBreakerState, FieldReport, FieldReportOutcome, TelemetryPacket},
};
use kasmina_oona::{
    Bus, BusError, BusSettings, Delivery, DeliveryId, LocalBroker, LocalBus, Message, Refused, Status, Ticket,
    Unflushed,
};
use kasmina_safety::{Clock, SystemClock, doubles::ManualClock};
use kasmina_security::{CommandVerifier, KeyRing, Rejection, Secret, Verifier};
use kasmina_telemetry::{Assembler, Event, Packet, field_report_event, names};

const SECRET: &str = "a shared secret";

/// How long a thread or a server may take that has something to do. Only a failing test waits so long.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn run() -> TrainingRunId {
    TrainingRunId::new("run-7").unwrap()
}

pub(crate) fn seed(name: &str) -> SeedId {
    SeedId::new(name).unwrap()
}

pub(crate) fn sender() -> CommandSender {
    CommandSender::new(&Secret::new(SECRET).unwrap(), "tamiyo").unwrap()
}

/// What a seed manager is to an inbox: each command is carried out once.
pub(crate) struct Manager {
    verifier: CommandVerifier,
    now: UnixTime,
}

pub(crate) type Answer = Result<CommandId, Rejection>;

impl Manager {
    pub(crate) fn new(now: UnixTime) -> Self {
        let keys = KeyRing::of("k1", Secret::new(SECRET).unwrap());
        Self { verifier: CommandVerifier::new(keys), now }
    }

    pub(crate) fn submit_all(&mut self, wires: Vec<&[u8]>) -> Vec<Answer> {
        let mut verify = |wire| self.verifier.verify(wire, self.now, Monotonic::ORIGIN).map(|it| it.id().clone());
        wires.into_iter().map(&mut verify).collect()
    }
}

/// Streams in the process, whose clock a test moves.
pub(crate) struct Local {
    pub(crate) clock: ManualClock,
    pub(crate) broker: LocalBroker,
    pub(crate) sender: CommandSender,
}

impl Local {
    pub(crate) fn new(settings: BusSettings) -> Self {
        let clock = ManualClock::default();
        clock.set_unix(UnixTime::from_millis(1_700_000_000_000));
        let broker = LocalBroker::new(Inbox::settings(settings), clock.clone()).unwrap();
        Self { clock, broker, sender: sender() }
    }

    pub(crate) fn manager(&self) -> Manager {
        Manager::new(self.clock.unix())
    }

    pub(crate) fn inbox(&self, consumer: &str) -> Inbox {
        Inbox::new(self.broker.join(Inbox::subscription(&run(), consumer)).unwrap())
    }

    /// A command about a seed, on its way.
    pub(crate) fn send(&mut self, name: &str) {
        let wire = self.sender.order(&Order::Pause { seed: seed(name) }, self.clock.unix()).unwrap();
        self.broker.publisher().publish(command(wire)).unwrap();
    }

    /// A command that cannot wait, on its way.
    pub(crate) fn send_urgent(&mut self) {
        let order =
            Order::CircuitBreaker { breaker: BreakerName::Kernels, state: CircuitBreakerState::CircuitStateOpen };
        let wire = self.sender.order(&order, self.clock.unix()).unwrap();
        self.broker.publisher().publish(command(wire)).unwrap();
    }

    pub(crate) fn wait(&self) {
        self.clock.advance(Inbox::CLAIM_AFTER);
    }
}

pub(crate) fn reasons(served: &Served<Answer>) -> Vec<&'static str> {
    served.answers.iter().map(|answer| answer.as_ref().map_or_else(Rejection::reason, |_| "ok")).collect()
}

/// A bus that has stored nothing until it is told to.
#[derive(Clone)]
pub(crate) struct Slow {
    bus: Arc<LocalBus>,
    stored: Arc<Mutex<Ticket>>,
}

impl Slow {
    pub(crate) fn new(bus: LocalBus) -> Self {
        Self { bus: Arc::new(bus), stored: Arc::default() }
    }

    pub(crate) fn store(&self) {
        *self.stored.lock().unwrap() = self.bus.status().stored_through;
    }
}

impl Bus for Slow {
    fn publish(&self, message: Message) -> Result<Ticket, Refused> {
        self.bus.publish(message)
    }

    fn poll(&self, most: usize) -> Result<Vec<Delivery>, BusError> {
        self.bus.poll(most)
    }

    fn acknowledge(&self, id: DeliveryId) -> Result<(), BusError> {
        self.bus.acknowledge(id)
    }

    fn flush(&self, within: Duration) -> Result<(), Unflushed> {
        self.bus.flush(within)
    }

    fn status(&self) -> Status {
        Status { stored_through: *self.stored.lock().unwrap(), ..self.bus.status() }
    }
}

pub(crate) fn report() -> FieldReport {
    FieldReport {
        version: 1,
        report_id: "run-7/seed-1/5".into(),
        training_run_id: "run-7".into(),
        seed_id: "seed-1".into(),
        blueprint_id: "mlp".into(),
        outcome: FieldReportOutcome::Regression.into(),
        notes: "loss_rising".into(),
        ..FieldReport::default()
    }
}

/// The packet of a step about `seed-1`, with these events.
pub(crate) fn packet(step: u64, events: &[Event]) -> Arc<TelemetryPacket> {
    packet_of(&format!("{step}"), step, events).packet
}

fn packet_of(life: &str, step: u64, events: &[Event]) -> Packet {
    let mut assembler = Assembler::new("kasmina", run(), 64).resumed(life);
    events.iter().for_each(|event| assembler.event(Some(&seed("seed-1")), event.clone()));
    assembler.assemble(step, UnixTime::from_millis(1_700_000_000_000)).remove(0)
}

pub(crate) fn critical() -> Event {
    Event::new(names::GATE_FAILURE).with("reason", "loss_rising")
}

pub(crate) fn ordinary() -> Event {
    Event::new(names::SEED_STATE)
}

pub(crate) fn reported() -> Event {
    field_report_event(&report())
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    while !done() {
        assert!(clock.monotonic() < Monotonic::ORIGIN.after(SOON), "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
