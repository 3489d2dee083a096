//! The seam, its null object and its double.

use std::collections::BTreeSet;

use burn::module::ParamId;
use kasmina_leyline::SeedId;
use kasmina_registry::{
    Owner, Ownership, OwnsNothing, Registry, UpdateRefusal,
    doubles::{self, Call, conformance},
};

fn ids<const N: usize>(numbers: [u64; N]) -> BTreeSet<ParamId> {
    numbers.map(ParamId::from).into()
}

#[test]
fn registry_and_double_conform() {
    conformance::run(Registry::default);
    conformance::run(|| doubles::pair().0);
    conformance::run(|| Box::new(Registry::default()) as Box<dyn Ownership>);
}

#[test]
fn null_object_allows_no_update_and_registers_nothing() {
    let mut nothing = OwnsNothing;
    let seed = Owner::Seed(SeedId::new("a").unwrap());
    assert_eq!(nothing.register(&seed, &ids([1])).unwrap_err().reason(), "no_registry");
    assert_eq!(nothing.owner(ParamId::from(1)), None);
    let refusal = nothing.validate_update(&seed, &ids([1])).unwrap_err();
    assert_eq!(refusal, UpdateRefusal::Unregistered { parameter: ParamId::from(1) });
    assert_eq!(nothing.release(&seed), 0);
}

#[test]
fn scripted_refusal_happens_once_and_calls_are_recorded() {
    let (mut ownership, handle) = doubles::pair();
    ownership.register(&Owner::Host, &ids([1, 2])).unwrap();
    let refusal = UpdateRefusal::Teacher { parameter: ParamId::from(2) };
    handle.refuse_next(refusal.clone());
    assert_eq!(ownership.validate_update(&Owner::Host, &ids([1])), Err(refusal));
    assert_eq!(ownership.validate_update(&Owner::Host, &ids([1])), Ok(()));
    let asked = Call::Validate { by: Owner::Host, parameters: ids([1]) };
    let registered = Call::Register { owner: Owner::Host, parameters: ids([1, 2]) };
    assert_eq!(handle.calls(), [registered, asked.clone(), asked]);
}
