//! What a run takes from the bus and sends over it.
//!
//! - [`Inbox`] hands the commands that have arrived to the seed manager, and acknowledges each once it is answered.
//! - [`BusSink`] publishes telemetry, [`FieldReportSink`] a report at the end of each seed's life.
//! - [`command`] and [`NewsReader`] are the policy's side: sending a command, and reading what comes back.
//!
//! ```
//! use kasmina_commands::{CommandSender, Order};
//! use kasmina_dispatch::{BusSink, Inbox, News, NewsReader, command};
//! use kasmina_leyline::{Monotonic, SeedId, TrainingRunId};
//! use kasmina_oona::{Bus, BusSettings, LocalBroker};
//! use kasmina_safety::{Clock, SystemClock};
//! use kasmina_security::{CommandVerifier, KeyRing, Secret, Verifier};
//! use kasmina_telemetry::{Assembler, Event, Reporter, names};
//!
//! let (clock, run) = (SystemClock::new(), TrainingRunId::new("run-7")?);
//! let broker = LocalBroker::new(Inbox::settings(BusSettings::default()), clock)?;
//! let tamiyo = broker.join(NewsReader::subscription("tamiyo", "tamiyo-1"))?;
//! let mut inbox = Inbox::new(broker.join(Inbox::subscription(&run, "trainer-1"))?);
//!
//! // The policy sends a command.
//! let secret = Secret::new("a shared secret")?;
//! let fossilize = Order::Fossilize { seed: SeedId::new("seed-1")? };
//! let wire = CommandSender::new(&secret, "tamiyo")?.order(&fossilize, clock.unix())?;
//! tamiyo.publish(command(wire))?;
//!
//! // The trainer takes it. Instead of a verifier alone, a seed manager answers: `manager.submit_all(wires)`.
//! let mut verifier = CommandVerifier::new(KeyRing::of("k1", secret));
//! let mut answer = |wire: &[u8]| verifier.verify(wire, clock.unix(), Monotonic::ORIGIN).map(|it| it.id().clone());
//! let served = inbox.serve(|wires| wires.into_iter().map(&mut answer).collect(), |_| true)?;
//! assert!(served.answers[0].is_ok());
//!
//! // Telemetry goes the other way.
//! let mut reporter = Reporter::new(Assembler::new("kasmina", run, 64), vec![Box::new(BusSink::new(broker.publisher()))], 64);
//! reporter.emit(None, Event::new(names::COMMAND_ACCEPTED));
//! reporter.flush(1, clock.unix(), &mut |_| None);
//! let mut told = Vec::new();
//! let mut reader = NewsReader::new(tamiyo);
//! reader.read(64, |news| {
//!     let News::Telemetry(packet) = news else { return };
//!     told.extend(packet.events.into_iter().map(|event| event.description));
//! })?;
//! assert_eq!(told, ["command_accepted"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod inbox;
mod policy;
mod posted;
mod sinks;

pub use inbox::{Inbox, Served};
pub use policy::{News, NewsReader, Read, command};
pub use sinks::{BusSink, FieldReportSink};
