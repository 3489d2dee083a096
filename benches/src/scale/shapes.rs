//! The costs whose growth is measured.

use std::hint::black_box;

use burn::backend::{Autodiff, Flex};
use kasmina::{
    kernel_load::{
        Initialisation, KernelLoadManager, LoadSettings,
        doubles::{MemoryLibrary, sample_mlp},
    },
    leyline::{BlueprintId, Monotonic, SeedId, TrainingRunId, UnixTime},
    telemetry::{Assembler, Event, Lanes, NullSink, names},
};
use kasmina_measure::{
    Curve,
    Growth::{self, Flat, Linear},
    Side,
};

use super::Shape;
use crate::{
    areas::{commands, engine, journal, loads, recovery, verify},
    hosts::Mlp,
    setting::{Blend, Setting},
    trial::{Stage, twice},
};

type B = Autodiff<Flex>;

const SEEDS: [u64; 4] = [1, 4, 16, 64];

pub(super) fn all(quick: bool) -> Vec<Shape> {
    let to = |sizes: &[u64], largest: u64| sizes.iter().copied().filter(|size| !quick || *size <= largest).collect();
    let shape = |id: &str, title: &str, of: &str, growth: Growth, sizes: Vec<u64>, build: fn(u64) -> Side<'static>| {
        let curve = Curve { id: id.into(), title: title.into(), of: of.into(), growth, points: Vec::new() };
        Shape { curve, sizes, build: Box::new(build) }
    };
    vec![
        shape("seeds/order", "an order of the engine", "seeds", Flat, SEEDS.into(), engine::order_of),
        shape("seeds/step", "a step of the engine", "seeds", Linear, SEEDS.into(), engine::step_of),
        shape("seeds/command", "a durable command", "seeds of 100k", Flat, to(&SEEDS, 16), |seeds| {
            commands::submitting(commands::Run::new(seeds as usize, commands::SMALL, true), 1)
        }),
        shape("seeds/training_step", "a training step", "seeds of 100k in TRAINING", Linear, to(&SEEDS, 16), |seeds| {
            let mut run = commands::Run::new(seeds as usize, commands::SMALL, false);
            Side::repeat(move || run.step())
        }),
        shape(
            "parameters/managed_step",
            "a managed step",
            "parameters of the host",
            Linear,
            to(&PARAMETERS, 1_000_000),
            managed,
        ),
        shape(
            "commands/together",
            "durable commands together",
            "commands",
            Linear,
            vec![16, 64, 256, 1_024],
            |together| commands::submitting(commands::Run::new(1, commands::SMALL, true), together as usize),
        ),
        shape("nonces/verify", "verify a command", "live nonces", Flat, vec![100, 1_000, 10_000, 100_000], |nonces| {
            verify::with_live(nonces as usize)
        }),
        shape(
            "cache/cached",
            "hand over a cached kernel",
            "entries of the cache",
            Flat,
            to(&[10, 100, 1_000, 10_000], 1_000),
            cached,
        ),
        shape(
            "journal/append",
            "a durable command",
            "commands in the store",
            Flat,
            to(&COMMANDS, 10_000),
            |commands| {
                let mut run = commands::Run::new(1, commands::SMALL, true);
                run.obey(commands as usize);
                commands::submitting(run, 1)
            },
        ),
        shape("journal/open", "open and read a journal", "records", Linear, to(&RECORDS, 10_000), |records| {
            let (directory, mut open) = journal::opening(records as usize);
            Side::repeat(move || {
                open();
                // It lives as long as what reads it.
                directory.path().exists()
            })
        }),
        shape(
            "recovery/commands",
            "recover a run",
            "commands in the store",
            Linear,
            to(&COMMANDS, 10_000),
            |commands| {
                let killed = recovery::Killed::after(commands as usize);
                Side::repeat(move || killed.recover())
            },
        ),
        shape("telemetry/flush", "assemble and deliver", "events queued", Linear, vec![16, 64, 256, 1_024], flush),
    ]
}

/// Of multilayer perceptrons with four layers.
const PARAMETERS: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const COMMANDS: [u64; 4] = [100, 1_000, 10_000, 100_000];
const RECORDS: [u64; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];

/// Without seeds.
fn managed(parameters: u64) -> Side<'static> {
    let blend = Blend {
        mode: kasmina::blending::BlendMode::Residual,
        channel: None,
        gate_k: kasmina::blending::BlendConfig::DEFAULT_GATE_K,
        gate_tau: kasmina::blending::BlendConfig::DEFAULT_GATE_TAU,
    };
    let setting = Setting::<B> { device: Default::default(), quick: true, isolation: true, telemetry: true, blend };
    let width = (parameters as f64 / 4.0).sqrt().round() as usize;
    let (_, mut managed) = twice(Mlp::init(width, 4, &setting.device), 0, Stage::Training, &setting);
    Side::repeat(move || managed.step())
}

fn cached(entries: u64) -> Side<'static> {
    let library = MemoryLibrary::new();
    let settings = LoadSettings { cache_bytes: 8 << 30, ..LoadSettings::default() };
    let manager = KernelLoadManager::new(library.clone(), &settings);
    let names: Vec<_> = (0..entries).map(|number| BlueprintId::new(format!("bp-{number}")).expect("an id")).collect();
    for name in &names {
        let manifest = sample_mlp(name.clone(), 8).expect("the layers chain");
        library.add(&manifest, &Initialisation::default()).expect("the manifest is valid");
        loads::load(&manager, name);
    }
    // Names in an order in which no neighbour follows.
    let mut at = 0;
    Side::repeat(move || {
        at = (at + 7_919) % names.len();
        manager.cached(black_box(&names[at]), Monotonic::ORIGIN).expect("it is cached")
    })
}

fn flush(events: u64) -> Side<'static> {
    let run = TrainingRunId::new("bench").expect("an id");
    let mut assembler = Assembler::new("kasmina", run, events as usize);
    let mut lanes = Lanes::new(1_000);
    let seeds: Vec<_> = (0..16).map(|seed| SeedId::new(format!("seed-{seed}")).expect("an id")).collect();
    Side::repeat(move || {
        for (_, seed) in (0..events).zip(seeds.iter().cycle()) {
            assembler.event(Some(seed), Event::new(names::GATE_EVENT).with("gate", "G1"));
        }
        for packet in assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000)) {
            lanes.push(packet);
        }
        lanes.drain(&mut NullSink).delivered.len()
    })
}
