//! Writes a grown network.

use std::collections::BTreeSet;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{TensorData, backend::Backend};
use kasmina_kernel_load::container::{self, Header, TensorEntry, excerpt};

use crate::collect::{Collect, Place};
use crate::digest;
use crate::dtype::Element;
use crate::manifest::{DIGEST_KEY, FORMAT_VERSION, GrownManifest, HOST, MANIFEST_KEY, fossil_tensor};
use crate::{Grown, GrownError};

/// A tensor of the file.
struct Out {
    place: Place,
    element: Element,
    bytes: Vec<u8>,
}

impl<B: Backend, H: Module<B>> Grown<B, H> {
    /// Writes the network to one safetensors file, which any reader of safetensors can read: see [`GrownFile`](crate::GrownFile) for what is in it. The file is
    /// replaced atomically and synced. All tensors are in memory at once.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes), and [`GrownError::Io`]. Then an old file is still there.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), GrownError> {
        let (path, bytes) = (path.as_ref(), self.to_bytes()?);
        container::replace(path, &bytes)
            .map_err(|error| GrownError::Io { path: path.to_owned(), detail: error.to_string() })
    }

    /// The content of the file that [`save`](Self::save) writes. The same network gives the same bytes.
    ///
    /// # Errors
    /// [`GrownError::JoinPending`]; [`GrownError::NonFinite`], because nobody could load such a file; [`GrownError::TensorDtype`] for quantised tensors;
    /// [`GrownError::TensorTwice`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, GrownError> {
        let seeds = self.pending().seeds();
        if !seeds.is_empty() {
            return Err(GrownError::JoinPending { seeds });
        }
        let (mut tensors, mut mapped) = (Vec::new(), BTreeSet::new());
        for (place, data) in Collect::tensors(&self.host) {
            if place.mapped {
                mapped.insert(place.name.clone());
            }
            tensors.push(out(Place { name: format!("{HOST}{}", place.name), ..place }, &data)?);
        }
        for fossil in self.fossils() {
            for (place, data) in Collect::tensors(fossil.kernel()) {
                tensors.push(out(Place { name: fossil_tensor(fossil.spec(), &place.name), ..place }, &data)?);
            }
        }
        // Wide elements first, so that each is aligned to its width.
        tensors.sort_by(|a, b| (b.element.width, &a.place.name).cmp(&(a.element.width, &b.place.name)));

        let fossils = self.fossils().iter().map(|fossil| fossil.spec().clone()).collect();
        let ids = tensors.iter().map(|out| (out.place.name.clone(), out.place.id.val())).collect();
        let manifest = GrownManifest { format_version: FORMAT_VERSION, fossils, ids, mapped }.to_json()?;
        let mut header = Header::default();
        header.metadata.insert(MANIFEST_KEY.to_owned(), manifest);
        header.metadata.insert(DIGEST_KEY.to_owned(), digest::BLANK.to_owned());
        let mut end = 0;
        for Out { place, element, bytes } in &tensors {
            let data_offsets = [end, end + bytes.len()];
            let entry = TensorEntry { dtype: element.name.to_owned(), shape: place.shape.clone(), data_offsets };
            end += bytes.len();
            if header.tensors.insert(place.name.clone(), entry).is_some() {
                return Err(GrownError::TensorTwice { name: excerpt(&place.name) });
            }
        }
        let mut file = container::write(&header)?;
        file.reserve_exact(end);
        tensors.into_iter().for_each(|out| file.extend(out.bytes));
        digest::seal(&mut file)?;
        Ok(file)
    }
}

fn out(place: Place, data: &TensorData) -> Result<Out, GrownError> {
    let name = || excerpt(&place.name);
    let element = Element::of(data.dtype).ok_or_else(|| GrownError::TensorDtype {
        name: name(),
        expected: "a float, an integer or a truth value",
        got: format!("{:?}", data.dtype),
    })?;
    let bytes = element.bytes(data);
    match element.first_invalid(&bytes) {
        None => Ok(Out { element, bytes, place }),
        Some(index) => Err(GrownError::NonFinite { name: name(), index }),
    }
}
