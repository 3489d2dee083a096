//! The owners of all parameters.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use burn::module::ParamId;
use kasmina_leyline::SeedId;

use crate::{RegistryError, UpdateRefusal};

/// The owner of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The host network.
    Host,
    /// A seed, fossilised or not.
    Seed(SeedId),
    /// The teacher of a distillation. Its parameters are never updated.
    Teacher,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host"),
            Self::Seed(seed) => write!(f, "{seed}"),
            Self::Teacher => f.write_str("the teacher"),
        }
    }
}

/// Who owns which parameter. Every call is idempotent.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    owners: BTreeMap<ParamId, Owner>,
    seeds: BTreeMap<SeedId, BTreeSet<ParamId>>,
}

impl Registry {
    /// Registers parameters of the host.
    ///
    /// # Errors
    /// [`RegistryError::Owned`] if one belongs to a seed or the teacher.
    pub fn register_host(&mut self, parameters: impl IntoIterator<Item = ParamId>) -> Result<(), RegistryError> {
        self.own(&parameters.into_iter().collect(), &Owner::Host)
    }

    /// Registers parameters of the seed, in place of those that it had.
    ///
    /// # Errors
    /// [`RegistryError::Owned`] if one belongs to another owner.
    pub fn register_seed(
        &mut self,
        seed: &SeedId,
        parameters: impl IntoIterator<Item = ParamId>,
    ) -> Result<(), RegistryError> {
        let parameters: BTreeSet<_> = parameters.into_iter().collect();
        let owner = Owner::Seed(seed.clone());
        self.nobody_elses(&parameters, &owner)?;
        self.release_seed(seed);
        self.own(&parameters, &owner)?;
        self.seeds.insert(seed.clone(), parameters);
        Ok(())
    }

    /// Registers parameters of the teacher.
    ///
    /// # Errors
    /// [`RegistryError::Owned`] if one belongs to the host or a seed.
    pub fn register_teacher(&mut self, parameters: impl IntoIterator<Item = ParamId>) -> Result<(), RegistryError> {
        self.own(&parameters.into_iter().collect(), &Owner::Teacher)
    }

    /// Forgets the seed and its parameters. Returns how many there were.
    pub fn release_seed(&mut self, seed: &SeedId) -> usize {
        let released = self.seeds.remove(seed).unwrap_or_default();
        for parameter in &released {
            self.owners.remove(parameter);
        }
        released.len()
    }

    /// Forgets the host's parameters. Returns how many there were.
    pub fn release_host(&mut self) -> usize {
        self.release_owner(&Owner::Host)
    }

    /// Forgets the teacher's parameters. Returns how many there were.
    pub fn drop_teacher(&mut self) -> usize {
        self.release_owner(&Owner::Teacher)
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The owner of the parameter; `None` if it is not registered.
    #[must_use]
    pub fn owner(&self, parameter: ParamId) -> Option<&Owner> {
        self.owners.get(&parameter)
    }

    /// The seed's parameters.
    pub fn parameters_of(&self, seed: &SeedId) -> impl Iterator<Item = ParamId> {
        self.seeds.get(seed).into_iter().flat_map(|parameters| parameters.iter().copied())
    }

    /// Checks that `by` may update all of these parameters. O(log n) each.
    ///
    /// # Errors
    /// [`UpdateRefusal`] for the first one that it may not update.
    pub fn validate_update(
        &self,
        by: &Owner,
        parameters: impl IntoIterator<Item = ParamId>,
    ) -> Result<(), UpdateRefusal> {
        parameters.into_iter().try_for_each(|parameter| match self.owner(parameter) {
            None => Err(UpdateRefusal::Unregistered { parameter }),
            Some(Owner::Teacher) => Err(UpdateRefusal::Teacher { parameter }),
            Some(owner) if owner == by => Ok(()),
            Some(owner) => Err(UpdateRefusal::CrossSeed { parameter, owner: owner.clone(), by: by.clone() }),
        })
    }

    fn release_owner(&mut self, owner: &Owner) -> usize {
        let held = self.owners.len();
        self.owners.retain(|_, other| other != owner);
        held - self.owners.len()
    }

    fn own(&mut self, parameters: &BTreeSet<ParamId>, owner: &Owner) -> Result<(), RegistryError> {
        self.nobody_elses(parameters, owner)?;
        self.owners.extend(parameters.iter().map(|parameter| (*parameter, owner.clone())));
        Ok(())
    }

    fn nobody_elses(&self, parameters: &BTreeSet<ParamId>, owner: &Owner) -> Result<(), RegistryError> {
        parameters.iter().try_for_each(|parameter| match self.owners.get(parameter) {
            Some(other) if other != owner => Err(RegistryError::Owned { parameter: *parameter, owner: other.clone() }),
            Some(_) | None => Ok(()),
        })
    }
}
