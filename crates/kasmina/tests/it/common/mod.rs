//! What the tests need beside the doubles.

use std::{env, process::Command};

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Tensor, backend::Backend},
};
use kasmina::{
    CommandError, Receipt, engine::Stage, gates::Contribution, kernel_load::KernelModule, leyline::v1::TelemetryEvent,
};

pub use kasmina::doubles::{
    B, Cnn, Host, Mlp, Noisy, RATE, World, batch, blueprint, bytes, control_step, determined, lenient, loss, model_of,
    optimizer, seed, sender, spoilt, twin,
};

const ALONE: &str = "KASMINA_TEST_ALONE";

/// Whether this process runs only this test. If not, runs it in a process of its own and fails if it fails there.
///
/// Flex has one random generator for the whole process, and every manager seeds it in every step. A test that compares random
/// numbers would see the numbers of the tests that run beside it. A lock would not do: all other tests would have to take it.
pub fn alone(test: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(env::current_exe().unwrap()).args(["--exact", test]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{test} did not run: {said}");
    false
}

/// The reason of a command that had no effect.
pub fn refused(outcome: Result<Receipt, CommandError>) -> &'static str {
    outcome.unwrap_err().reason()
}

/// The kernel with this number in all its matrices, and that one in all its vectors.
pub fn filled(kernel: KernelModule<B>, weight: f32, bias: f32) -> KernelModule<B> {
    struct Fill(f32, f32);
    impl<B: Backend> ModuleMapper<B> for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            let number = if D == 1 { self.1 } else { self.0 };
            param.map(|tensor| Tensor::full_like(&tensor.detach(), number).require_grad())
        }
    }
    kernel.map(&mut Fill(weight, bias))
}

/// Fills the kernel of a seed.
pub fn fill(world: &mut World, name: &str, weight: f32, bias: f32) {
    assert!(world.manager.tamper(&seed(name), |kernel| filled(kernel, weight, bias)));
}

/// The weights of a seed's kernel.
pub fn weights(world: &World, name: &str) -> Vec<u8> {
    bytes(&world.manager.kernel(&seed(name)).unwrap())
}

/// What has been measured of a seed under trial.
pub fn contribution(world: &World, name: &str) -> Contribution {
    let stage = &world.manager.state().seeds[&seed(name)].stage;
    let (Stage::Shadowing(_, trial) | Stage::Probationary(_, trial, _)) = stage else { panic!("{stage:?}") };
    trial.contribution
}

/// The events of this name.
pub fn named<'a>(events: &'a [TelemetryEvent], name: &str) -> Vec<&'a TelemetryEvent> {
    events.iter().filter(|event| event.description == name).collect()
}
