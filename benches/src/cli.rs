//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kasmina::blending::{BlendConfig, BlendMode};

use crate::setting::Blend;

/// Measures what Kasmina promises, beside yardsticks that run in turns with it.
///
/// Exits with 0 when every budget is kept, 1 when one is broken or a row could not be measured, 2 when it was called wrongly. A row whose
/// budget lies within the noise is `noisy`, which is no failure unless --strict was given.
#[derive(Parser)]
#[command(name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) table: TableArgs,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Measure how costs grow with seeds, parameters, commands, nonces, kernels, records and events
    Scale(ScaleArgs),
}

#[derive(Args)]
pub(crate) struct TableArgs {
    /// Take fewer samples, and leave the largest sizes out: below 3 minutes on two cores
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure only rows whose id has this text in it; can be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Vec<String>,
    /// Print the ids and titles of all rows, and measure nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Write all numbers and the machine to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Compare with what an earlier run has written by --json
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Exit with 1 also if a row is too noisy to judge, or slower than in the baseline beyond the noise of both
    #[arg(long)]
    pub(crate) strict: bool,
    /// Draw all rows that have a budget, as shares of it
    #[arg(long, value_name = "FILE.png")]
    pub(crate) picture: Option<PathBuf>,
    /// Write all numbers as Leyline telemetry, one packet a line, with an event for each broken budget
    #[arg(long, value_name = "FILE")]
    pub(crate) telemetry: Option<PathBuf>,
    /// Where tensors live; `vulkan` and `cuda` need the feature of the same name
    #[arg(long, value_enum, default_value_t = Device::Flex)]
    pub(crate) device: Device,
    /// Whether a managed step counts with its isolation checks. They cannot be turned off: `off` takes their time out of the step's
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) isolation: Switch,
    #[command(flatten)]
    pub(crate) blend: BlendArgs,
}

#[derive(Args)]
pub(crate) struct BlendArgs {
    /// How the BLENDING seeds of the step rows are blended in; the rows of `blend/` measure every mode
    #[arg(long, value_enum, default_value_t = Mode::Residual)]
    blend_mode: Mode,
    /// Every channel's factor in CHANNEL, 0 to 1; without it they rise from 0 to 1
    #[arg(long, value_name = "FACTOR", value_parser = unit)]
    alpha_c: Option<f32>,
    /// How steep CONFIDENCE's gate is, per unit of logit
    #[arg(long, value_name = "K", default_value_t = BlendConfig::DEFAULT_GATE_K, value_parser = not_negative)]
    gate_k: f32,
    /// The margin of logits at which CONFIDENCE's gate is half open
    #[arg(long, value_name = "TAU", default_value_t = BlendConfig::DEFAULT_GATE_TAU, value_parser = not_negative)]
    gate_tau: f32,
}

#[derive(Args)]
pub(crate) struct ScaleArgs {
    /// Leave the largest sizes out, such as journals of 1,000,000 records
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure only curves whose id has this text in it; can be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Vec<String>,
    /// Write all curves and the machine to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the curves
    #[arg(long, value_name = "FILE.png")]
    pub(crate) picture: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// The CPU
    Flex,
    /// A GPU, by its Vulkan driver
    Vulkan,
    /// An NVIDIA GPU
    Cuda,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Convex,
    Residual,
    Channel,
    Confidence,
}

impl BlendArgs {
    pub(crate) fn blend(&self) -> Blend {
        let mode = match self.blend_mode {
            Mode::Convex => BlendMode::Convex,
            Mode::Residual => BlendMode::Residual,
            Mode::Channel => BlendMode::Channel,
            Mode::Confidence => BlendMode::Confidence,
        };
        Blend { mode, channel: self.alpha_c, gate_k: self.gate_k, gate_tau: self.gate_tau }
    }
}

impl TableArgs {
    /// The options that change what is measured, for the report.
    pub(crate) fn options(&self) -> Vec<(String, String)> {
        let BlendArgs { blend_mode, alpha_c, gate_k, gate_tau } = &self.blend;
        let alpha_c = alpha_c.map_or_else(|| "rising".to_owned(), |factor| factor.to_string());
        [
            ("isolation", format!("{:?}", self.isolation).to_lowercase()),
            ("blend_mode", format!("{blend_mode:?}").to_lowercase()),
            ("alpha_c", alpha_c),
            ("gate_k", gate_k.to_string()),
            ("gate_tau", gate_tau.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

fn unit(text: &str) -> Result<f32, String> {
    number(text).filter(|number| (0.0..=1.0).contains(number)).ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

fn not_negative(text: &str) -> Result<f32, String> {
    number(text).filter(|number| *number >= 0.0).ok_or_else(|| "must be a number that is not negative".to_owned())
}

fn number(text: &str) -> Option<f32> {
    text.parse().ok().filter(|number: &f32| number.is_finite())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["bench"], args].concat());
        assert!(parse(&["--alpha-c", "0.5", "--gate-k", "2", "--quick"]).is_ok());
        for args in [["--alpha-c", "1.5"], ["--gate-k", "-1"], ["--gate-tau", "nan"], ["--blend-mode", "additive"]] {
            assert!(parse(&args).is_err(), "{args:?}");
        }
    }
}
