//! `cargo xtask growth`: does it pay to grow a network, or is it better to train the bigger one from the start?

mod addition;
mod data;
mod examples;
mod gardener;
mod hosts;
mod idx;
mod picture;
mod policy;
mod recipe;
mod record;
mod report;
mod text;
mod training;

use std::{fs, path::PathBuf};

use kasmina::{
    BuildError, ModelError, Refusal, SettingsError, StepError,
    grown::{ForwardError, GrownError},
    kernel_load::{ArtifactError, ManifestError},
    leyline::InvalidId,
};

use crate::{failure::Failure, progress::Progress, stopwatch::Stopwatch};
use data::{Data, DataError, Source};
use hosts::{CnnShape, MlpShape, Shape, TransformerShape, widest};
use recipe::{HostName, Recipe};
use record::{Contender, Record};
use report::Kept;
use training::Run;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is learned: digits, mnist:DIR (the four files of MNIST, packed or not), addition, or text:FILE
    #[arg(long, value_name = "DATA")]
    data: Source,
    /// Runs of each contender, each from a random seed of its own
    #[arg(long, value_name = "N", default_value_t = 5)]
    seeds: u64,
    /// The first random seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where the report and the pictures go. Runs that are in the report with the same settings are not done again
    #[arg(long, value_name = "DIR", default_value = "out/growth")]
    out: PathBuf,
    /// Which networks; all that can learn the data if absent
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    hosts: Vec<HostName>,
    /// A tenth of the training: for a first look
    #[arg(long)]
    quick: bool,
    /// A JSON file with some of the settings that a report shows as `recipe`, in place of the built-in ones
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Learn from the first N examples only
    #[arg(long, value_name = "N")]
    examples: Option<usize>,
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// The most parameters of the grown network
    #[arg(long, value_name = "N")]
    parameters: Option<u64>,
    /// Leave the test part alone, and judge by the validation part: to choose settings
    #[arg(long)]
    no_test: bool,
}

/// Why growth could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrowthError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("{host} cannot learn {data}")]
    Host { host: HostName, data: Source },
    #[error("{examples} examples do not fill a batch of {batch}")]
    Batch { examples: usize, batch: usize },
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Step(#[from] StepError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Settle(#[from] kasmina::CheckpointError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error(transparent)]
    Grown(#[from] GrownError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Name(#[from] InvalidId),
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let stopwatch = Stopwatch::start();
    fs::create_dir_all(&args.out).map_err(Failure::file("create", &args.out))?;
    let mut kept = Kept::open(args.out.join(format!("{}.json", args.data)), &args.data.to_string())?;
    let able = HostName::of(&args.data);
    for host in if args.hosts.is_empty() { able } else { &args.hosts } {
        if !able.contains(host) {
            return Err(GrowthError::Host { host: *host, data: args.data.clone() }.into());
        }
        let recipe = args.recipe(*host)?;
        let mut data = args.data.read().map_err(GrowthError::from)?;
        if recipe.examples > 0 {
            data.train.truncate(recipe.examples);
        }
        let (examples, batch) = (data.train.len(), recipe.batch);
        if examples < batch {
            return Err(GrowthError::Batch { examples, batch }.into());
        }
        println!(
            "{examples} examples to learn from, {} to validate on, {} to test with; {} steps",
            data.validation.len(),
            data.test.len(),
            recipe.steps(examples)
        );
        compare(*host, &shape(*host, &args.data, &data), &recipe, args, &data, &mut kept)?;
    }
    println!("report    {}\n{:.0} s", kept.path().display(), stopwatch.seconds());
    Ok(())
}

impl Args {
    fn recipe(&self, host: HostName) -> Result<Recipe, Failure> {
        let recipe = Recipe::of(&self.data, host);
        let recipe = if self.quick { recipe.quick() } else { recipe };
        let recipe = self.recipe.as_ref().map_or(Ok(recipe.clone()), |path| {
            let text = fs::read_to_string(path).map_err(Failure::file("read", path))?;
            let what = path.display().to_string();
            recipe.with(&text).map_err(|source| Failure::Json { what, source })
        })?;
        Ok(Recipe {
            epochs: self.epochs.unwrap_or(recipe.epochs),
            examples: self.examples.unwrap_or(recipe.examples),
            learning_rate: self.learning_rate.unwrap_or(recipe.learning_rate),
            parameters: self.parameters.unwrap_or(recipe.parameters),
            test: !self.no_test,
            ..recipe
        })
    }
}

/// The small network that is to learn the data.
fn shape(host: HostName, source: &Source, data: &Data) -> Shape {
    match host {
        HostName::Mlp => Shape::Mlp(MlpShape::digits()),
        HostName::Cnn => Shape::Cnn(CnnShape::of(data.side())),
        HostName::Transformer => {
            let (length, asked_from) = data.sequences().map_or((0, 0), |it| (it.length, it.asked_from));
            let width = if *source == Source::Addition { 12 } else { 16 };
            Shape::Transformer(TransformerShape::new(data.classes, length, asked_from, width))
        }
    }
}

/// Runs the four contenders from each seed, and writes the report after each of them.
fn compare(
    host: HostName,
    shape: &Shape,
    recipe: &Recipe,
    args: &Args,
    data: &Data,
    kept: &mut Kept,
) -> Result<(), Failure> {
    println!("\n{} with {} parameters", shape.describe(), shape.parameters());
    let name = host.to_string();
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        for contender in Contender::ALL {
            let done = kept.host(&name, recipe);
            if done.find(contender, seed).is_some() {
                println!("{contender:<14} seed {seed}: is in the report");
                continue;
            }
            let grown = done.find(Contender::Grown, seed).cloned();
            let progress = Progress::start(format_args!("{contender} from seed {seed}"));
            let record = Run { data, recipe, seed, progress: &progress }.contend(contender, shape, grown.as_ref())?;
            progress.print(said(&record));
            kept.host(&name, recipe).add(record);
            kept.write()?;
        }
    }
    let report = kept.host(&name, recipe);
    let path = args.out.join(format!("{}-{host}.png", args.data));
    let title = format!("{}: {}", args.data, shape.describe());
    picture::draw(&title, report, data.sequences().is_none(), &path)?;
    println!("\n{}picture   {}", report.table(), path.display());
    Ok(())
}

impl Run<'_> {
    /// One run. `grown` is what grew from the same seed.
    fn contend(&self, contender: Contender, shape: &Shape, grown: Option<&Record>) -> Result<Record, GrowthError> {
        let fossils = grown.map_or(&[][..], |grown| &grown.fossils);
        match contender {
            Contender::Control => self.alone(contender, shape, &[]),
            Contender::Grown => self.grown(shape),
            Contender::ScratchSame => self.alone(contender, shape, fossils),
            Contender::ScratchWide => {
                let parameters = grown.map_or(0, |grown| grown.parameters);
                self.alone(contender, &widest(shape, parameters as usize), &[])
            }
        }
    }
}

/// One line on a run.
fn said(record: &Record) -> String {
    let Record { contender, seed, parameters, seconds, parameter_steps, validation, test, fossils, .. } = record;
    let (part, score) = test.map_or(("validation", *validation), |test| ("test", test));
    let millions = *parameter_steps as f64 / 1e6;
    format!(
        "{contender:<14} seed {seed}: {parameters} parameters, {} fossils, {millions:.2} M parameter-steps, {seconds:.1} s, {part} loss {:.4}, \
         accuracy {:.2} %",
        fossils.len(),
        score.loss,
        100.0 * score.accuracy
    )
}

/// The backend's random numbers belong to the process: tests that draw parameters take turns.
#[cfg(test)]
fn take_turns() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
