//! Test doubles: a world to grow seeds in, a manager that grows nothing, and what every manager has to do.
//!
//! ```
//! use kasmina::{
//!     Settings,
//!     doubles::{Act::*, Mlp, Trainee, World},
//!     gates::doubles::AllowAll,
//!     leyline::v1::SeedLifecycleStage::SeedStageFossilized,
//! };
//!
//! let mut world = World::build(Settings::default(), |builder| {
//!     builder.gatekeepers(AllowAll).volatile().build(&Default::default()).expect("the defaults make sense")
//! });
//! let mut trainee = Trainee::new(Mlp::init());
//! world.attach(&trainee.model);
//! world.live(&mut trainee, 40, &[(1, Germinate), (11, Graft(10)), (22, Stabilize), (30, Evaluate), (38, Fossilize)]);
//! assert_eq!(world.stage("seed-1"), SeedStageFossilized);
//! ```
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod act;
pub mod conformance;
mod fake;
mod hosts;
mod stock;
mod world;

pub use act::{Act, Cue};
pub use fake::{FakeHandle, FakeManager};
pub use hosts::{
    B, Cnn, Host, Mlp, Noisy, RATE, Seat, Stack, batch, bytes, control_step, determined, loss, model_of, optimizer,
    spoilt, twin,
};
pub use stock::{blueprint, seed, slot, stock};
pub use world::{SECRET, Trainee, World, lenient, sender};

use kasmina_blending::GraftBackend;
pub use kasmina_isolation::doubles::FusedFault;
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::{BlueprintId, SeedId};

use crate::manager::SeedManager;

impl<B: GraftBackend> SeedManager<B> {
    /// Replaces the kernel of a grafted seed behind the registry's back. Returns whether it had one.
    pub fn tamper(&mut self, seed: &SeedId, replace: impl FnOnce(KernelModule<B>) -> KernelModule<B>) -> bool {
        self.tensors_mut().tamper(seed, replace)
    }

    /// Says that a substitute runs instead of a grafted seed's kernel, as the gates will be shown. `false` if it has none.
    pub fn mark_as_fallback(&mut self, seed: &SeedId) -> bool {
        self.tensors_mut().mark_as_fallback(seed)
    }

    /// Takes the device for one that fuses operations, whatever it is, so that kernels are watched.
    pub fn declare_fused(&mut self) {
        self.tensors_mut().paths_mut().declare_fused();
    }

    /// Lets something go wrong on the fused path of a kernel from now on, or nothing any more.
    pub fn inject(&mut self, blueprint: BlueprintId, fault: Option<FusedFault>) {
        self.tensors_mut().paths_mut().inject(blueprint, fault);
    }

    /// The kernel of a grafted seed, to look at. Copies handles, no weights.
    #[must_use]
    pub fn kernel(&self, seed: &SeedId) -> Option<KernelModule<B>> {
        self.tensors().kernel(seed)
    }
}
