//! `cargo xtask demo`: networks that are too small for what they are to learn grow a seed each, beside the same networks
//! that never had one.

mod growth;
mod hosts;
mod picture;
mod plan;
mod processes;
mod report;
mod task;
mod workers;

use std::{fs, path::PathBuf};

pub(crate) use processes::{PartArgs, part};
pub(crate) use workers::{WorkerArgs, worker};

use kasmina_watch::{Follower, Server};

use crate::{
    demo::{
        growth::{Images, Run},
        hosts::{Cnn, Mlp},
        plan::{HostName, Plan, VALIDATION},
        report::{HostReport, Report},
    },
    digits::Digits,
    failure::Failure,
    progress::Progress,
    stopwatch::Stopwatch,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// One network instead of five of each kind: for a first look, and for CI
    #[arg(long)]
    quick: bool,
    /// The first network starts from this random seed, the next from the one after it
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Where report.json, the pictures and the telemetry go
    #[arg(long, value_name = "DIR", default_value = "out/demo")]
    out: PathBuf,
    /// Which networks
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = ["mlp", "cnn"])]
    hosts: Vec<HostName>,
    /// Grow the MLP in four processes over Redis instead, kill each of them once, and compare with the run in one process. `redis` starts
    /// a server of its own (redis-server has to be installed); an address, redis://HOST:PORT, uses that one
    #[arg(long, value_name = "redis|ADDRESS", conflicts_with_all = ["quick", "hosts"])]
    bus: Option<String>,
    /// Train the MLP in so many processes instead, each on its share of every batch: they meet at a Redis server, of the demo's own or of
    /// --bus. One is killed and comes back, and all end with the same bytes
    #[arg(long, value_name = "N", conflicts_with_all = ["quick", "hosts"], value_parser = clap::value_parser!(u16).range(2..=32))]
    workers: Option<u16>,
    /// Show it on a page in the browser while it happens, and afterwards until Ctrl-C; the address is printed
    #[arg(long, conflicts_with = "bus")]
    watch: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if !args.watch {
        return grow_all(args);
    }
    let server = Server::start(Follower::new(&args.out), 0)?;
    let address = server.address();
    println!("watch it at http://{address}/\n");
    grow_all(args)?;
    println!("\nhttp://{address}/ shows it until Ctrl-C");
    server.wait();
    Ok(())
}

fn grow_all(args: &Args) -> Result<(), Failure> {
    if let Some(workers) = args.workers {
        let bus = args.bus.as_deref().unwrap_or("redis");
        return workers::run(workers.into(), bus, args.seed, &args.out);
    }
    if let Some(bus) = &args.bus {
        return processes::run(bus, args.seed, &args.out);
    }
    let stopwatch = Stopwatch::start();
    let digits = Digits::read()?;
    let (train, test) = digits.split();
    let (train, validation) = train.hold_out(VALIDATION);
    let images = Images { train, validation, test };
    let Images { train, validation, test } = &images;
    let [train, validation, test] = [train, validation, test].map(|split| split.labels.len());
    println!("{train} digits to learn from, {validation} to show to the gates, {test} to be judged by");
    fs::create_dir_all(&args.out).map_err(Failure::file("create", &args.out))?;
    let seeds: Vec<u64> = (args.seed..).take(if args.quick { 1 } else { 5 }).collect();
    let mut hosts = Vec::new();
    for name in &args.hosts {
        hosts.push(grow(*name, &seeds, args, &images)?);
    }
    let report = Report { seeds, train, validation, test, hosts };
    let path = args.out.join("report.json");
    let text =
        serde_json::to_string_pretty(&report).map_err(|source| Failure::Json { what: "the report".into(), source })?;
    fs::write(&path, text).map_err(Failure::file("write", &path))?;
    println!("\n{}\nreport    {}\n{:.0} s", report.table(), path.display(), stopwatch.seconds());
    report.problem().map_or(Ok(()), |problem| Err(Failure::Demo(problem)))
}

fn grow(name: HostName, seeds: &[u64], args: &Args, images: &Images) -> Result<HostReport, Failure> {
    let plan = Plan::of(name);
    println!("\n{}", plan.title);
    let mut runs: Vec<Run> = Vec::new();
    for seed in seeds {
        let progress = Progress::start(format_args!("{name} from seed {seed}"));
        let directory = args.out.join(format!("{name}-{seed}"));
        let run = match name {
            HostName::Mlp => growth::run(&plan, Mlp::init, *seed, images, &directory, &progress),
            HostName::Cnn => growth::run(&plan, Cnn::init, *seed, images, &directory, &progress),
        };
        runs.push(run.map_err(|cause| Failure::Demo(cause.to_string()))?);
    }
    let report = HostReport::of(&plan, runs, task::steps_per_epoch(&images.train));
    let path = args.out.join(format!("{name}.png"));
    picture::draw(&report.story(&plan), &path)?;
    println!("picture   {}", path.display());
    Ok(report)
}
