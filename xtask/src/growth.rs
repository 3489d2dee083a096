//! `cargo xtask growth`: does it pay to grow a network, or is it better to train the bigger one from the start?

mod addition;
mod data;
pub(crate) mod distill;
mod examples;
mod gardener;
mod hosts;
mod idx;
mod labels;
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
use recipe::{HostName, Recipe, RecipeError};
use record::{Contender, Record};
use report::{Conditions, HostReport, Kept, OtherRuns};
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
    /// Where the report and the pictures go. Runs that are in the report are not done again; a report of other settings or other data is
    /// left alone, and the command fails
    #[arg(long, value_name = "DIR", default_value = "out/growth")]
    out: PathBuf,
    /// Which networks; all that can learn the data if absent
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    hosts: Vec<HostName>,
    /// At most some 400 steps, for a first look: a seed can just grow. Fewer epochs, and fewer examples if one epoch has more steps
    #[arg(long)]
    quick: bool,
    /// Draw the pictures of the report in --out again, and train nothing
    #[arg(long)]
    redraw: bool,
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
    Recipe(#[from] RecipeError),
    #[error("{path}: {error}")]
    RecipeFile { path: PathBuf, error: RecipeError },
    #[error(transparent)]
    OtherRuns(#[from] OtherRuns),
    #[error("{path} has no runs to draw")]
    Nothing { path: PathBuf },
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
    Teacher(#[from] kasmina_distill::DistillError),
    #[error(transparent)]
    Name(#[from] InvalidId),
}

/// What is asked for of one host.
struct Task {
    host: HostName,
    shape: Shape,
    conditions: Conditions,
    data: Data,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let stopwatch = Stopwatch::start();
    fs::create_dir_all(&args.out).map_err(Failure::file("create", &args.out))?;
    let mut kept = Kept::open(args.out.join(format!("{}.json", args.data)), &args.data.to_string())?;
    if args.redraw {
        return redraw(args, &kept);
    }
    let able = HostName::of(&args.data);
    let hosts = if args.hosts.is_empty() { able } else { &args.hosts };
    // All that can be refused is refused before anything is trained.
    let tasks = hosts.iter().map(|host| args.task(*host)).collect::<Result<Vec<_>, _>>()?;
    for task in &tasks {
        kept.host(&task.host.to_string(), &task.conditions).map_err(GrowthError::from)?;
    }
    for task in &tasks {
        println!(
            "{} examples to learn from, {} to validate on, {} to test with; {} steps",
            task.data.train.len(),
            task.data.validation.len(),
            task.data.test.len(),
            task.conditions.recipe.steps(task.data.train.len())
        );
        compare(task, args, &mut kept)?;
    }
    println!("report    {}\n{:.0} s", kept.path().display(), stopwatch.seconds());
    Ok(())
}

fn redraw(args: &Args, kept: &Kept) -> Result<(), Failure> {
    let hosts: Vec<&HostReport> = kept.report.hosts.iter().filter(|host| !host.records.is_empty()).collect();
    for host in &hosts {
        println!("picture   {}", args.draw(host)?.display());
    }
    if hosts.is_empty() { Err(GrowthError::Nothing { path: kept.path().to_owned() }.into()) } else { Ok(()) }
}

impl Args {
    fn task(&self, host: HostName) -> Result<Task, GrowthError> {
        if !HostName::of(&self.data).contains(&host) {
            return Err(GrowthError::Host { host, data: self.data.clone() });
        }
        let mut data = self.data.read()?;
        let digest = data.digest();
        let recipe = self.recipe(host, data.train.len())?;
        if recipe.examples > 0 {
            data.train.truncate(recipe.examples);
        }
        let (examples, batch) = (data.train.len(), recipe.batch);
        if examples < batch {
            return Err(GrowthError::Batch { examples, batch });
        }
        let shape = shape(host, &self.data, &data);
        Ok(Task { host, shape, conditions: Conditions { recipe, data: digest, network: shape.describe() }, data })
    }

    /// The settings for data that has so many examples to learn from.
    fn recipe(&self, host: HostName, examples: usize) -> Result<Recipe, GrowthError> {
        let recipe = Recipe::of(&self.data, host);
        let recipe = self.recipe.as_ref().map_or(Ok(recipe.clone()), |path| {
            let failed = |error| GrowthError::RecipeFile { path: path.clone(), error };
            let text = fs::read_to_string(path).map_err(|error| failed(RecipeError::Read(error)))?;
            recipe.with(&text).map_err(failed)
        })?;
        let recipe = Recipe {
            epochs: self.epochs.unwrap_or(recipe.epochs),
            examples: self.examples.unwrap_or(recipe.examples),
            learning_rate: self.learning_rate.unwrap_or(recipe.learning_rate),
            parameters: self.parameters.unwrap_or(recipe.parameters),
            test: !self.no_test,
            ..recipe
        }
        .checked()?;
        Ok(if self.quick { recipe.quick(examples) } else { recipe })
    }

    /// Draws the contenders of one host, and says where.
    fn draw(&self, report: &HostReport) -> Result<PathBuf, Failure> {
        let path = self.out.join(format!("{}-{}.png", self.data, report.host));
        let title = format!("{}: {}", self.data, report.network());
        let images = matches!(self.data, Source::Digits | Source::Mnist(_));
        picture::draw(&title, report, images, &path)?;
        Ok(path)
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
fn compare(task: &Task, args: &Args, kept: &mut Kept) -> Result<(), Failure> {
    let Task { host, shape, conditions, data } = task;
    println!("\n{} with {} parameters", conditions.network, shape.parameters());
    let name = host.to_string();
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        for contender in Contender::ALL {
            let done = kept.host(&name, conditions).map_err(GrowthError::from)?;
            if done.find(contender, seed).is_some() {
                println!("{contender:<14} seed {seed}: is in the report");
                continue;
            }
            let grown = done.find(Contender::Grown, seed).cloned();
            let progress = Progress::start(format_args!("{contender} from seed {seed}"));
            let run = Run { data, recipe: &conditions.recipe, seed, progress: &progress };
            let record = run.contend(contender, shape, grown.as_ref())?;
            progress.print(said(&record));
            kept.host(&name, conditions).map_err(GrowthError::from)?.add(record);
            kept.write()?;
        }
    }
    let report = kept.host(&name, conditions).map_err(GrowthError::from)?;
    println!("\n{}picture   {}", report.table(), args.draw(report)?.display());
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
    let millions = *parameter_steps as f64 / 1e6;
    let end = match test.map(|test| ("test", test)).or_else(|| validation.map(|score| ("validation", score))) {
        Some((part, score)) => format!("{part} loss {:.4}, accuracy {:.2} %", score.loss, 100.0 * score.accuracy),
        None => format!("diverged after {} steps", record.steps),
    };
    format!(
        "{contender:<14} seed {seed}: {parameters} parameters, {} fossils, {millions:.2} M parameter-steps, {seconds:.1} s, {end}",
        fossils.len(),
    )
}

/// The backend's random numbers belong to the process: tests that draw parameters take turns.
#[cfg(test)]
fn take_turns() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
