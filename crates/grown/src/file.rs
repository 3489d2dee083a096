//! Reads a grown network: all checks first, then the tensors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use kasmina_kernel_load::container::{self, Header, TensorEntry, excerpt};
use kasmina_kernel_load::{ArtifactLimits, Digest};

use crate::collect::Kind;
use crate::dtype::Element;
use crate::manifest::{GrownManifest, HOST, MANIFEST_KEY, fossil_tensor};
use crate::{FossilSpec, GrownError, digest};

/// A file beyond one of these limits is refused. The defaults are our choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrownLimits {
    /// Bytes of the file. Default 64 GiB: 16 Gi parameters of four bytes. The whole file is read into memory.
    pub max_bytes: u64,
    /// Bytes of the header with the manifest. Default 64 MiB: room for some 200,000 tensors.
    pub max_header_bytes: usize,
    /// Fossils. Default 4096.
    pub max_fossils: usize,
    /// Of each kernel.
    pub kernel: ArtifactLimits,
}

impl Default for GrownLimits {
    fn default() -> Self {
        Self { max_bytes: 64 << 30, max_header_bytes: 64 << 20, max_fossils: 4096, kernel: ArtifactLimits::default() }
    }
}

/// The file of a grown network, verified. It is a safetensors file:
///
/// | tensor | what it is |
/// |---|---|
/// | `host.<path>` | a parameter or a running statistic of the host, as Burn's own stores name and lay it out |
/// | `fossil.<seed>.<path>` | a parameter of a fossil's kernel, for example `fossil.seed-1.layers.0.Linear.weight` |
///
/// The metadata has two entries. [`MANIFEST_KEY`] is JSON: the format version, the fossils (seed, slot, blend, layers, provenance) and the
/// ids of all parameters, by which an optimizer finds its state. [`DIGEST_KEY`](crate::DIGEST_KEY) is the SHA-256 of the file in which the
/// 64 digits of the digest are zeros. It finds damage; it proves nothing about who wrote the file.
#[derive(Clone)]
pub struct GrownFile {
    pub(crate) digest: Digest,
    pub(crate) manifest: GrownManifest,
    pub(crate) limits: GrownLimits,
    tensors: BTreeMap<String, Stored>,
    bytes: Vec<u8>,
}

/// A tensor in a file.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) element: Element,
    pub(crate) shape: Vec<usize>,
    /// Of the file.
    range: Range<usize>,
}

impl GrownFile {
    /// Reads and verifies the file at `path`, with the default limits.
    ///
    /// # Errors
    /// As [`read_with`](Self::read_with).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, GrownError> {
        Self::read_with(path, GrownLimits::default())
    }

    /// Reads and verifies the file at `path`.
    ///
    /// # Errors
    /// [`GrownError::Io`], [`GrownError::NotAFile`], and as [`verify`](Self::verify). No more than the limit is read.
    pub fn read_with(path: impl AsRef<Path>, limits: GrownLimits) -> Result<Self, GrownError> {
        let path = path.as_ref();
        let io = |error: std::io::Error| GrownError::Io { path: path.to_owned(), detail: error.to_string() };
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(GrownError::NotAFile { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        let most = limits.max_bytes.saturating_add(1);
        File::open(path).map_err(io)?.take(most).read_to_end(&mut bytes).map_err(io)?;
        Self::verify(bytes, limits)
    }

    /// Checks the content of a file.
    ///
    /// The checks run in this order, and the first that fails is the error: size, header, place of every tensor, the file's digest, manifest;
    /// then that the fossils have exactly the tensors of their layers, and that every number is finite. The host's tensors are compared with
    /// a host by [`build`](Self::build).
    ///
    /// # Errors
    /// [`GrownError`] has a variant for each check.
    pub fn verify(mut bytes: Vec<u8>, limits: GrownLimits) -> Result<Self, GrownError> {
        if bytes.len() as u64 > limits.max_bytes {
            return Err(GrownError::Oversized { limit: limits.max_bytes, got: bytes.len() as u64 });
        }
        let (text, data) = container::split(&bytes, limits.max_header_bytes)?;
        let start = bytes.len() - data.len();
        let header = container::parse(text)?;
        let tensors = lay_out(&header, start)?;
        let (expected, got) = (tensors.values().map(|stored| stored.range.end).max().unwrap_or(start), bytes.len());
        if got < expected {
            return Err(GrownError::Truncated { expected, got });
        }
        if got > expected {
            return Err(GrownError::TrailingBytes { expected, got });
        }
        let manifest = header.metadata.get(MANIFEST_KEY).ok_or(GrownError::Foreign { key: MANIFEST_KEY })?;
        let digest = digest::check(&mut bytes, &header)?;
        let manifest = GrownManifest::from_json(manifest)?;
        check_fossils(&manifest.fossils, &tensors, &limits)?;
        check_numbers(&manifest, &tensors, &bytes)?;
        Ok(Self { digest, manifest, limits, tensors, bytes })
    }

    /// The fossils in the file, in the order in which they became part of the host.
    #[must_use]
    pub fn fossils(&self) -> &[FossilSpec] {
        &self.manifest.fossils
    }

    /// The digest in the file, which is of all of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The host's tensors, without their prefix.
    pub(crate) fn host_tensors(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.tensors.iter().filter_map(|(name, stored)| Some((name.strip_prefix(HOST)?, stored)))
    }

    /// A tensor and its parameter's id.
    pub(crate) fn tensor(&self, name: &str) -> Option<(u64, &Stored, &[u8])> {
        let stored = self.tensors.get(name)?;
        Some((*self.manifest.ids.get(name)?, stored, self.bytes.get(stored.range.clone())?))
    }
}

impl fmt::Debug for GrownFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrownFile")
            .field("digest", &self.digest)
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

/// Checks that the tensors have known types and follow each other without gaps, in some order.
fn lay_out(header: &Header, start: usize) -> Result<BTreeMap<String, Stored>, GrownError> {
    let mut entries: Vec<_> = header.tensors.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let (mut tensors, mut begin) = (BTreeMap::new(), 0_usize);
    for (name, TensorEntry { dtype, shape, data_offsets }) in entries {
        let Some(element) = Element::named(dtype) else {
            let (name, got) = (excerpt(name), excerpt(dtype));
            return Err(GrownError::TensorDtype { name, expected: "a float, an integer or a truth value", got });
        };
        let bytes = shape.iter().fold(element.width, |product, &axis| product.saturating_mul(axis));
        let end = begin.saturating_add(bytes);
        if *data_offsets != [begin, end] {
            let (name, got) = (excerpt(name), *data_offsets);
            return Err(GrownError::TensorLayout { name, expected: [begin, end], got });
        }
        let range = start.saturating_add(begin)..start.saturating_add(end);
        tensors.insert(name.clone(), Stored { element, shape: shape.clone(), range });
        begin = end;
    }
    Ok(tensors)
}

/// Checks that every tensor that is not the host's belongs to a fossil, that the fossils have all of theirs, and that no two are of one seed.
fn check_fossils(
    fossils: &[FossilSpec],
    tensors: &BTreeMap<String, Stored>,
    limits: &GrownLimits,
) -> Result<(), GrownError> {
    if fossils.len() > limits.max_fossils {
        return Err(GrownError::TooManyFossils { limit: limits.max_fossils, got: fossils.len() });
    }
    let (mut seeds, mut planned) = (BTreeSet::new(), BTreeSet::new());
    for spec in fossils {
        if !seeds.insert(&spec.seed) {
            return Err(GrownError::SeedTwice { seed: spec.seed.clone() });
        }
        let plan = spec.manifest.tensors(&limits.kernel);
        for tensor in plan.map_err(|error| GrownError::Kernel { seed: spec.seed.clone(), error })? {
            let full = fossil_tensor(spec, &tensor.name);
            let name = || excerpt(&full);
            let stored = tensors.get(&full).ok_or_else(|| GrownError::TensorMissing { name: name() })?;
            if stored.shape != tensor.shape {
                let got = stored.shape.iter().copied().take(8).collect();
                return Err(GrownError::TensorShape { name: name(), expected: tensor.shape, got });
            }
            let expected = spec.manifest.contract.dtype.safetensors_name();
            if stored.element.name != expected {
                let got = stored.element.name.to_owned();
                return Err(GrownError::TensorDtype { name: name(), expected, got });
            }
            if !planned.insert(full.clone()) {
                return Err(GrownError::TensorTwice { name: name() });
            }
        }
    }
    match tensors.keys().find(|name| !name.starts_with(HOST) && !planned.contains(*name)) {
        None => Ok(()),
        Some(name) => Err(GrownError::TensorUnknown { name: excerpt(name) }),
    }
}

/// Checks that all tensors have ids, all ids have tensors, and all elements are ones that a module may have.
fn check_numbers(manifest: &GrownManifest, tensors: &BTreeMap<String, Stored>, bytes: &[u8]) -> Result<(), GrownError> {
    if let Some(name) = tensors.keys().find(|name| !manifest.ids.contains_key(*name)) {
        return Err(GrownError::TensorId { name: excerpt(name) });
    }
    if let Some(name) = manifest.ids.keys().find(|name| !tensors.contains_key(*name)) {
        return Err(GrownError::TensorMissing { name: excerpt(name) });
    }
    for (name, stored) in tensors {
        let elements = bytes.get(stored.range.clone()).unwrap_or_default();
        if let Some(index) = stored.element.first_invalid(elements) {
            let name = excerpt(name);
            return Err(match stored.element.kind {
                Kind::Bool => GrownError::NotBool { name, index },
                Kind::Float | Kind::Int => GrownError::NonFinite { name, index },
            });
        }
    }
    Ok(())
}
