//! The host's pass: who gets gradients, and what happens if a seed spoils it.

use burn::{
    module::AutodiffModule,
    optim::{GradientsParams, Optimizer, SgdConfig},
    tensor::Tensor,
};
use kasmina_isolation::{Grafts, HostPass, HostPassCause, Pass, PassKind, host_pass, withhold};
use kasmina_kernel_load::weights::module_to_bytes;
use kasmina_leyline::v1::SeedLifecycleStage::*;
use kasmina_registry::{Owner, Ownership, OwnsNothing, Registry, UpdateRefusal, doubles::pair, parameter_ids};

use crate::world::{B, Host, How, Seed, Whole, cast, kernel, registry, rng, seed, share, spoilt};

fn forward(host: &Host<B>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    host.loss(grafts)
}

fn pass(host: &Host<B>, seeds: &[Seed], registry: &mut Registry) -> HostPass<B> {
    host_pass(host, &forward, &cast(seeds), registry, &rng()).unwrap()
}

/// The host's bytes after a step by these gradients.
fn stepped(host: &Host<B>, gradients: GradientsParams) -> Vec<u8> {
    SgdConfig::new().init().step(0.1, host.clone(), gradients).bytes()
}

/// The host's bytes after a step of plain Burn without any seed.
fn control(host: &Host<B>) -> Vec<u8> {
    let loss = host.loss(&mut Grafts::none());
    stepped(host, GradientsParams::from_grads(loss.backward(), host))
}

#[test]
fn host_steps_as_in_plain_burn_and_riders_learn() {
    let host = Host::init();
    let rider = [Seed::new("rider", "mid", SeedStageTraining, kernel(1, 4))];
    let found = pass(&host, &rider, &mut registry(&rider));
    assert_eq!((found.kernels.len(), found.kernels[0].1.len()), (1, 2));
    assert!(found.violations.is_empty() && found.trace.faults.is_empty());
    assert_eq!(stepped(&host, found.gradients), control(&host));
}

#[test]
fn fossil_in_the_host_learns_with_it_as_any_module_does() {
    let fossil = [Seed::new("fossil", "mid", SeedStageFossilized, kernel(1, 4))];
    let whole = Whole::of(Host::init(), &fossil);
    let forward = |whole: &Whole<B, Host<B>>, grafts: &mut Grafts<B>| whole.host.loss(grafts);
    let found = host_pass(&whole, &forward, &cast(&fossil), &mut registry(&fossil), &rng()).unwrap();
    assert!(found.kernels.is_empty() && found.violations.is_empty());
    let plain = || {
        let Seed { id, slot, blend, .. } = fossil[0].clone();
        let mut grafts = Grafts::structure([(id, slot, whole.fossils[0].clone(), blend)]);
        GradientsParams::from_grads(whole.host.loss(&mut grafts).backward(), &whole)
    };
    let step = |gradients| SgdConfig::new().init().step(0.1, whole.clone(), gradients);
    let bytes = |whole: Whole<B, Host<B>>| module_to_bytes(&whole.valid()).unwrap();
    assert_ne!(bytes(whole.clone()), bytes(step(plain())));
    assert_eq!(bytes(step(found.gradients)), bytes(step(plain())));
}

#[test]
fn rider_sharing_a_parameter_is_named_and_host_steps_without_it() {
    for how in [How::ById, How::ByTensor] {
        let host = SquareHost::init();
        let mut seeds = [
            Seed::new("clean", "late", SeedStageTraining, kernel(2, 4)),
            Seed::new("thief", "mid", SeedStageTraining, kernel(1, 4)),
        ];
        let mut registry = registry(&seeds);
        seeds[1].kernel = share(seeds[1].kernel.clone(), &host.stem.weight, how);
        let passes = std::cell::RefCell::new(Vec::new());
        let forward = |host: &SquareHost<B>, grafts: &mut Grafts<B>| {
            passes.borrow_mut().push(grafts.pass());
            host.loss(grafts)
        };
        let found = host_pass(&host, &forward, &cast(&seeds), &mut registry, &rng()).unwrap();
        assert_eq!(found.violations.len(), 1, "{how:?}");
        let violation = &found.violations[0];
        assert_eq!((&violation.seed, violation.pass, violation.shared.len()), (&seed("thief"), Pass::Host, 1));
        assert!(violation.overlap.is_some_and(|it| (-1.0..=1.0).contains(&it.cosine)));
        assert_eq!(found.kernels.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["clean"]);
        assert_eq!(*passes.borrow(), [PassKind::Host], "nothing is done again: a rider cannot spoil the host's pass");
        let loss = host.loss(&mut Grafts::none());
        let plain = GradientsParams::from_grads(loss.backward(), &host);
        let step = |gradients| {
            let stepped = SgdConfig::new().init().step(0.1, host.clone(), gradients);
            kasmina_kernel_load::weights::module_to_bytes(&stepped.valid()).unwrap()
        };
        assert_eq!(step(found.gradients), step(plain), "{how:?}");
    }
}

#[test]
fn rider_with_nan_weights_leaves_the_host_unchanged() {
    let host = Host::init();
    let seeds = [Seed::new("nan", "mid", SeedStageTraining, spoilt(kernel(1, 4)))];
    let found = pass(&host, &seeds, &mut registry(&seeds));
    assert_eq!(stepped(&host, found.gradients), control(&host));
}

#[test]
fn rider_that_cannot_run_is_a_fault_without_gradients() {
    let host = Host::init();
    let seeds = [Seed::new("narrow", "mid", SeedStageTraining, kernel(1, 3))];
    let found = pass(&host, &seeds, &mut registry(&seeds));
    assert_eq!((found.trace.faults.len(), found.kernels.len()), (1, 0));
    assert_eq!(stepped(&host, found.gradients), control(&host));
}

#[test]
fn fossil_that_cannot_run_refuses_the_pass() {
    let host = Host::init();
    let seeds = [Seed::new("narrow", "mid", SeedStageFossilized, kernel(1, 3))];
    let error = host_pass(&host, &forward, &cast(&seeds), &mut registry(&seeds), &rng()).unwrap_err();
    assert_eq!((error.cause.reason(), error.faults.len()), ("input_channels", 1));
    assert!(error.to_string().starts_with("the fossil narrow at mid failed: "), "{error}");
}

#[test]
fn loss_that_is_not_one_finite_number_refuses_the_pass() {
    let host = Host::init();
    type Forward = dyn Fn(&Host<B>, &mut Grafts<B>) -> Tensor<B, 1>;
    let run = |forward: &Forward| {
        let forward = |host: &Host<B>, grafts: &mut Grafts<B>| forward(host, grafts);
        host_pass(&host, &forward, &cast(&[]), &mut Registry::default(), &rng()).map(|_| ()).unwrap_err().cause
    };
    let nan = run(&|host, grafts| host.loss(grafts) * f32::NAN);
    assert_eq!(nan.reason(), "non_finite_loss");
    let two = run(&|host, grafts| host.loss(grafts).repeat_dim(0, 2));
    assert_eq!(two, HostPassCause::LossShape { got: vec![2] });
}

#[test]
fn refusal_of_ownership_stops_the_host_or_the_rider() {
    let host = Host::init();
    let seeds = [Seed::new("rider", "mid", SeedStageTraining, kernel(1, 4))];
    let error = host_pass(&host, &forward, &cast(&seeds), &mut OwnsNothing, &rng()).unwrap_err();
    assert_eq!(error.cause.reason(), "no_registry");

    let (mut ownership, handle) = pair();
    ownership.register(&Owner::Host, &parameter_ids(&host).into_iter().collect()).unwrap();
    let found = host_pass(&host, &forward, &cast(&seeds), &mut ownership, &rng()).unwrap();
    assert_eq!(found.violations.len(), 1, "its parameters are not registered");
    assert_eq!(found.violations[0].seed, seed("rider"));
    assert_eq!(stepped(&host, found.gradients), control(&host));
    handle.refuse_next(UpdateRefusal::Teacher { parameter: host.head.weight.id });
    let error = host_pass(&host, &forward, &cast(&[]), &mut ownership, &rng()).unwrap_err();
    assert_eq!(error.cause.reason(), "teacher");
}

#[test]
fn gradient_on_a_parameter_of_the_teacher_is_taken_out_and_the_rest_is_that_of_the_control() {
    let host = Host::init();
    let taken = host.head.weight.id;
    // The host is not registered yet: it is, but for what is the teacher's.
    let mut registry = Registry::default();
    registry.register_teacher([taken]).unwrap();
    for _ in 0..2 {
        let found = pass(&host, &[], &mut registry);
        assert_eq!(found.withheld, [UpdateRefusal::Teacher { parameter: taken }]);
        let plain = GradientsParams::from_grads(host.loss(&mut Grafts::none()).backward(), &host);
        assert_eq!(found.gradients.len() + 1, plain.len());
        assert!(found.gradients.get::<burn::backend::Flex, 2>(taken).is_none());
        let mut expected = plain;
        expected.remove::<burn::backend::Flex, 2>(taken);
        assert_eq!(stepped(&host, found.gradients), stepped(&host, expected));
    }
    assert_eq!(registry.owner(taken), Some(&Owner::Teacher));
}

#[test]
fn gradients_are_withheld_for_each_of_three_reasons() {
    let host = Host::init();
    let ids = parameter_ids(&host);
    let [own, teachers, seeds] = [ids[0], ids[1], ids[2]];
    let mut registry = Registry::default();
    registry.register_host([own]).unwrap();
    registry.register_teacher([teachers]).unwrap();
    registry.register_seed(&seed("other"), [seeds]).unwrap();
    let mut gradients = GradientsParams::from_grads(host.loss(&mut Grafts::none()).backward(), &host);
    let all = gradients.len();
    let withheld = withhold(&host, &mut gradients, &Owner::Host, &registry);
    let mut reasons: Vec<_> = withheld.iter().map(|refusal| (refusal.parameter(), refusal.reason())).collect();
    assert_eq!(reasons.len(), all - 1);
    reasons.retain(|(id, _)| [teachers, seeds].contains(id));
    let mut expected = [(teachers, "teacher"), (seeds, "cross_seed")];
    expected.sort_unstable();
    assert_eq!(reasons, expected);
    let others = withheld.iter().filter(|refusal| ![teachers, seeds].contains(&refusal.parameter()));
    assert!(others.into_iter().all(|refusal| refusal.reason() == "unregistered"));
    assert_eq!(gradients.len(), 1);
    assert_eq!(withhold(&host, &mut gradients, &Owner::Host, &registry), []);
}

/// A host whose stem has a weight of a kernel's shape.
#[derive(burn::module::Module, Debug)]
struct SquareHost<B: burn::tensor::backend::Backend> {
    stem: burn::nn::Linear<B>,
    head: burn::nn::Linear<B>,
}

impl SquareHost<B> {
    fn init() -> Self {
        let host = Host::init();
        let stem = burn::nn::LinearConfig::new(4, 4).init(&Default::default());
        Self { stem, head: host.head }
    }

    fn loss(&self, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
        let x = crate::world::ramp::<B, 2>([6, 4], 3);
        let h = grafts.at("mid", self.stem.forward(x).tanh());
        let h = grafts.at("late", h.sin());
        self.head.forward(h).square().mean()
    }
}
