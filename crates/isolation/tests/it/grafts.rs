//! Grafts as a host sees them, and the trace of a pass.

use std::cell::Cell;

use burn::tensor::Tensor;
use kasmina_blending::Alpha;
use kasmina_isolation::{
    Cast, Grafts, HostPass, Measured, Override, PassKind, attach, host_pass, learning_pass, measure,
};
use kasmina_leyline::{SlotId, v1::SeedLifecycleStage::*};

use crate::world::{B, Host, Seed, batch, cast, kernel, ramp, registry, rng, seed};

#[test]
fn activation_without_kernels_is_unchanged_bit_for_bit() {
    let mut grafts = Grafts::<B>::none();
    let h = ramp::<B, 3>([2, 3, 4], 5);
    let out = grafts.at("mid", h.clone());
    assert_eq!(out.into_data(), h.into_data());
    assert_eq!((grafts.pass(), grafts.faults()), (PassKind::Bare, &[][..]));
}

#[test]
fn trace_lists_slots_in_order_with_their_first_shape() {
    let mut grafts = Grafts::<B>::none();
    grafts.at("b", ramp([2, 4], 1));
    grafts.at_with_tap("a", ramp([2, 3, 5], 1), ramp([2, 3, 7], 1));
    grafts.at("b", ramp([2, 9], 1));
    grafts.at("not an id", ramp([2, 9], 1));
    grafts.offer_logits(ramp([2, 3], 1));
    let trace = grafts.finish();
    let names: Vec<_> = trace.order.iter().map(SlotId::as_str).collect();
    assert_eq!(names, ["b", "a", "b"]);
    let [a, b] = ["a", "b"].map(|name| &trace.shapes[&SlotId::new(name).unwrap()]);
    assert_eq!((a.input.channels(), a.output.channels(), a.output.rank()), (5, 7, 3));
    assert_eq!(b.output.dims, [2, 4]);
    assert!(trace.reached(&SlotId::new("a").unwrap()) && !trace.reached(&SlotId::new("c").unwrap()));
    assert_eq!(trace.logits.map(|logits| logits.dims()), Some([2, 3]));
}

#[test]
fn misfitting_kernel_is_a_fault_and_activation_is_unchanged() {
    let seeds = [Seed::new("narrow", "mid", SeedStageProbationary, kernel(1, 3))];
    let mut grafts = cast(&seeds).live();
    let h = ramp([2, 4], 1);
    assert_eq!(grafts.at("mid", h.clone()).into_data(), h.into_data());
    let trace = grafts.finish();
    assert_eq!((trace.faults.len(), trace.faults[0].reason), (1, "input_channels"));
    assert!(trace.failed(&seed("narrow")) && !trace.failed(&seed("another")));
}

#[test]
fn impossible_blend_is_a_fault_and_activation_is_unchanged() {
    let mut confident = Seed::new("confident", "mid", SeedStageProbationary, kernel(1, 4));
    let annotations = [("blend_mode".to_owned(), "CONFIDENCE".to_owned())].into();
    confident.blend = kasmina_blending::BlendConfig::from_annotations(&annotations, 8).unwrap();
    let seeds = [confident];
    let mut grafts = cast(&seeds).live();
    let h = ramp([2, 4], 1);
    assert_eq!(grafts.at("mid", h.clone()).into_data(), h.into_data(), "no logits");
    assert_eq!(grafts.finish().faults.len(), 1);
}

#[test]
fn grafts_report_the_kind_of_pass() {
    let host = Host::init();
    let seeds = [
        Seed::new("a", "mid", SeedStageBlending, kernel(1, 4)),
        Seed::new("b", "late", SeedStageShadowing, kernel(2, 4)),
    ];
    let passes = std::cell::RefCell::new(Vec::new());
    let forward = |host: &Host<B>, grafts: &mut Grafts<B>| {
        passes.borrow_mut().push(grafts.pass());
        host.loss(grafts)
    };
    let shapes = attach(&host, forward);
    assert_eq!(shapes.keys().map(SlotId::as_str).collect::<Vec<_>>(), ["late", "mid"]);
    let (cast, mut registry) = (cast(&seeds), registry(&seeds));
    let pass = host_pass(&host, &forward, &cast, &mut registry, &rng()).unwrap();
    learning_pass(&host, &forward, &cast, &pass, &registry, &rng()).unwrap();
    with("b", &host, &forward, &cast, &pass);
    assert_eq!(*passes.borrow(), [PassKind::Attach, PassKind::Host, PassKind::Learning, PassKind::Measure]);
    assert_eq!((cast.live().pass(), cast.committed().pass()), (PassKind::Live, PassKind::Committed));
}

/// A measure with this seed at alpha 1.
fn with(
    name: &str,
    host: &Host<B>,
    forward: &impl Fn(&Host<B>, &mut Grafts<B>) -> Tensor<B, 1>,
    cast: &Cast<'_, B>,
    pass: &HostPass<B>,
) -> Measured {
    let put = Override { seed: &seed(name), alpha: Some(Alpha::ONE) };
    measure(host, forward, cast, &[put], pass, &rng())
}

/// The loss with both slots as closures or as values; counts what is computed before each.
fn loss(host: &Host<B>, grafts: &mut Grafts<B>, lazy: bool, computed: &[Cell<u64>; 2]) -> Tensor<B, 1> {
    let count = |slot: usize| computed[slot].set(computed[slot].get() + 1);
    let first = || {
        count(0);
        let h = host.stem.forward(batch());
        (h.clone().sin(), h)
    };
    let h = if lazy {
        grafts.at_lazy_with_tap("mid", first)
    } else {
        let (tap, h) = first();
        grafts.at_with_tap("mid", tap, h)
    };
    let second = || {
        count(1);
        h.tanh()
    };
    let h = if lazy { grafts.at_lazy("late", second) } else { grafts.at("late", second()) };
    host.head.forward(h).square().mean()
}

#[test]
fn lazy_activation_is_reused_unless_a_live_seed_changed_it() {
    let host = Host::init();
    let seeds = [
        Seed::new("early", "mid", SeedStageBlending, kernel(1, 4)),
        Seed::new("fossil", "mid", SeedStageFossilized, kernel(2, 4)),
        Seed::new("late", "late", SeedStageShadowing, kernel(3, 4)),
    ];
    let run = |lazy: bool, alone: bool| {
        let computed = [Cell::new(0), Cell::new(0)];
        let forward = |host: &Host<B>, grafts: &mut Grafts<B>| loss(host, grafts, lazy, &computed);
        let seeds = if alone { &seeds[1..] } else { &seeds[..] };
        let (cast, mut registry) = (cast(seeds), registry(seeds));
        let pass = host_pass(&host, &forward, &cast, &mut registry, &rng()).unwrap();
        let measured = with("late", &host, &forward, &cast, &pass);
        ((pass.loss.to_bits(), measured.loss.map(f32::to_bits)), computed.map(|count| count.get()))
    };
    let (eager, counts) = run(false, false);
    assert_eq!(counts, [2, 2]);
    assert_eq!(run(true, false), (eager, [1, 2]), "after a live seed it is computed again");
    let (eager, _) = run(false, true);
    assert_eq!(run(true, true), (eager, [1, 1]), "a fossil is in both passes");
}

#[test]
fn slot_that_is_visited_twice_is_never_reused() {
    let host = Host::init();
    let seeds = [Seed::new("a", "mid", SeedStageShadowing, kernel(1, 4))];
    let computed = Cell::new(0);
    let forward = |host: &Host<B>, grafts: &mut Grafts<B>| {
        let mut h = host.stem.forward(batch());
        for _ in 0..2 {
            let before = h.clone();
            h = grafts.at_lazy("mid", || {
                computed.set(computed.get() + 1);
                before.tanh()
            });
        }
        host.head.forward(h).square().mean()
    };
    let (cast, mut registry) = (cast(&seeds), registry(&seeds));
    let pass = host_pass(&host, &forward, &cast, &mut registry, &rng()).unwrap();
    with("a", &host, &forward, &cast, &pass);
    assert_eq!(computed.get(), 4);
}
