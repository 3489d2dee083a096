//! Ownership: what is refused, what is idempotent, and a comparison with a list of pairs.

use std::collections::BTreeMap;

use burn::{
    backend::{Autodiff, Flex},
    module::{Module, ParamId},
    nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig},
    tensor::backend::Backend,
};
use kasmina_leyline::SeedId;
use kasmina_registry::*;
use proptest::prelude::*;

fn seed(name: &str) -> SeedId {
    SeedId::new(name).unwrap()
}

fn ids<const N: usize>(numbers: [u64; N]) -> [ParamId; N] {
    numbers.map(ParamId::from)
}

#[test]
fn update_of_foreign_parameter_is_refused_with_its_reason() {
    let mut registry = Registry::default();
    registry.register_host(ids([1])).unwrap();
    registry.register_seed(&seed("a"), ids([2])).unwrap();
    registry.register_teacher(ids([3])).unwrap();
    let by_a = Owner::Seed(seed("a"));
    let reason = |by: &Owner, id| registry.validate_update(by, ids([id])).map_err(|refusal| refusal.reason());
    assert_eq!(reason(&by_a, 2), Ok(()));
    assert_eq!(reason(&by_a, 1), Err("cross_seed"));
    assert_eq!(reason(&Owner::Host, 2), Err("cross_seed"));
    assert_eq!(reason(&by_a, 3), Err("teacher"));
    assert_eq!(reason(&Owner::Teacher, 3), Err("teacher"));
    assert_eq!(reason(&by_a, 4), Err("unregistered"));
    let text = registry.validate_update(&by_a, ids([1])).unwrap_err().to_string();
    assert!(text.ends_with("belongs to the host, not to a"), "{text}");
}

#[test]
fn parameter_with_an_owner_cannot_be_registered_by_another() {
    let mut registry = Registry::default();
    registry.register_host(ids([1])).unwrap();
    registry.register_teacher(ids([2])).unwrap();
    registry.register_seed(&seed("a"), ids([3])).unwrap();
    assert_eq!(registry.register_seed(&seed("b"), ids([9, 1])).unwrap_err().reason(), "cross_seed");
    assert_eq!(registry.register_seed(&seed("b"), ids([9, 2])).unwrap_err().reason(), "teacher");
    assert_eq!(registry.register_host(ids([3])).unwrap_err().reason(), "cross_seed");
    assert_eq!(registry.owner(ParamId::from(9)), None, "a refused registration leaves nothing behind");
    // A refused change of a seed's own parameters leaves it those it had.
    assert!(registry.register_seed(&seed("a"), ids([1])).is_err());
    assert_eq!(registry.parameters_of(&seed("a")).collect::<Vec<_>>(), ids([3]));
}

#[test]
fn registering_is_idempotent_and_release_leaves_nothing() {
    let mut registry = Registry::default();
    for _ in 0..2 {
        registry.register_host(ids([1])).unwrap();
        registry.register_teacher(ids([2])).unwrap();
        registry.register_seed(&seed("a"), ids([3, 4])).unwrap();
    }
    assert_eq!(registry.parameters_of(&seed("a")).count(), 2);
    assert_eq!((registry.release_seed(&seed("a")), registry.release_seed(&seed("a"))), (2, 0));
    assert_eq!((registry.drop_teacher(), registry.drop_teacher()), (1, 0));
    assert_eq!(registry.owner(ParamId::from(1)), Some(&Owner::Host));
    registry.reset();
    assert_eq!(registry.owner(ParamId::from(1)), None);
}

#[derive(Module, Debug)]
struct Net<B: Backend> {
    linear: Linear<B>,
    norm: BatchNorm<B>,
}

#[test]
fn running_statistics_and_frozen_weights_are_not_parameters() {
    let device = Default::default();
    let net: Net<Autodiff<Flex>> =
        Net { linear: LinearConfig::new(2, 2).init(&device), norm: BatchNormConfig::new(2).init(&device) };
    let [weight, gamma] = [net.linear.weight.id, net.norm.gamma.id];
    let found = parameter_ids(&net);
    assert_eq!(found.len(), 4, "weight, bias, gamma, beta; not the running statistics");
    assert!(found.contains(&weight) && found.contains(&gamma));
    assert_eq!(parameter_ids(&net.no_grad()), []);
}

proptest! {
    #[test]
    fn random_calls_match_a_list_of_pairs(
        steps in prop::collection::vec((0..6_u8, 0..3_u8, prop::collection::btree_set(0..8_u64, 0..4)), 0..60),
    ) {
        let mut registry = Registry::default();
        let mut model: BTreeMap<u64, String> = BTreeMap::new();
        for (what, who, numbers) in steps {
            let parameters = || numbers.iter().copied().map(ParamId::from);
            let seed = seed(&format!("s{who}"));
            let (owner, outcome) = match what {
                0 => ("the host".to_owned(), registry.register_host(parameters())),
                1 => ("the teacher".to_owned(), registry.register_teacher(parameters())),
                2 | 3 => (seed.to_string(), registry.register_seed(&seed, parameters())),
                4 => {
                    let held = model.len();
                    model.retain(|_, owner| *owner != seed.to_string());
                    prop_assert_eq!(registry.release_seed(&seed), held - model.len());
                    continue;
                }
                _ => {
                    model.retain(|_, owner| owner != "the teacher");
                    registry.drop_teacher();
                    continue;
                }
            };
            let free = numbers.iter().all(|number| model.get(number).is_none_or(|held| *held == owner));
            prop_assert_eq!(outcome.is_ok(), free);
            if free {
                if what >= 2 {
                    model.retain(|_, held| *held != owner);
                }
                model.extend(numbers.iter().map(|number| (*number, owner.clone())));
            }
            for number in 0..8 {
                let held = registry.owner(ParamId::from(number)).map(ToString::to_string);
                prop_assert_eq!(held.as_ref(), model.get(&number));
            }
        }
    }
}
