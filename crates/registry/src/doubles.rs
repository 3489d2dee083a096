//! A scripted [`Ownership`], and the suite for implementers.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use burn::module::ParamId;

use crate::{Owner, Ownership, Registry, RegistryError, UpdateRefusal};

/// A call that the double received.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Validate { by: Owner, parameters: BTreeSet<ParamId> },
    Register { owner: Owner, parameters: BTreeSet<ParamId> },
    Release { owner: Owner },
}

/// A [`Registry`] that refuses when its [`Handle`] says so.
#[derive(Debug)]
pub struct ScriptedOwnership {
    registry: Registry,
    script: Arc<Mutex<Script>>,
}

/// Scripts a [`ScriptedOwnership`] from outside.
#[derive(Clone, Debug)]
pub struct Handle {
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    refusals: VecDeque<UpdateRefusal>,
    calls: Vec<Call>,
}

/// The double and its handle. Without a script it behaves like a [`Registry`].
#[must_use]
pub fn pair() -> (ScriptedOwnership, Handle) {
    let script = Arc::default();
    (ScriptedOwnership { registry: Registry::default(), script: Arc::clone(&script) }, Handle { script })
}

impl Handle {
    /// Refuses the next update with this; several calls refuse as many updates, in order.
    pub fn refuse_next(&self, refusal: UpdateRefusal) {
        lock(&self.script).refusals.push_back(refusal);
    }

    /// The calls so far, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.script).calls.clone()
    }
}

impl Ownership for ScriptedOwnership {
    fn owner(&self, parameter: ParamId) -> Option<&Owner> {
        self.registry.owner(parameter)
    }

    fn validate_update(&self, by: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), UpdateRefusal> {
        let mut script = lock(&self.script);
        script.calls.push(Call::Validate { by: by.clone(), parameters: parameters.clone() });
        script.refusals.pop_front().map_or_else(|| Ownership::validate_update(&self.registry, by, parameters), Err)
    }

    fn register(&mut self, owner: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), RegistryError> {
        lock(&self.script).calls.push(Call::Register { owner: owner.clone(), parameters: parameters.clone() });
        self.registry.register(owner, parameters)
    }

    fn release(&mut self, owner: &Owner) -> usize {
        lock(&self.script).calls.push(Call::Release { owner: owner.clone() });
        self.registry.release(owner)
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The suite for implementers of [`Ownership`]: call [`run`](conformance::run) in a test.
pub mod conformance {
    use super::{BTreeSet, Owner, Ownership, ParamId};
    use kasmina_leyline::SeedId;

    /// Runs the suite on what `build` returns, which must be empty.
    ///
    /// # Panics
    /// If a promise of the trait is broken.
    pub fn run<O: Ownership>(build: impl Fn() -> O) {
        let Ok(seed) = SeedId::new("conformance-seed") else { return };
        let (seed, ids) = (Owner::Seed(seed), |numbers: &[u64]| numbers.iter().copied().map(ParamId::from).collect());
        owner_updates_only_its_own(build(), &seed, &ids);
        refused_registration_leaves_nothing(build(), &seed, &ids);
        seed_replaces_and_host_adds(build(), &seed, &ids);
        released_parameters_are_free(build(), &seed, &ids);
    }

    type Ids<'a> = &'a dyn Fn(&[u64]) -> BTreeSet<ParamId>;

    fn owner_updates_only_its_own(mut ownership: impl Ownership, seed: &Owner, ids: Ids<'_>) {
        let all = [(&Owner::Host, 1), (seed, 2), (&Owner::Teacher, 3)];
        for (owner, id) in all {
            assert_eq!(ownership.register(owner, &ids(&[id])), Ok(()), "register {owner}");
            assert_eq!(ownership.owner(ParamId::from(id)), Some(owner));
        }
        for (by, _) in all {
            for (owner, id) in all {
                let allowed = by == owner && *owner != Owner::Teacher;
                assert_eq!(ownership.validate_update(by, &ids(&[id])).is_ok(), allowed, "{by} updates {owner}'s");
            }
            assert!(ownership.validate_update(by, &ids(&[9])).is_err(), "a parameter without an owner");
            assert_eq!(ownership.validate_update(by, &ids(&[])), Ok(()), "nothing at all");
        }
        let refused = ownership.validate_update(&Owner::Host, &ids(&[1, 2, 9])).map_err(|refusal| refusal.parameter());
        assert_eq!(refused, Err(ParamId::from(2)), "the lowest id is named");
    }

    fn refused_registration_leaves_nothing(mut ownership: impl Ownership, seed: &Owner, ids: Ids<'_>) {
        assert_eq!(ownership.register(&Owner::Host, &ids(&[2])), Ok(()));
        assert!(ownership.register(seed, &ids(&[1, 2])).is_err(), "the host's parameter");
        assert_eq!(ownership.owner(ParamId::from(1)), None);
    }

    fn seed_replaces_and_host_adds(mut ownership: impl Ownership, seed: &Owner, ids: Ids<'_>) {
        for numbers in [&[1][..], &[2], &[2]] {
            assert_eq!(ownership.register(seed, &ids(numbers)), Ok(()));
        }
        assert_eq!((ownership.owner(ParamId::from(1)), ownership.owner(ParamId::from(2))), (None, Some(seed)));
        for numbers in [&[3][..], &[4]] {
            assert_eq!(ownership.register(&Owner::Host, &ids(numbers)), Ok(()));
        }
        assert_eq!(ownership.validate_update(&Owner::Host, &ids(&[3, 4])), Ok(()));
    }

    fn released_parameters_are_free(mut ownership: impl Ownership, seed: &Owner, ids: Ids<'_>) {
        for (owner, numbers) in [(seed, [1, 2]), (&Owner::Host, [3, 4]), (&Owner::Teacher, [5, 6])] {
            assert_eq!(ownership.register(owner, &ids(&numbers)), Ok(()));
            assert_eq!((ownership.release(owner), ownership.release(owner)), (2, 0), "{owner}");
            assert_eq!(ownership.owner(ParamId::from(numbers[0])), None);
        }
    }
}
