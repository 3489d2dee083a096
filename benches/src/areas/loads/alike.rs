//! A library in which many kernels are one file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kasmina::{
    kernel_load::{
        Artifact, ArtifactLimits, Digests, Fetched, Initialisation, KernelLibrary, LibraryError,
        doubles::{sample_descriptor, sample_mlp},
        initialise,
    },
    leyline::{BlueprintId, v1::BlueprintDescriptor},
};

use super::LOADS;

/// Channels of a kernel whose file has 10 MB.
const CHANNELS: usize = 1_581;

/// One file of 10 MB that is read again for each load and serves as any number of kernels.
pub(super) struct Alike {
    file: PathBuf,
    /// Where in the file the name of its blueprint is.
    name_at: usize,
    digests: Vec<Digests>,
}

impl Alike {
    pub(super) fn new(file: &Path) -> Self {
        let first = blueprint(0);
        let manifest = sample_mlp(first.clone(), CHANNELS).expect("the layers chain");
        let bytes = initialise(&manifest, &Initialisation::default()).expect("a kernel");
        let name = first.as_str().as_bytes();
        let name_at = bytes.windows(name.len()).position(|it| it == name).expect("it is named");
        fs::write(file, &bytes).expect("written");
        let mut alike = Self { file: file.to_owned(), name_at, digests: Vec::new() };
        let digests =
            |index| Digests::of(&alike.read(&blueprint(index)), &ArtifactLimits::default()).expect("a kernel");
        alike.digests = (0..LOADS).map(digests).collect();
        alike
    }

    fn read(&self, blueprint: &BlueprintId) -> Vec<u8> {
        let mut bytes = fs::read(&self.file).expect("read");
        let name = blueprint.as_str().as_bytes();
        bytes[self.name_at..self.name_at + name.len()].copy_from_slice(name);
        bytes
    }
}

impl KernelLibrary for Alike {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        Ok(sample_descriptor(blueprint))
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        let number = blueprint.as_str().trim_start_matches("bp-").parse::<usize>().expect("one of these");
        Ok(Fetched::Here(Artifact { bytes: self.read(blueprint), digests: self.digests[number] }))
    }
}

pub(super) fn blueprint(index: usize) -> BlueprintId {
    BlueprintId::new(format!("bp-{index:03}")).expect("an id")
}
