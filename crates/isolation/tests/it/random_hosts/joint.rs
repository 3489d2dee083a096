//! The gradients of the learning pass are those of passes in which every seed learns alone.

use std::collections::BTreeMap;

use burn::{module::AutodiffModule, tensor::TensorData};
use kasmina_isolation::{Grafts, LearningPass, host_pass, learning_pass};
use kasmina_leyline::{SeedId, SlotId, v1::SeedLifecycleStage::*};

use super::{Host, Random, alone, hosts, plan::Pool};
use crate::world::{B, Seed, Whole, cast, gradients_of, registry};

/// How far a gradient may be from that of the separate pass, relative to the largest number of its tensor. The terms of its sums
/// are the same, and f32 sums of the same terms in another order differ by a few units of their last place; behind some layers
/// that adds up.
const TOLERANCE: f32 = 1e-5;

#[test]
fn joint_gradients_are_those_of_separate_passes() {
    if !alone("random_hosts::joint::joint_gradients_are_those_of_separate_passes") {
        return;
    }
    let (mut compared, mut worst) = (0, 0.0_f32);
    let (mut same_slot, mut in_sequence, mut parallel) = (0, 0, 0);
    for number in 0..hosts() {
        let mut random = Random(number);
        let Some(host) = Host::random(&mut random) else { continue };
        let slots = host.plan.slots();
        if slots.is_empty() {
            continue;
        }
        let ids = ["a", "b", "c", "d"].into_iter().take(2 + random.below(3));
        let mut seeds: Vec<_> = ids
            .map(|id| {
                let stage = [SeedStageBlending, SeedStageBlending, SeedStageProbationary][random.below(3)];
                let mut seed = host.seed(&mut random, id, stage);
                seed.slot = SlotId::new(slots[random.below(slots.len())]).unwrap();
                seed
            })
            .filter(|seed| !seed.spoilt)
            .collect();
        if seeds.is_empty() {
            continue;
        }
        if random.one_in(3) {
            seeds.push(host.seed(&mut random, "fossil", SeedStageFossilized));
        }
        let joint = host.learn(&seeds);
        let mut separate = BTreeMap::new();
        for learner in seeds.iter().filter(|seed| seed.stage != SeedStageFossilized) {
            let mut alone = seeds.clone();
            alone.iter_mut().for_each(|seed| seed.learns = seed.id == learner.id);
            let found = host.learn(&alone);
            assert_eq!(found.loss.map(f32::to_bits), joint.loss.map(f32::to_bits), "host {number}");
            separate.extend(gradients(&seeds, &found));
        }
        let joint = gradients(&seeds, &joint);
        assert!(joint.keys().eq(separate.keys()), "host {number}: {:?} {:?}", joint.keys(), separate.keys());
        let of = |id: &SeedId| seeds.iter().find(|seed| seed.id == *id).unwrap().slot.as_str();
        let pairs =
            joint.keys().flat_map(|one| joint.keys().filter(move |other| one < *other).map(move |it| (one, it)));
        for (one, other) in pairs {
            let (one, other) = (of(one), of(other));
            same_slot += usize::from(one == other);
            in_sequence += usize::from(one != other && host.plan.in_sequence(one, other));
            parallel += usize::from(!host.plan.in_sequence(one, other));
        }
        for (seed, joint) in joint {
            for (joint, separate) in joint.iter().zip(&separate[&seed]) {
                let distance = distance(joint, separate);
                assert!(distance <= TOLERANCE, "host {number}, {seed}: {distance} in {:?}", host.plan);
                worst = worst.max(distance);
                compared += 1;
            }
        }
    }
    println!("{compared} gradients; the worst differs by {worst:e}");
    println!("pairs of seeds: {same_slot} at one slot, {in_sequence} in sequence, {parallel} on parallel paths");
    assert!(same_slot >= 50 && in_sequence >= 20 && parallel >= 10);
}

impl Host {
    fn learn(&self, seeds: &[Seed]) -> LearningPass {
        let device = Default::default();
        let forward = |pool: &Whole<B, Pool<B>>, grafts: &mut Grafts<B>| self.plan.loss(&pool.host, grafts, 0);
        let (cast, mut registry, rng) = (cast(seeds), registry(seeds), self.rng(&device, 0));
        let pool = Whole::of(Pool::from_inner(self.pool.valid()), seeds);
        let pass = host_pass(&pool, &forward, &cast, &mut registry, &rng).unwrap();
        let found = learning_pass(&pool, &forward, &cast, &pass, &registry, &rng).unwrap();
        assert!(found.violations.is_empty() && found.faults.is_empty() && found.culprits.is_empty());
        found
    }
}

fn gradients(seeds: &[Seed], found: &LearningPass) -> BTreeMap<SeedId, Vec<TensorData>> {
    let kernel = |id: &SeedId| &seeds.iter().find(|seed| seed.id == *id).unwrap().kernel;
    found.gradients.iter().map(|(id, gradients)| (id.clone(), gradients_of(kernel(id), gradients))).collect()
}

/// The largest difference, relative to the largest number.
fn distance(one: &TensorData, other: &TensorData) -> f32 {
    assert_eq!(one.shape, other.shape);
    let largest = |numbers: &mut dyn Iterator<Item = f32>| numbers.fold(0.0_f32, |largest, it| largest.max(it.abs()));
    let scale = largest(&mut other.iter::<f32>());
    let difference = largest(&mut one.iter::<f32>().zip(other.iter::<f32>()).map(|(one, other)| one - other));
    if difference == 0.0 { 0.0 } else { difference / scale }
}
