//! Builds a network from a verified file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::{Module, ParamId};
use burn::tensor::{DType, TensorData, backend::Backend};
use kasmina_kernel_load::KernelModule;
use kasmina_kernel_load::container::excerpt;

use crate::collect::{Collect, Kind};
use crate::file::{GrownFile, Stored};
use crate::manifest::{HOST, fossil_tensor};
use crate::put::Put;
use crate::{Fossil, Grown, GrownError};

type Tensors = BTreeMap<String, (ParamId, TensorData)>;

impl<B: Backend, H: Module<B>> Grown<B, H> {
    /// Reads the network from a file of [`save`](Self::save), onto `device`, with the default limits. `host` is a host of the same structure;
    /// its weights do not matter. Neither autodiff nor a manager is needed, and the backend may be another one than that of the training.
    ///
    /// # Errors
    /// As [`GrownFile::read`] and [`GrownFile::build`].
    pub fn load(path: impl AsRef<Path>, host: H, device: &B::Device) -> Result<Self, GrownError> {
        GrownFile::read(path)?.build(host, device)
    }
}

impl GrownFile {
    /// Builds the network on `device`: the fossils from the manifest, then the weights.
    ///
    /// `host` is a host of the same structure; its weights do not matter, and lazy ones may be initialised. What the file does not hold stays:
    /// which parameters learn, and fields that are no tensors. Floats get the element type of the file. Integers get it if the
    /// backend has it. Running statistics are shared between clones of a host, and are overwritten in place. Their ids are not restored.
    ///
    /// # Errors
    /// [`GrownError::HostMismatch`] if the host has other tensors; [`GrownError::DtypeUnsupported`]. Then the host is dropped, and its running
    /// statistics are as they were.
    pub fn build<B: Backend, H: Module<B>>(&self, host: H, device: &B::Device) -> Result<Grown<B, H>, GrownError> {
        self.check_host::<B, H>(&host)?;
        let names = self.host_tensors().map(|(name, _)| (format!("{HOST}{name}"), name.to_owned()));
        let host_tensors = self.tensors::<B>(names, device)?;
        let mut fossils = Vec::new();
        for spec in self.fossils() {
            let at = |error| GrownError::Kernel { seed: spec.seed.clone(), error };
            let plan = spec.manifest.tensors(&self.limits.kernel).map_err(at)?;
            let names = plan.into_iter().map(|tensor| (fossil_tensor(spec, &tensor.name), tensor.name));
            let mut put = Put::<B>::new(self.tensors::<B>(names, device)?, device);
            let kernel = KernelModule::blank(&spec.manifest, &self.limits.kernel, device).map_err(at)?.map(&mut put);
            fossils.push(Fossil::new(spec.clone(), kernel)?);
        }
        Grown::from_parts(host.map(&mut Put::<B>::new(host_tensors, device)), fossils)
    }

    /// Checks that the host has exactly the file's tensors.
    fn check_host<B: Backend, H: Module<B>>(&self, host: &H) -> Result<(), GrownError> {
        let mut stored: BTreeMap<_, _> = self.host_tensors().collect();
        let mut seen = BTreeSet::new();
        for place in Collect::shapes(host) {
            if !seen.insert(place.name.clone()) {
                return Err(GrownError::TensorTwice { name: excerpt(&place.name) });
            }
            let expected = describe(place.kind, &place.shape, place.mapped);
            let mapped = self.manifest.mapped.contains(&place.name);
            let got = stored.remove(place.name.as_str());
            let got = got.map(|stored| describe(stored.element.kind, &stored.shape, mapped));
            if got.as_ref() != Some(&expected) {
                let got = got.unwrap_or_else(|| "missing".to_owned());
                return Err(GrownError::HostMismatch { name: excerpt(&place.name), expected, got });
            }
        }
        match stored.first_key_value() {
            None => Ok(()),
            Some((name, stored)) => {
                let (expected, got) = ("missing".to_owned(), describe(stored.element.kind, &stored.shape, false));
                Err(GrownError::HostMismatch { name: excerpt(name), expected, got })
            }
        }
    }

    /// The data of tensors: pairs of a name in the file and one in a module.
    fn tensors<B: Backend>(
        &self,
        names: impl Iterator<Item = (String, String)>,
        device: &B::Device,
    ) -> Result<Tensors, GrownError> {
        let tensor = |(name, place): (String, String)| {
            let missing = || GrownError::TensorMissing { name: excerpt(&name) };
            let (id, stored, bytes) = self.tensor(&name).ok_or_else(missing)?;
            Ok((place, (ParamId::from(id), data::<B>(&name, stored, bytes, device)?)))
        };
        names.map(tensor).collect()
    }
}

fn data<B: Backend>(name: &str, stored: &Stored, bytes: &[u8], device: &B::Device) -> Result<TensorData, GrownError> {
    let dtype = stored.element.dtype;
    let data = TensorData::from_bytes_vec(bytes.to_vec(), stored.shape.clone(), dtype);
    let unsupported = || GrownError::DtypeUnsupported { name: excerpt(name), dtype: stored.element.name };
    match stored.element.kind {
        Kind::Bool => Ok(data),
        Kind::Float | Kind::Int if B::supports_dtype(device, dtype) => Ok(data),
        Kind::Float => Err(unsupported()),
        Kind::Int => {
            let here = data.clone().convert_dtype(int::<B>());
            if here.clone().convert_dtype(dtype) == data { Ok(here) } else { Err(unsupported()) }
        }
    }
}

/// The type of the backend's integers.
fn int<B: Backend>() -> DType {
    <B::IntElem as burn::tensor::Element>::dtype()
}

fn describe(kind: Kind, shape: &[usize], mapped: bool) -> String {
    let kind = match kind {
        Kind::Float => "floats",
        Kind::Int => "integers",
        Kind::Bool => "truth values",
    };
    let mapped = if mapped { " through a mapper" } else { "" };
    format!("{kind} {:?}{mapped}", &shape[..shape.len().min(8)])
}
