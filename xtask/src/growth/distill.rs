//! `cargo xtask distill`: does a small network learn more with a teacher, and what does that cost?

mod cost;
mod memory;
mod report;
mod student;

use std::path::PathBuf;

use burn::module::{AutodiffModule, Module};
use kasmina::{Grown, SeedManager, Settings, kernel_load::Digest};
use kasmina_distill::{Teacher, TeacherFile};

use super::{
    GrowthError,
    data::{Data, Source},
    examples::Examples,
    hosts::{B, CnnShape, Device, Network, Shape},
    recipe::{HostName, Recipe},
    training::Run,
};
use crate::{failure::Failure, progress::Progress, stopwatch::Stopwatch};
use memory::Strategy;
use report::{Report, Taught};
use student::{Contender, train};

type Inner = <B as burn::tensor::backend::AutodiffBackend>::InnerBackend;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is learned: digits, or mnist:DIR (the four files of MNIST, packed or not)
    #[arg(long, value_name = "DATA")]
    data: Source,
    /// Students of each kind, each from a random seed of its own
    #[arg(long, value_name = "N", default_value_t = 5)]
    seeds: u64,
    /// Epochs of each student
    #[arg(long, value_name = "N", default_value_t = 8)]
    epochs: u64,
    /// Epochs of the teacher
    #[arg(long, value_name = "N", default_value_t = 10)]
    teacher_epochs: u64,
    /// All learn from the first N examples
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    examples: usize,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "out/distill")]
    out: PathBuf,
    /// Measure the cost of a step and the memory alone
    #[arg(long)]
    cost_only: bool,
    /// A process of its own for the peak of its memory
    #[arg(long, value_name = "STRATEGY", hide = true)]
    peak_of: Option<Strategy>,
}

/// What the networks are. The student has the widths of a small network for these images, the teacher twice as many channels.
const STUDENT: [usize; 3] = [8, 14, 20];

fn shape(side: usize, wider: usize) -> Shape {
    Shape::Cnn(CnnShape { side, channels: STUDENT.map(|channels| channels * wider) })
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(strategy) = args.peak_of {
        memory::print_peak(strategy);
        return Ok(());
    }
    let stopwatch = Stopwatch::start();
    std::fs::create_dir_all(&args.out).map_err(Failure::file("create", &args.out))?;
    let mut data = args.data.read().map_err(GrowthError::from)?;
    let Examples::Images(_) = &data.train else {
        return Err(GrowthError::Host { host: HostName::Cnn, data: args.data.clone() }.into());
    };
    data.train.truncate(args.examples);
    let (small, large) = (shape(data.side(), 1), shape(data.side(), 2));
    let recipe = Recipe { shift: 0, ..Recipe::of(&args.data, HostName::Cnn) };
    if data.train.len() < recipe.batch {
        return Err(GrowthError::Batch { examples: data.train.len(), batch: recipe.batch }.into());
    }
    println!(
        "student {} with {} parameters, teacher {} with {}; {} examples in batches of {}",
        small.describe(),
        small.parameters(),
        large.describe(),
        large.parameters(),
        data.train.len(),
        recipe.batch
    );
    let digest = data.digest();
    let mut report = Report::new(&args.data.to_string(), digest, [&small, &large]);

    let lesson = Recipe { epochs: args.teacher_epochs, ..recipe.clone() };
    let trained = if args.cost_only { Recipe { epochs: 1, ..lesson } } else { lesson };
    let (model, score) = taught_by_nobody(&data, &trained, &large)?;
    println!("teacher: test accuracy {:.2} %, {:.0} s", 100.0 * score.accuracy, stopwatch.seconds());
    report.teacher = Some(score);
    let path = args.out.join(format!("{}-teacher.safetensors", args.data));
    model.save(&path).map_err(GrowthError::from)?;

    let load = || teacher(&path, &large);
    if !args.cost_only {
        let recipe = Recipe { epochs: args.epochs, ..recipe.clone() };
        for seed in 0..args.seeds {
            for contender in Contender::ALL {
                let progress = Progress::start(format_args!("{contender} from seed {seed}"));
                let run = Run { data: &data, recipe: &recipe, seed, progress: &progress };
                let (score, seconds) = train(&run, &small, contender, load()?)?;
                progress.print(format_args!(
                    "{contender:<16} seed {seed}: test accuracy {:.2} %, loss {:.4}, {seconds:.0} s",
                    100.0 * score.accuracy,
                    score.loss
                ));
                report.students.push(Taught { contender, seed, score, seconds });
                report.write(&args.out)?;
            }
        }
    }
    report.cost = Some(cost::measure(&data, &recipe, &small, load()?)?);
    report.memory = memory::peaks()?;
    let path = report.write(&args.out)?;
    println!("\n{}\nreport    {}\n{:.0} s", report.table(), path.display(), stopwatch.seconds());
    Ok(())
}

/// A network that learns without a teacher.
fn taught_by_nobody(
    data: &Data,
    recipe: &Recipe,
    shape: &Shape,
) -> Result<(Grown<B, Network<B>>, super::record::Score), GrowthError> {
    const SEED: u64 = 1_000;
    let progress = Progress::start("the teacher");
    let run = Run { data, recipe, seed: SEED, progress: &progress };
    student::alone(&run, shape)
}

/// The teacher out of its file, within the budget of a manager.
fn teacher(path: &std::path::Path, shape: &Shape) -> Result<Teacher<Inner, Grown<Inner, Network<Inner>>>, GrowthError> {
    let device = Device::default();
    let mut manager = SeedManager::<B>::local(Settings::default(), &device)?;
    let file = TeacherFile::inspect(path)?;
    let promised = manager.reserve_teacher(file.bytes_to_load()).map_err(kasmina_distill::DistillError::from)?;
    let teacher = file.load_grown(shape.init(&device).valid(), promised, &device)?;
    debug_assert!(teacher.module().num_params() == shape.parameters());
    Ok(teacher)
}

/// Of what was learned from, for the report.
fn text(digest: Digest) -> String {
    digest.to_string()
}
