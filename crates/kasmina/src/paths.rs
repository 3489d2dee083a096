//! Which path each kernel takes: as the device fuses it, or past its fusion.

#[cfg(feature = "doubles")]
use std::collections::BTreeMap;

use kasmina_blending::{BlendBackend, GraftBackend};
use kasmina_engine::State;
use kasmina_isolation::Route;
#[cfg(feature = "doubles")]
use kasmina_isolation::doubles::FusedFault;
use kasmina_leyline::{BlueprintId, Monotonic, SeedId};
use kasmina_safety::{CompileMonitor, CompileMonitorSettings, Execution, KernelPath, PathChange, Watched};

/// The paths of all kernels on one device. On a device that does not fuse there is one path, and nothing is watched.
pub(crate) struct Paths {
    monitor: CompileMonitor,
    /// The kind of device, if it fuses.
    device: Option<String>,
    /// What goes wrong on the fused path.
    #[cfg(feature = "doubles")]
    faults: BTreeMap<BlueprintId, FusedFault>,
}

impl Paths {
    pub(crate) fn new<B: GraftBackend>(settings: CompileMonitorSettings, device: &B::Device) -> Self {
        Self {
            monitor: CompileMonitor::new(settings),
            device: <B as BlendBackend>::is_fused().then(|| B::name(device)),
            #[cfg(feature = "doubles")]
            faults: BTreeMap::new(),
        }
    }

    /// How many executions of the kernel on the fused path are wanted now.
    pub(crate) fn due(&self, blueprint: &BlueprintId, now: Monotonic) -> u32 {
        self.watched(blueprint).map_or(0, |watched| self.monitor.due(&watched, now))
    }

    pub(crate) fn record(
        &mut self,
        blueprint: &BlueprintId,
        execution: Execution,
        now: Monotonic,
    ) -> Option<PathChange> {
        let watched = self.watched(blueprint)?;
        self.monitor.record(&watched, execution, now)
    }

    /// Which path the kernel takes at present.
    pub(crate) fn path(&self, blueprint: &BlueprintId) -> KernelPath {
        self.watched(blueprint).map_or(KernelPath::Fused, |watched| self.monitor.path(&watched))
    }

    /// How the kernel is run at present.
    pub(crate) fn route(&self, blueprint: &BlueprintId) -> Route {
        let path = self.path(blueprint);
        match path {
            KernelPath::Plain => path.into(),
            KernelPath::Fused => self.fused(blueprint),
        }
    }

    /// The fused path, whichever the kernel takes.
    #[cfg(not(feature = "doubles"))]
    pub(crate) fn fused(&self, _: &BlueprintId) -> Route {
        Route::default()
    }

    /// The fused path, whichever the kernel takes, with what goes wrong on it.
    #[cfg(feature = "doubles")]
    pub(crate) fn fused(&self, blueprint: &BlueprintId) -> Route {
        self.faults.get(blueprint).cloned().map_or_else(Route::default, Route::faulty)
    }

    /// The seeds whose kernels do not run as the device runs everything. None, as a rule.
    pub(crate) fn detours(&self, state: &State) -> Vec<(SeedId, Route)> {
        if self.device.is_none() {
            return Vec::new();
        }
        let detour = |seed: &kasmina_engine::Seed| {
            let route = self.route(&seed.stage.graft()?.blueprint);
            route.is_detour().then(|| (seed.id.clone(), route))
        };
        state.seeds.values().filter_map(detour).collect()
    }

    /// The kind of device; empty if it does not fuse.
    pub(crate) fn device(&self) -> &str {
        self.device.as_deref().unwrap_or_default()
    }

    fn watched(&self, blueprint: &BlueprintId) -> Option<Watched> {
        Some(Watched { blueprint: blueprint.clone(), device: self.device.clone()? })
    }
}

#[cfg(feature = "doubles")]
impl Paths {
    /// Takes the device for one that fuses.
    pub(crate) fn declare_fused(&mut self) {
        self.device.get_or_insert_with(|| "declared".to_owned());
    }

    /// Lets something go wrong on the fused path of a kernel from now on, or nothing any more.
    pub(crate) fn inject(&mut self, blueprint: BlueprintId, fault: Option<FusedFault>) {
        match fault {
            Some(fault) => drop(self.faults.insert(blueprint, fault)),
            None => drop(self.faults.remove(&blueprint)),
        }
    }
}
