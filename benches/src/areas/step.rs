//! A training step, managed, beside the same step of the host alone in plain Burn: without seeds, and with 1, 4 or 16 in TRAINING or BLENDING.

use kasmina::GraftBackend;
use kasmina_measure::{Limit, Row};

use crate::{
    case::Case,
    hosts::{Cnn, Demo, Mlp, Network, Transformer},
    setting::Setting,
    trial::{Stage, twice},
};
use Limit::{None as Nothing, RatioAtMost};
use Stage::{Blending, Training};

/// Seeds, and what they do.
const SEEDS: [(usize, Stage); 7] =
    [(0, Training), (1, Training), (4, Training), (16, Training), (1, Blending), (4, Blending), (16, Blending)];
/// The number of seeds for which hosts of four layers have sixteen, narrower if their parameters are named.
const MANY: usize = 16;
const MILLION: usize = 1_000_000;

pub(crate) fn cases<B: GraftBackend>(setting: &Setting<B>) -> Vec<Case> {
    let mut cases = Vec::new();
    for seeds @ (count, _) in SEEDS {
        let is_many = count == MANY;
        // Width and depth.
        let of = |few: (usize, usize), many: (usize, usize)| if is_many { many } else { few };
        let mut add = |host: Host, case: Case| {
            let is_left_out = match host.size {
                Size::Tiny => count > 1,
                Size::Small => false,
                Size::Medium => is_many && setting.quick,
                Size::Large => setting.quick,
            };
            cases.extend((!is_left_out).then_some(case));
        };
        let demo = demo();
        add(demo.clone(), case(&demo, seeds, setting, |it| Demo::init(&it.device)));
        for (name, size, parameters, (width, depth)) in [
            ("mlp_1m", Size::Medium, MILLION, of((512, 4), (256, 16))),
            ("mlp_10m", Size::Large, 10 * MILLION, of((1_600, 4), (800, 16))),
        ] {
            let host = Host { name, size, parameters, title: format!("MLP, {depth} layers of {width}") };
            add(host.clone(), case(&host, seeds, setting, move |it| Mlp::init(width, depth, &it.device)));
        }
        let (_, depth) = of((0, 4), (0, 16));
        let title = format!("CNN, {depth} layers of 32 channels");
        let host = Host { name: "cnn_40k", size: Size::Medium, parameters: 40_000, title };
        add(host.clone(), case(&host, seeds, setting, move |it| Cnn::init(depth, &it.device)));
        for (name, size, parameters, (width, depth)) in [
            ("transformer_115k", Size::Small, 115_000, of((48, 4), (48, 16))),
            ("transformer_1m", Size::Medium, MILLION, of((144, 4), (72, 16))),
            ("transformer_10m", Size::Large, 10 * MILLION, of((456, 4), (228, 16))),
        ] {
            let host = Host { name, size, parameters, title: format!("transformer, {depth} blocks of {width}") };
            add(host.clone(), case(&host, seeds, setting, move |it| Transformer::init(width, depth, &it.device)));
        }
    }
    cases.push(silent(setting));
    cases.extend(late(setting));
    cases.extend(isolation(setting));
    cases
}

fn demo() -> Host {
    Host { name: "mlp_demo", size: Size::Tiny, parameters: 460, title: "the demo's MLP, 64-6-10".to_owned() }
}

/// The smallest host without seeds, whose telemetry nobody takes: the difference to its row `managed` is telemetry.
fn silent<B: GraftBackend>(setting: &Setting<B>) -> Case {
    let row = Row::new("step/mlp_demo/managed_silent", format!("{}, without seeds and sinks", demo().title));
    let silent = Setting { telemetry: false, ..setting.clone() };
    measured(row.beside(ALONE), (0, Training), &silent, |it| Demo::init(&it.device))
}

/// One seed of 6 % of its host, behind the last layer but one.
fn late<B: GraftBackend>(setting: &Setting<B>) -> [Case; 3] {
    [
        ("training_1", "a seed in TRAINING", Training, true, 1.15, 1.1),
        ("blending_1_lazy", "a seed in BLENDING, activation as a closure", Blending, true, 1.2, 1.1),
        ("blending_1_eager", "a seed in BLENDING, activation as it is", Blending, false, 1.5, 1.4),
    ]
    .map(|(name, title, stage, lazy, budget, aim)| {
        let row =
            Row::new(format!("step/mlp_1m_late/{name}"), format!("MLP, 4 layers of 512, behind the third {title}"));
        let row = row.beside(ALONE).budget(RatioAtMost(budget)).aim(RatioAtMost(aim));
        measured(row, (1, stage), setting, move |it: &Setting<B>| {
            let host = Mlp::init(512, 4, &it.device).with_slot_behind(3);
            if lazy { host } else { host.eager() }
        })
    })
}

/// What of a step its isolation checks are, with 1 and with 16 seeds.
fn isolation<B: GraftBackend>(setting: &Setting<B>) -> Vec<Case> {
    let row = |seeds: usize, stage: &str| {
        let row = Row::new(
            format!("isolation/{}_{seeds}", stage.to_lowercase()),
            format!("isolation checks, {seeds} in {stage}"),
        );
        row.beside("their step of a transformer of 16 blocks of 48").budget(RatioAtMost(0.01))
    };
    let stages = [(1, Training), (16, Training), (1, Blending), (16, Blending)];
    let case = |(seeds, stage)| {
        let row = row(seeds, if stage == Training { "TRAINING" } else { "BLENDING" });
        let setting = setting.clone();
        Case::new(row, move |meter| {
            let (_, mut managed) = twice(Transformer::init(48, 16, &setting.device), seeds, stage, &setting);
            let samples = meter.slow().joint(|| {
                let [step, checks] = managed.timed_step();
                [checks, step]
            });
            managed.assert_measured();
            samples
        })
    };
    stages.map(case).into()
}

/// What a host's rows are named after.
#[derive(Clone)]
struct Host {
    name: &'static str,
    size: Size,
    /// About so many.
    parameters: usize,
    title: String,
}

/// How much of a run a host takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    /// With one slot.
    Tiny,
    Small,
    /// With sixteen seeds too large for a quick run.
    Medium,
    /// Too large for a quick run.
    Large,
}

const ALONE: &str = "the host alone in plain Burn";

fn case<B: GraftBackend, H: Network<B>>(
    host: &Host,
    (seeds, stage): (usize, Stage),
    setting: &Setting<B>,
    build: impl FnOnce(&Setting<B>) -> H + 'static,
) -> Case {
    let stage_name = if stage == Training { "TRAINING" } else { "BLENDING" };
    let (id, with) = match seeds {
        0 => ("managed".to_owned(), "without seeds".to_owned()),
        1 => (format!("{}_1", stage_name.to_lowercase()), format!("1 seed in {stage_name}")),
        _ => (format!("{}_{seeds}", stage_name.to_lowercase()), format!("{seeds} seeds in {stage_name}")),
    };
    let (budget, aim) = limits(host, seeds, stage);
    let row = Row::new(format!("step/{}/{id}", host.name), format!("{}, {with}", host.title));
    measured(row.beside(ALONE).budget(budget).aim(aim), (seeds, stage), setting, build)
}

fn measured<B: GraftBackend, H: Network<B>>(
    row: Row,
    (seeds, stage): (usize, Stage),
    setting: &Setting<B>,
    build: impl FnOnce(&Setting<B>) -> H + 'static,
) -> Case {
    let setting = setting.clone();
    Case::new(row, move |meter| {
        let (mut alone, mut managed) = twice(build(&setting), seeds, stage, &setting);
        let samples = meter.slow().pair(managed.side(), alone.side());
        managed.assert_measured();
        samples
    })
}

/// Budget and aim. Those of the smallest host hold for no seed: a seed has more parameters than it.
fn limits(host: &Host, seeds: usize, stage: Stage) -> (Limit, Limit) {
    let has_million = host.parameters >= MILLION;
    let (budget, aim) = match (host.size, seeds, stage) {
        (Size::Tiny, 0, _) => (1.1, 1.0),
        (Size::Tiny, ..) => return (Nothing, Nothing),
        (_, 0, _) if has_million => (1.02, 1.0),
        (_, 0, _) => (1.1, 1.05),
        (_, 1, Training) => (1.2, 1.09),
        (_, _, Training) => (1.4, 1.3),
        (_, 1, Blending) => (2.0, 1.43),
        (_, _, Blending) => (2.2, 1.9),
    };
    (RatioAtMost(budget), RatioAtMost(aim))
}
