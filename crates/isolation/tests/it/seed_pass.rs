//! The pass of one seed: who learns, who must not, and which seed caused a bad loss.

use burn::tensor::Tensor;
use kasmina_isolation::{Grafts, Pass, SeedPass, host_pass, probe, seed_pass};
use kasmina_leyline::v1::SeedLifecycleStage::*;

use crate::world::{B, Host, How, Seed, cast, kernel, registry, rng, seed, share, spoilt, weight};

fn forward(host: &Host<B>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    host.loss(grafts)
}

/// The pass of the seed "own", with a registry that knows the kernels as they were in `registered`.
fn own(host: &Host<B>, seeds: &[Seed]) -> SeedPass {
    let (cast, mut registry) = (cast(seeds), registry(seeds));
    let pass = host_pass(host, &forward, &cast, &mut registry, &rng()).unwrap();
    seed_pass(&seed("own"), host, &forward, &cast, &pass, &registry, &rng()).unwrap()
}

#[test]
fn only_the_blending_seed_gets_gradients() {
    let host = Host::init();
    let before = host.bytes();
    let seeds = [
        Seed::new("own", "mid", SeedStageBlending, kernel(1, 4)),
        Seed::new("other", "late", SeedStageBlending, kernel(2, 4)),
    ];
    let found = own(&host, &seeds);
    assert!(found.loss.is_some_and(f32::is_finite));
    assert_eq!(found.gradients.map(|gradients| gradients.len()), Some(2));
    assert_eq!((found.violation, found.faults.len()), (None, 0));
    assert_eq!(host.bytes(), before);
}

#[test]
fn seed_that_shares_a_parameter_with_another_is_a_violation() {
    for how in [How::ById, How::ByTensor] {
        let host = Host::init();
        let mut seeds = [
            Seed::new("own", "mid", SeedStageBlending, kernel(1, 4)),
            Seed::new("victim", "late", SeedStageTraining, kernel(2, 4)),
        ];
        seeds[0].kernel = share(seeds[0].kernel.clone(), &weight(&seeds[1].kernel), how);
        let (cast, mut ownership) = (cast(&seeds), registry(&seeds[1..]));
        let pass = host_pass(&host, &forward, &cast, &mut ownership, &rng()).unwrap();
        let found = seed_pass(&seed("own"), &host, &forward, &cast, &pass, &ownership, &rng()).unwrap();
        let violation = found.violation.unwrap();
        assert_eq!((violation.seed, violation.pass, violation.shared.len()), (seed("own"), Pass::Seed, 1), "{how:?}");
        assert!(found.gradients.is_none());
    }
}

#[test]
fn unregistered_kernel_gets_no_gradients() {
    let host = Host::init();
    let seeds = [Seed::new("own", "mid", SeedStageBlending, kernel(1, 4))];
    let (cast, mut ownership) = (cast(&seeds), registry(&[]));
    let pass = host_pass(&host, &forward, &cast, &mut ownership, &rng()).unwrap();
    let found = seed_pass(&seed("own"), &host, &forward, &cast, &pass, &ownership, &rng()).unwrap();
    assert!(found.violation.is_some() && found.gradients.is_none());
}

#[test]
fn loss_spoilt_by_another_seed_is_measured_without_it() {
    let host = Host::init();
    let clean = [Seed::new("own", "mid", SeedStageBlending, kernel(1, 4))];
    let alone = own(&host, &clean).loss;
    let [own_seed] = clean;
    let seeds = [own_seed, Seed::new("nan", "late", SeedStageBlending, spoilt(kernel(2, 4)))];
    let found = own(&host, &seeds);
    assert_eq!(found.loss, alone);
    assert!(found.gradients.is_some());
}

#[test]
fn loss_spoilt_by_the_seed_itself_comes_without_gradients() {
    let host = Host::init();
    let found = own(&host, &[Seed::new("own", "mid", SeedStageBlending, spoilt(kernel(1, 4)))]);
    assert!(found.loss.is_some_and(f32::is_nan));
    assert!(found.gradients.is_none() && found.violation.is_none());
}

#[test]
fn failing_kernel_and_unreached_slot_are_faults() {
    let host = Host::init();
    for (slot, channels, reason) in [("mid", 3, "input_channels"), ("nowhere", 4, "slot_not_reached")] {
        let found = own(&host, &[Seed::new("own", slot, SeedStageBlending, kernel(1, channels))]);
        assert_eq!((found.loss, found.faults.len(), found.faults[0].reason), (None, 1, reason));
    }
}

#[test]
fn fault_of_another_seed_is_reported_and_the_pass_counts() {
    let host = Host::init();
    let seeds = [
        Seed::new("broken", "late", SeedStageBlending, kernel(2, 3)),
        Seed::new("own", "mid", SeedStageBlending, kernel(1, 4)),
    ];
    let found = own(&host, &seeds);
    assert!(found.gradients.is_some());
    assert_eq!(found.faults.iter().map(|fault| fault.seed.as_str()).collect::<Vec<_>>(), ["broken"]);
}

#[test]
fn probe_has_the_loss_of_the_seeds_pass() {
    let host = Host::init();
    let seeds = [Seed::new("own", "mid", SeedStageShadowing, kernel(1, 4))];
    let (cast, mut registry) = (cast(&seeds), registry(&seeds));
    let pass = host_pass(&host, &forward, &cast, &mut registry, &rng()).unwrap();
    let probed = probe(&seed("own"), &host, &forward, &cast, &pass, &rng()).unwrap();
    let put_in = [kasmina_isolation::Override { seed: &seed("own"), alpha: Some(kasmina_blending::Alpha::ONE) }];
    let blended = host.loss(&mut cast.measured(&put_in)).into_scalar();
    assert_eq!(probed.loss, Some(blended));
    assert_ne!(probed.loss, Some(pass.loss));
    assert!(probe(&seed("nobody"), &host, &forward, &cast, &pass, &rng()).is_none());
    assert!(seed_pass(&seed("nobody"), &host, &forward, &cast, &pass, &registry, &rng()).is_none());
}
