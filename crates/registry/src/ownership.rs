//! The seam through which a training pass asks who owns a parameter.

use std::collections::BTreeSet;

use burn::module::ParamId;

use crate::{Owner, Registry, RegistryError, UpdateRefusal};

/// Says who owns a parameter, and who may update it.
///
/// If it wrongly allows an update, an optimizer changes a parameter of another owner, which Kasmina promises never to do. If it
/// wrongly refuses one, an update is lost. So [`OwnsNothing`] refuses.
pub trait Ownership {
    /// The owner of the parameter; `None` if it is not registered.
    fn owner(&self, parameter: ParamId) -> Option<&Owner>;

    /// Checks that `by` may update all of these parameters. An empty set is always allowed.
    ///
    /// # Errors
    /// [`UpdateRefusal`] for the lowest id that `by` may not update.
    fn validate_update(&self, by: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), UpdateRefusal>;

    /// Registers the parameters as the owner's. A seed's new parameters replace its old ones; those of the host and the teacher are
    /// added to theirs. Registering the same parameters again changes nothing.
    ///
    /// # Errors
    /// [`RegistryError`] if a parameter belongs to another owner. Then nothing is registered.
    fn register(&mut self, owner: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), RegistryError>;

    /// Forgets the owner's parameters. Returns how many there were.
    fn release(&mut self, owner: &Owner) -> usize;
}

impl Ownership for Registry {
    fn owner(&self, parameter: ParamId) -> Option<&Owner> {
        Registry::owner(self, parameter)
    }

    fn validate_update(&self, by: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), UpdateRefusal> {
        Registry::validate_update(self, by, parameters.iter().copied())
    }

    fn register(&mut self, owner: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), RegistryError> {
        let parameters = parameters.iter().copied();
        match owner {
            Owner::Host => self.register_host(parameters),
            Owner::Teacher => self.register_teacher(parameters),
            Owner::Seed(seed) => self.register_seed(seed, parameters),
        }
    }

    fn release(&mut self, owner: &Owner) -> usize {
        match owner {
            Owner::Host => self.release_host(),
            Owner::Teacher => self.drop_teacher(),
            Owner::Seed(seed) => self.release_seed(seed),
        }
    }
}

/// The null object: it owns nothing, registers nothing and allows no update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnsNothing;

impl Ownership for OwnsNothing {
    fn owner(&self, _parameter: ParamId) -> Option<&Owner> {
        None
    }

    fn validate_update(&self, _by: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), UpdateRefusal> {
        parameters.first().map_or(Ok(()), |parameter| Err(UpdateRefusal::Unregistered { parameter: *parameter }))
    }

    fn register(&mut self, _owner: &Owner, _parameters: &BTreeSet<ParamId>) -> Result<(), RegistryError> {
        Err(RegistryError::NoRegistry)
    }

    fn release(&mut self, _owner: &Owner) -> usize {
        0
    }
}

impl<T: Ownership + ?Sized> Ownership for &mut T {
    fn owner(&self, parameter: ParamId) -> Option<&Owner> {
        (**self).owner(parameter)
    }

    fn validate_update(&self, by: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), UpdateRefusal> {
        (**self).validate_update(by, parameters)
    }

    fn register(&mut self, owner: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), RegistryError> {
        (**self).register(owner, parameters)
    }

    fn release(&mut self, owner: &Owner) -> usize {
        (**self).release(owner)
    }
}

impl<T: Ownership + ?Sized> Ownership for Box<T> {
    fn owner(&self, parameter: ParamId) -> Option<&Owner> {
        (**self).owner(parameter)
    }

    fn validate_update(&self, by: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), UpdateRefusal> {
        (**self).validate_update(by, parameters)
    }

    fn register(&mut self, owner: &Owner, parameters: &BTreeSet<ParamId>) -> Result<(), RegistryError> {
        (**self).register(owner, parameters)
    }

    fn release(&mut self, owner: &Owner) -> usize {
        (**self).release(owner)
    }
}
