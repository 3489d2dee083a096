//! A teacher in a file: what it will take is known before it is read.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use burn::{
    module::Module,
    store::{ModuleSnapshot, SafetensorsStore},
    tensor::backend::Backend,
};
use kasmina_grown::{Grown, GrownFile, GrownLimits, MANIFEST_KEY};
use kasmina_kernel_load::container::{self, Header, TensorEntry, excerpt};
use kasmina_memory::{Pool, Reservation};

use crate::{DistillError, Teacher};

/// The longest header that is read: room for some 200,000 tensors. Our choice, and that of grown networks.
const MOST_HEADER_BYTES: usize = 64 << 20;
/// Of the field before the header, which says how long that is.
const LENGTH: u64 = 8;

/// A safetensors file that is to become a teacher. Nothing but its header has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeacherFile {
    path: PathBuf,
    file_bytes: u64,
    tensor_bytes: u64,
    tensors: usize,
    is_grown: bool,
}

impl TeacherFile {
    /// Looks at the size and the header of the file, and at nothing else.
    ///
    /// # Errors
    /// [`DistillError::Io`]; [`DistillError::Malformed`] if it is not a safetensors file, has tensors of types that no module has, or is
    /// not as long as its header says.
    pub fn inspect(path: impl AsRef<Path>) -> Result<Self, DistillError> {
        let path = path.as_ref();
        let io = io_error(path);
        let metadata = std::fs::metadata(path).map_err(&io)?;
        if !metadata.is_file() {
            return Err(malformed(path, "it is not a file"));
        }
        let file_bytes = metadata.len();
        let mut file = File::open(path).map_err(&io)?;
        let mut begin = Vec::new();
        file.by_ref().take(LENGTH).read_to_end(&mut begin).map_err(&io)?;
        let declared = begin.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        // No more is read than may be in a header, and no more memory taken than the file has bytes.
        file.take(declared.min(MOST_HEADER_BYTES as u64)).read_to_end(&mut begin).map_err(&io)?;
        let (text, _) = container::split(&begin, MOST_HEADER_BYTES).map_err(|error| malformed(path, error))?;
        let header = container::parse(text).map_err(|error| malformed(path, error))?;
        let expected = check_layout(&header).map_err(|detail| malformed(path, detail))?;
        let data = file_bytes.saturating_sub(begin.len() as u64);
        if data != expected {
            return Err(malformed(path, format_args!("its tensors have {data} bytes, its header says {expected}")));
        }
        Ok(Self {
            path: path.to_owned(),
            file_bytes,
            tensor_bytes: header.tensors.values().map(in_memory).fold(0, u64::saturating_add),
            tensors: header.tensors.len(),
            is_grown: header.metadata.contains_key(MANIFEST_KEY),
        })
    }

    /// What the teacher will hold once it is loaded. Floats count for at least four bytes each, because a backend may widen narrower ones.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.tensor_bytes
    }

    /// What must be reserved to load it: the file is in memory beside the tensors until all of them are there. What is too much is given back
    /// then.
    #[must_use]
    pub const fn bytes_to_load(&self) -> u64 {
        self.file_bytes.saturating_add(self.tensor_bytes)
    }

    /// How many tensors there are.
    #[must_use]
    pub const fn tensors(&self) -> usize {
        self.tensors
    }

    /// Whether it is a file of a grown network, for [`load_grown`](Self::load_grown).
    #[must_use]
    pub const fn is_grown(&self) -> bool {
        self.is_grown
    }

    /// Reads the tensors into `module`, which must have exactly these, by Burn's names. Its own weights do not matter. The parameters get
    /// new ids.
    ///
    /// # Errors
    /// [`DistillError::Unreserved`], [`DistillError::Io`], [`DistillError::Changed`]; [`DistillError::NotFinite`] if a weight is not;
    /// [`DistillError::Mismatch`] if the module has other tensors. The reservation is given back.
    pub fn load_module<B: Backend, M: Module<B>>(
        &self,
        mut module: M,
        reservation: Reservation,
    ) -> Result<Teacher<B, M>, DistillError> {
        let bytes = self.read(&reservation)?;
        self.check_finite(&bytes)?;
        let mismatch = |detail: String| DistillError::Mismatch { path: self.path.clone(), detail: excerpt(&detail) };
        let mut store = SafetensorsStore::from_bytes(Some(bytes));
        let applied = module.load_from(&mut store).map_err(|error| mismatch(error.to_string()))?;
        if let Some(name) = applied.unused.first() {
            return Err(mismatch(format!("the module has no tensor {name}")));
        }
        drop(store);
        Ok(Teacher::loaded(module, reservation))
    }

    /// Reads a grown network. `host` is a host of the same structure, and its own weights do not matter. The parameters get new ids, so that
    /// a network can learn from an older state of itself.
    ///
    /// # Errors
    /// As [`load_module`](Self::load_module), and [`DistillError::Grown`].
    pub fn load_grown<B: Backend, H: Module<B>>(
        &self,
        host: H,
        reservation: Reservation,
        device: &B::Device,
    ) -> Result<Teacher<B, Grown<B, H>>, DistillError>
    where
        Grown<B, H>: Module<B>,
    {
        let bytes = self.read(&reservation)?;
        let grown = GrownFile::verify(bytes, GrownLimits::default())?.build(host, device)?;
        Ok(Teacher::loaded(grown, reservation))
    }

    /// The file's bytes, if they are reserved and as many as they were.
    fn read(&self, reservation: &Reservation) -> Result<Vec<u8>, DistillError> {
        let reserved = if reservation.pool() == Pool::Teacher { reservation.bytes() } else { 0 };
        if reserved < self.bytes_to_load() {
            return Err(DistillError::Unreserved { needed: self.bytes_to_load(), reserved });
        }
        let io = io_error(&self.path);
        let file = File::open(&self.path).map_err(&io)?;
        let mut bytes = Vec::new();
        file.take(self.file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(&io)?;
        let (expected, got) = (self.file_bytes, bytes.len() as u64);
        if got != expected {
            return Err(DistillError::Changed { path: self.path.clone(), expected, got });
        }
        Ok(bytes)
    }

    /// Checks that all floats are finite. The header is read again: the file may be another one of the same size.
    fn check_finite(&self, bytes: &[u8]) -> Result<(), DistillError> {
        let unreadable = |error| malformed(&self.path, error);
        let (text, data) = container::split(bytes, MOST_HEADER_BYTES).map_err(unreadable)?;
        let header = container::parse(text).map_err(unreadable)?;
        let expected = check_layout(&header).map_err(|detail| malformed(&self.path, detail))?;
        if expected != data.len() as u64 {
            return Err(malformed(&self.path, "its tensors are not where its header says"));
        }
        let mut tensors = header.tensors.values();
        let finite = tensors.all(|entry| {
            let [from, to] = entry.data_offsets;
            data.get(from..to).is_some_and(|bytes| all_finite(&entry.dtype, bytes))
        });
        if finite { Ok(()) } else { Err(DistillError::NotFinite { what: "weights" }) }
    }
}

/// Checks that the tensors follow each other without gaps, in some order, and returns where they end.
fn check_layout(header: &Header) -> Result<u64, String> {
    let mut entries: Vec<_> = header.tensors.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut begin = 0_usize;
    for (name, TensorEntry { dtype, shape, data_offsets }) in entries {
        let width = width(dtype).ok_or_else(|| format!("tensor {} has dtype {}", excerpt(name), excerpt(dtype)))?;
        let bytes = shape.iter().fold(width, |product, axis| product.saturating_mul(*axis));
        let end = begin.saturating_add(bytes);
        if *data_offsets != [begin, end] {
            let name = excerpt(name);
            return Err(format!("tensor {name} is at bytes {data_offsets:?} of the data, expected {:?}", [begin, end]));
        }
        begin = end;
    }
    Ok(begin as u64)
}

/// Bytes of one element.
fn width(dtype: &str) -> Option<usize> {
    match dtype {
        "F64" | "I64" | "U64" => Some(8),
        "F32" | "I32" | "U32" => Some(4),
        "F16" | "BF16" | "I16" | "U16" => Some(2),
        "I8" | "U8" | "BOOL" => Some(1),
        _ => None,
    }
}

/// What a tensor takes in memory at most.
fn in_memory(entry: &TensorEntry) -> u64 {
    let elements = entry.shape.iter().fold(1_u64, |product, axis| product.saturating_mul(*axis as u64));
    let width = width(&entry.dtype).unwrap_or(8).max(4);
    elements.saturating_mul(width as u64)
}

fn all_finite(dtype: &str, bytes: &[u8]) -> bool {
    let half = |exponent: u16| bytes.as_chunks().0.iter().all(|it| u16::from_le_bytes(*it) & exponent != exponent);
    match dtype {
        "F64" => bytes.as_chunks().0.iter().all(|it| f64::from_le_bytes(*it).is_finite()),
        "F32" => bytes.as_chunks().0.iter().all(|it| f32::from_le_bytes(*it).is_finite()),
        "F16" => half(0x7c00),
        "BF16" => half(0x7f80),
        _ => true,
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> DistillError {
    |error| DistillError::Io { path: path.to_owned(), detail: error.to_string() }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(path: &Path, detail: impl ToString) -> DistillError {
    DistillError::Malformed { path: path.to_owned(), detail: detail.to_string() }
}
