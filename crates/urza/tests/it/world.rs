//! A directory with kernels, the process that serves it, and a trainer.

use std::{path::PathBuf, time::Duration};

use kasmina_kernel_load::{
    Arrival, Digests, DirectoryLibrary, DirectoryReader, Initialisation, KernelLoadManager, LoadRequest, LoadSettings,
    Purpose, RequestId, Requested, doubles, initialise,
};
use kasmina_leyline::{BlueprintId, Monotonic, SeedId, TrainingRunId, UnixTime};
use kasmina_oona::{Bus, BusSettings, LocalBroker, LocalBus, Message, Stream, Subscription};
use kasmina_safety::{BreakerSettings, Clock, SystemClock, doubles::ManualClock};
use kasmina_urza::{OonaKernels, Urza, UrzaSettings};
use tempfile::TempDir;

/// How long a thread or a server may take that has something to do. Only a failing test waits so long.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn at(millis: u64) -> Monotonic {
    Monotonic::from_millis(millis)
}

pub(crate) fn blueprint(name: &str) -> BlueprintId {
    BlueprintId::new(name).unwrap()
}

/// A directory with these kernels.
pub(crate) struct Shelf {
    directory: TempDir,
}

impl Shelf {
    pub(crate) fn with(names: &[&str]) -> Self {
        let shelf = Self { directory: tempfile::tempdir().unwrap() };
        DirectoryLibrary::open_or_create(shelf.path()).unwrap();
        for name in names {
            shelf.publish(name, 0);
        }
        shelf
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().into()
    }

    pub(crate) fn publish(&self, name: &str, seed: u64) -> Digests {
        let manifest = doubles::sample_mlp(blueprint(name), 4).unwrap();
        let artifact = initialise(&manifest, &Initialisation { seed, zero_last: false }).unwrap();
        self.open().publish(&artifact, doubles::sample_descriptor(&blueprint(name))).unwrap()
    }

    pub(crate) fn open(&self) -> DirectoryLibrary {
        DirectoryLibrary::open(self.path()).unwrap()
    }

    /// The artifact's file.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(self.open().reference(&blueprint(name)).unwrap().0)
    }
}

/// A trainer.
pub(crate) struct Trainer {
    pub(crate) kernels: OonaKernels,
    pub(crate) manager: KernelLoadManager,
}

impl Trainer {
    pub(crate) fn new(bus: impl Bus + 'static, shelf: &Shelf) -> Self {
        // What is tested here is not the breaker, which opens after three failures.
        let breaker = BreakerSettings { failure_threshold: 1_000, ..BreakerSettings::default() };
        let settings = LoadSettings { timeout_ms: 30_000, shutdown_ms: 0, breaker, ..LoadSettings::default() };
        let kernels = OonaKernels::new(bus, shelf.open());
        let reader = DirectoryReader::new(shelf.path());
        let manager = KernelLoadManager::over_messages(kernels.clone(), reader, &settings, SystemClock::new().unix());
        Self { kernels, manager }
    }

    pub(crate) fn ask(&self, name: &str, seed: usize, now: u64) -> RequestId {
        let seed = Purpose::Seed(SeedId::new(format!("seed-{seed}")).unwrap());
        let run = TrainingRunId::new("run-7").unwrap();
        let request = LoadRequest::new(blueprint(name), seed, run, UnixTime::from_millis(5));
        match self.manager.request(request, at(now)).unwrap() {
            Requested::Pending(id) => id,
            Requested::Ready(_) => panic!("it was in the cache"),
        }
    }

    /// One step.
    pub(crate) fn step(&self, now: u64) -> Vec<Arrival> {
        self.kernels.poll(&self.manager.answers(), 64).unwrap();
        self.manager.poll(at(now))
    }
}

/// Streams in the process, whose clock a test moves.
pub(crate) struct Local {
    pub(crate) clock: ManualClock,
    pub(crate) broker: LocalBroker,
}

impl Local {
    pub(crate) fn new(settings: BusSettings) -> Self {
        let clock = ManualClock::default();
        clock.set_unix(SystemClock::new().unix());
        Self { broker: LocalBroker::new(settings, clock.clone()).unwrap(), clock }
    }

    pub(crate) fn urza(&self, shelf: &Shelf) -> Urza {
        let bus = self.broker.join(Urza::subscription("urza-1")).unwrap();
        Urza::open(bus, shelf.path(), None, UrzaSettings::default(), self.clock.clone()).unwrap()
    }

    pub(crate) fn trainer(&self, shelf: &Shelf) -> Trainer {
        Trainer::new(self.broker.join(OonaKernels::subscription("run-7")).unwrap(), shelf)
    }

    /// Another reader of all kernel streams.
    pub(crate) fn listener(&self) -> LocalBus {
        let streams = [Stream::KernelRequests, Stream::KernelReady, Stream::KernelErrors];
        self.broker.join(Subscription::new("listener", "one", streams)).unwrap()
    }

    pub(crate) fn publish(&self, message: Message) {
        self.broker.publisher().publish(message).unwrap();
    }
}

/// Steps until so many requests have ended.
pub(crate) fn arrivals(count: usize, mut step: impl FnMut() -> Vec<Arrival>) -> Vec<Arrival> {
    let mut arrived = step();
    wait_until("all have arrived", || {
        arrived.extend(step());
        arrived.len() >= count
    });
    assert_eq!(arrived.len(), count);
    arrived
}

/// Waits for what a server or a thread does.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    while !is_so() {
        assert!(clock.monotonic() < Monotonic::ORIGIN.after(SOON), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
