//! Every setting and every default, in one place.

use std::{ffi::OsString, fs, path::Path, path::PathBuf, time::Duration};

use kasmina_blending::BlendConfig;
use kasmina_engine::EngineSettings;
use kasmina_gates::GatePolicy;
use kasmina_kernel_load::{ArtifactLimits, LoadSettings};
use kasmina_safety::{BreakerSettings, CompileMonitorSettings};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::SeedOptimizer;

pub(crate) use memory::MEMORY_PER_WIRE_BYTE;
pub use memory::MemorySettings;

/// The prefix of environment variables that override settings: `KASMINA_SET_TRAINING__SAMPLE_EVERY=5` sets
/// `training.sample_every`.
pub const ENVIRONMENT_PREFIX: &str = "KASMINA_SET_";

/// All settings of Kasmina. Absent keys take the defaults given here; unknown keys are refused.
///
/// ```
/// use kasmina::Settings;
///
/// let settings = Settings::from_toml("[lifecycle]\nembargo_seconds = 5")?
///     .overlay([("KASMINA_SET_TRAINING__SAMPLE_EVERY".into(), "2".into())])?;
/// assert_eq!(settings.lifecycle.embargo_seconds, 5);
/// assert_eq!(settings.training.sample_every, 2);
/// assert!(Settings::from_toml("[lifecycle]\nembargo_secs = 5").is_err());
/// # Ok::<(), kasmina::SettingsError>(())
/// ```
#[allow(missing_docs, reason = "the types' docs say it")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub lifecycle: LifecycleSettings,
    pub commands: CommandSettings,
    pub training: TrainingSettings,
    pub blending: BlendingSettings,
    /// The thresholds of the gates.
    pub gates: GatePolicy,
    /// The breaker that isolation violations open.
    pub isolation_breaker: BreakerSettings,
    /// The breaker that failed kernel loads open. Default, Esper's contract: 3 failures within 60 s.
    pub kernel_breaker: BreakerSettings,
    /// The breaker that grafts open which fail or take too long.
    pub blending_breaker: BreakerSettings,
    /// The breaker that failed flushes of telemetry open.
    pub telemetry_breaker: BreakerSettings,
    pub kernels: KernelSettings,
    pub memory: MemorySettings,
    /// The watch over the first executions of kernels, on devices that fuse operations.
    pub compile_monitor: CompileMonitorSettings,
    pub rollback: RollbackSettings,
    pub telemetry: TelemetrySettings,
}

/// The lifecycle of seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleSettings {
    /// How long a culled seed rests, in seconds of monotonic time. Default 30, Esper's contract.
    pub embargo_seconds: u64,
    /// Whether a GERMINATED seed goes on to TRAINING as soon as its kernel is ready. Default true, Esper's fast path.
    pub fast_path: bool,
    /// Whether FOSSILIZE needs metrics of the live network ([`SeedManager::report_validation`](crate::SeedManager::report_validation))
    /// in addition to the losses of the probes. Default false, because not every trainer validates while it trains.
    pub require_validation: bool,
    /// Who moves seeds on. Default: orders only.
    pub advance: Advance,
}

/// Who moves seeds on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "mode")]
pub enum Advance {
    /// Only orders: commands, orders of the owning process, and a policy that was given to the builder.
    #[default]
    Manual,
    /// After this number of steps in a stage, the seed is put before the next gate, as if ordered. Other orders are still carried
    /// out.
    Automatic {
        /// Steps of TRAINING.
        training_steps: u64,
        /// Steps of BLENDING. If `blending.total_steps` is more, the seed stays until alpha is 1. Default 0, so no step beyond that.
        #[serde(default)]
        blending_steps: u64,
        /// Steps of SHADOWING.
        shadowing_steps: u64,
        /// Steps of PROBATIONARY.
        probationary_steps: u64,
    },
}

/// Commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommandSettings {
    /// If a command's sender had less than this share of its inputs, 0 to 1, the warning `degraded_inputs` is emitted. The command
    /// is obeyed. Default 0.7, our choice: if a third of its inputs is missing, a policy decides on something else than it learned
    /// from.
    pub degraded_below: f64,
}

/// The training step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSettings {
    /// The optimizer that each seed gets of its own. Default: AdamW as Burn has it.
    pub optimizer: SeedOptimizer,
    /// The learning rate of seeds, whatever the host's is; `lr_scale` of GERMINATE multiplies it, and so does
    /// [`scale_learning_rates`](crate::SeedManager::scale_learning_rates), for schedules. Default 0.001, the usual rate of AdamW.
    pub learning_rate: f64,
    /// The learning rate of TRAINING seeds, as a share of that. They follow the host's gradient and never see the effect of their
    /// own output on it, so large steps would overshoot. Default 0.1: of 0.02, 0.05, 0.1, 0.2 and 1, it gave the networks of
    /// `cargo xtask demo` the largest gain. At 1, most of their seeds became unstable in BLENDING.
    pub straight_through_scale: f64,
    /// Gradient norms are read from the device every so many steps, and on a device that queues, blends are timed in these steps. Default 10: a
    /// read costs about as much as all other checks together, and the gates look at windows of steps.
    pub sample_every: u64,
    /// What a seed changes is measured every so many steps, all seeds under trial in turn. Default 2: a probe is two forward passes,
    /// so this adds at most one to a step on average.
    pub probe_every: u64,
    /// Whether the backend's random numbers are seeded before each pass, from `rng_seed`, the step and the pass, so that the passes
    /// of seeds do not change the host's. Default true. Without it, seeds disturb a host with stochastic layers (dropout).
    pub reseed: bool,
    /// The seed of all these random numbers. Default: one number out of the backend's own stream, drawn when the manager first looks
    /// at the host, so runs that seed the backend differently differ.
    pub rng_seed: Option<u64>,
}

/// Blending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BlendingSettings {
    /// Batches from alpha 0 to alpha 1, if the command has no `alpha_total_steps`. Default 1000, our choice: a few epochs of a small
    /// data set.
    pub total_steps: u64,
    /// How [`Advance::Automatic`] blends seeds in: `CONVEX` or `RESIDUAL`, the modes that need no further values. Default `CONVEX`,
    /// Esper's contract for commands without a mode.
    pub mode: AutomaticMode,
    /// The maximum number of entries of `alpha_vec`. Default 64, Esper's contract.
    pub max_alpha_vec: usize,
}

/// How [`Advance::Automatic`] blends seeds in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AutomaticMode {
    /// `(1 - a) h + a s`.
    #[default]
    Convex,
    /// `h + a s`.
    Residual,
}

impl BlendingSettings {
    /// The configuration of automatic blends.
    #[must_use]
    pub fn mode(&self) -> BlendConfig {
        match self.mode {
            AutomaticMode::Convex => BlendConfig::convex(),
            AutomaticMode::Residual => BlendConfig::residual(),
        }
    }
}

/// Kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KernelSettings {
    /// The cache's budget in bytes. Default 256 MiB, our choice: hundreds of kernels of the usual size.
    pub cache_bytes: u64,
    /// How long a kernel stays cached, in seconds. Default 3600, our choice: a kernel's content never changes, so this only limits
    /// memory.
    pub cache_ttl_seconds: u64,
    /// Expired kernels are evicted every so many epochs. Default 5, Esper's contract.
    pub collect_every_epochs: u64,
    /// How long orders given together wait for their kernels, in milliseconds. An order that is answered in time has its seed in
    /// TRAINING, so that runs repeat; later, the kernel arrives with a step, whichever it is. A step never waits, nor the orders of a
    /// policy within it. Default 1000, our choice: a kernel from this process or a disk takes some milliseconds. For a trainer
    /// that must not wait for a library on a network, 0.
    pub wait_ms: u64,
    /// How long a kernel may take to arrive, in milliseconds, before its seed is culled. Default 30,000, our choice: as long as the embargo.
    pub timeout_ms: u64,
    /// The threads that fetch, hash and verify kernels. They start with the first loads. Default 4, our choice: one slow load does not
    /// hold up the next.
    pub threads: usize,
    /// The bytes of artifacts that may be in memory at once while they are loaded. Default 1 GiB, our choice: each thread can read
    /// the largest one.
    pub in_flight_bytes: u64,
    /// The limits on an artifact.
    pub limits: ArtifactLimits,
    /// Whether a kernel runs once on the shape of its slot before it is grafted. Default true, our choice: it costs one forward pass of the
    /// kernel, keeps compilation out of the training step on devices that compile, and finds a kernel that does not run there.
    pub prewarm: bool,
}

/// Checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RollbackSettings {
    /// What is acknowledged is durable at once. What seeds learn in between is written every so many steps. Default 100, our choice: if
    /// the process is killed, seeds lose at most so many batches.
    pub checkpoint_every: u64,
    /// Checkpoints of epochs that are kept in memory. Default 2, our choice: the last one, and the one before it in case the last is
    /// already bad. Each holds the weights of the host, its optimizer and the seeds.
    pub keep_in_memory: usize,
    /// Checkpoints of epochs that are kept in the store. Default 3, our choice. With 0, the store has the
    /// network only as it was when the run began, and when a kernel last joined or left it: a restart needs those.
    pub keep_in_store: usize,
}

/// Telemetry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// The `source_subsystem` of every packet. Default `kasmina`.
    pub source: String,
    /// The maximum number of waiting events of one seed within a step. Default 64, our choice: a step makes a handful.
    pub pending_events: usize,
    /// The maximum number of packets that wait for a failing sink. Critical packets are not limited by it. Default 1000, our choice: a
    /// few hundred steps.
    pub pending_packets: usize,
}

/// Why settings were refused.
#[allow(missing_docs, reason = "the names and messages say it")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    #[error("settings file {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// The text is not valid TOML, a key is unknown, or a value has the wrong type. The message says where.
    #[error("settings: {0}")]
    Malformed(#[from] toml::de::Error),
    /// The variable does not name a setting, or its value does not fit.
    #[error("environment variable {variable}: {cause}")]
    Environment { variable: String, cause: String },
    /// The value is out of range. `demand` says what it must be.
    #[error("{key} = {value}: {demand}")]
    OutOfRange { key: &'static str, value: String, demand: &'static str },
}

impl Settings {
    /// The defaults, with seeds that move on by themselves: 100 batches of TRAINING, 200 of BLENDING (RESIDUAL, alpha is 1 after 100), 100 of
    /// SHADOWING and 100 of PROBATIONARY before each of their gates is asked for the first time. Our choice: a seed does not learn from
    /// SHADOWING on, so it learns at full strength first, and the gates' statistics have their minimum of probes by then.
    #[must_use]
    pub fn automatic() -> Self {
        let mut settings = Self::default();
        settings.lifecycle.advance = Advance::Automatic {
            training_steps: 100,
            blending_steps: 200,
            shadowing_steps: 100,
            probationary_steps: 100,
        };
        (settings.blending.total_steps, settings.blending.mode) = (100, AutomaticMode::Residual);
        settings
    }

    /// Reads settings from TOML text.
    ///
    /// # Errors
    /// [`SettingsError::Malformed`] for text that is not TOML, unknown keys and wrong types; [`SettingsError::OutOfRange`].
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = toml::from_str(text)?;
        settings.check()?;
        Ok(settings)
    }

    /// Reads settings from a TOML file.
    ///
    /// # Errors
    /// [`SettingsError::Unreadable`], and those of [`from_toml`](Self::from_toml).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SettingsError> {
        let path = path.as_ref();
        let text =
            fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        Self::from_toml(&text)
    }

    /// These settings with overrides from environment variables, usually `std::env::vars_os()`. Variables without
    /// [`ENVIRONMENT_PREFIX`] are ignored. A double underscore separates section and key. Values are TOML values; text that is not
    /// TOML counts as a string.
    ///
    /// # Errors
    /// [`SettingsError::Environment`] names the variable of an unknown setting or a wrong type; [`SettingsError::OutOfRange`].
    pub fn overlay(self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, SettingsError> {
        let mut settings = self;
        for (variable, text) in variables {
            // A name that is not UTF-8 does not begin with the prefix, or names no setting.
            let Some(variable) = variable.to_str() else { continue };
            let Some(path) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let refuse = |cause: String| SettingsError::Environment { variable: variable.to_owned(), cause };
            let text = text.to_str().ok_or_else(|| refuse("is not UTF-8".to_owned()))?;
            let mut table = Table::try_from(&settings).map_err(|error| refuse(error.to_string()))?;
            let path = path.to_lowercase();
            set(&mut table, &path, parse_value(text)).map_err(refuse)?;
            settings = table.try_into().map_err(|error: toml::de::Error| refuse(error.message().to_owned()))?;
        }
        settings.check()?;
        Ok(settings)
    }

    /// Checks that every value is in its range. The builder does this too.
    ///
    /// # Errors
    /// [`SettingsError::OutOfRange`] for the first one that is not.
    pub fn check(&self) -> Result<(), SettingsError> {
        let demand = |holds: bool, key, value: &dyn ToString, demand| {
            if holds { Ok(()) } else { Err(SettingsError::OutOfRange { key, value: value.to_string(), demand }) }
        };
        let below = self.commands.degraded_below;
        demand((0.0..=1.0).contains(&below), "commands.degraded_below", &below, "must be in [0, 1]")?;
        let training = &self.training;
        let rate = training.learning_rate;
        demand(rate.is_finite() && rate > 0.0, "training.learning_rate", &rate, "must be finite and above 0")?;
        if let Some((key, value, must)) = training.optimizer.out_of_range() {
            demand(false, key, &value, must)?;
        }
        let scale = training.straight_through_scale;
        let positive = scale.is_finite() && scale > 0.0;
        demand(positive, "training.straight_through_scale", &scale, "must be finite and above 0")?;
        demand(training.sample_every > 0, "training.sample_every", &training.sample_every, "must be at least 1")?;
        demand(training.probe_every > 0, "training.probe_every", &training.probe_every, "must be at least 1")?;
        let epochs = self.kernels.collect_every_epochs;
        demand(epochs > 0, "kernels.collect_every_epochs", &epochs, "must be at least 1")?;
        let memory = &self.memory;
        let sound = memory.governor(self.kernels.cache_bytes).is_sound();
        let shares = format!("{}, {}, {}", memory.resume_below, memory.conserve_at, memory.purge_above);
        demand(memory.total_bytes > 0, "memory.total_bytes", &memory.total_bytes, "must be above 0")?;
        demand(memory.resident_bytes != Some(0), "memory.resident_bytes", &0, "must be above 0")?;
        let (telemetry, least) = (memory.telemetry_bytes, MemorySettings::LEAST_TELEMETRY_BYTES);
        demand(telemetry >= least, "memory.telemetry_bytes", &telemetry, "must be at least 65536, to hold a packet")?;
        let key = "memory.resume_below, conserve_at, purge_above";
        demand(sound, key, &shares, "must be finite, above 0 and in this order")?;
        let executions = self.compile_monitor.executions;
        demand(executions <= 100, "compile_monitor.executions", &executions, "must be at most 100")?;
        let every = self.rollback.checkpoint_every;
        demand(every > 0, "rollback.checkpoint_every", &every, "must be at least 1")?;
        demand(
            self.blending.total_steps > 0,
            "blending.total_steps",
            &self.blending.total_steps,
            "must be at least 1",
        )?;
        Ok(())
    }
}

/// Sets the value at `path`, whose sections are separated by `__`.
fn set(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    match path.split_once("__") {
        None => {
            table.insert(path.to_owned(), value);
            Ok(())
        }
        Some((section, rest)) => match table.get_mut(section) {
            Some(Value::Table(inner)) => set(inner, rest, value),
            Some(_) => Err(format!("{section} is a value, not a section")),
            None => Err(format!("there is no section {section}")),
        },
    }
}

fn parse_value(text: &str) -> Value {
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

impl LifecycleSettings {
    /// The embargo as a duration.
    #[must_use]
    pub const fn embargo(&self) -> Duration {
        Duration::from_secs(self.embargo_seconds)
    }
}

impl Default for Settings {
    fn default() -> Self {
        let blending_breaker =
            BreakerSettings { window: EngineSettings::BLENDING_WINDOW, ..BreakerSettings::default() };
        Self {
            lifecycle: LifecycleSettings::default(),
            commands: CommandSettings::default(),
            training: TrainingSettings::default(),
            blending: BlendingSettings::default(),
            gates: GatePolicy::default(),
            isolation_breaker: BreakerSettings::default(),
            kernel_breaker: BreakerSettings { window: Duration::from_secs(60), ..BreakerSettings::default() },
            blending_breaker,
            telemetry_breaker: BreakerSettings::default(),
            kernels: KernelSettings::default(),
            memory: MemorySettings::default(),
            compile_monitor: CompileMonitorSettings::default(),
            rollback: RollbackSettings::default(),
            telemetry: TelemetrySettings::default(),
        }
    }
}

impl Default for LifecycleSettings {
    fn default() -> Self {
        Self { embargo_seconds: 30, fast_path: true, require_validation: false, advance: Advance::default() }
    }
}

impl Default for CommandSettings {
    fn default() -> Self {
        Self { degraded_below: 0.7 }
    }
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            optimizer: SeedOptimizer::default(),
            learning_rate: 1e-3,
            straight_through_scale: 0.1,
            sample_every: 10,
            probe_every: 2,
            reseed: true,
            rng_seed: None,
        }
    }
}

impl Default for BlendingSettings {
    fn default() -> Self {
        Self { total_steps: 1000, mode: AutomaticMode::Convex, max_alpha_vec: 64 }
    }
}

impl KernelSettings {
    /// What the load manager must know. It has no breaker of its own: the engine's decides, which outlives the process.
    pub(crate) fn loads(&self) -> LoadSettings {
        LoadSettings {
            threads: self.threads,
            in_flight_bytes: self.in_flight_bytes,
            timeout_ms: self.timeout_ms,
            cache_bytes: self.cache_bytes,
            cache_ttl_seconds: self.cache_ttl_seconds,
            breaker: BreakerSettings { failure_threshold: u32::MAX, ..BreakerSettings::default() },
            limits: self.limits,
            ..LoadSettings::default()
        }
    }
}

impl Default for KernelSettings {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            cache_ttl_seconds: 3600,
            collect_every_epochs: 5,
            wait_ms: 1_000,
            timeout_ms: 30_000,
            threads: 4,
            in_flight_bytes: 1 << 30,
            limits: ArtifactLimits::default(),
            prewarm: true,
        }
    }
}

impl Default for RollbackSettings {
    fn default() -> Self {
        Self { checkpoint_every: 100, keep_in_memory: 2, keep_in_store: 3 }
    }
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { source: "kasmina".to_owned(), pending_events: 64, pending_packets: 1000 }
    }
}

mod memory;
#[cfg(test)]
mod tests;
