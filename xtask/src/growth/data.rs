//! What the networks learn, and from where it is read.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use flate2::read::MultiGzDecoder;
use kasmina::kernel_load::Digest;

use super::{
    addition,
    examples::{Examples, Images, Sequences},
    idx::{self, IdxError},
    text::{self, TextError},
};
use crate::digits::{Digits, DigitsError, Split, shuffle};

/// The largest file that is read, unpacked. MNIST's largest has 47 MB.
const MOST_BYTES: u64 = 64 << 20;
/// Which images of MNIST are held out depends on this number alone.
const HOLD_OUT: u64 = 0x6d6e_6973_7421;

/// What `--data` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The images of this repository, 8 x 8.
    Digits,
    /// A directory with the four files of MNIST, packed with gzip or not.
    Mnist(PathBuf),
    /// Sums that are drawn here.
    Addition,
    /// The next character of a text in UTF-8, packed with gzip or not.
    Text(PathBuf),
}

/// Examples in three parts. Only the first is learned from, settings are chosen by the second, and the third is for the end.
pub(super) struct Data {
    pub(super) train: Examples,
    pub(super) validation: Examples,
    pub(super) test: Examples,
    /// Labels, or tokens.
    pub(super) classes: usize,
}

/// Why there is nothing to learn from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} has more than {MOST_BYTES} bytes when it is unpacked")]
    Large { path: PathBuf },
    #[error("{directory} has neither {name} nor {name}.gz")]
    Absent { directory: PathBuf, name: &'static str },
    #[error("{directory}: {name} {error}")]
    Idx { directory: PathBuf, name: &'static str, error: IdxError },
    #[error("{directory}: {images} images with {labels} labels")]
    Counts { directory: PathBuf, images: usize, labels: usize },
    #[error("{path} {error}")]
    Text { path: PathBuf, error: TextError },
    #[error("data/digits.csv.gz: {0}")]
    Digits(#[from] DigitsError),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "digits" => Ok(Self::Digits),
            None if text == "addition" => Ok(Self::Addition),
            Some(("mnist", path)) if !path.is_empty() => Ok(Self::Mnist(path.into())),
            Some(("text", path)) if !path.is_empty() => Ok(Self::Text(path.into())),
            None | Some(_) => Err("is not one of digits, mnist:DIR, addition, text:FILE".to_owned()),
        }
    }
}

/// The kind alone, without where it lies.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Digits => "digits",
            Self::Mnist(_) => "mnist",
            Self::Addition => "addition",
            Self::Text(_) => "text",
        })
    }
}

impl Source {
    pub(super) fn read(&self) -> Result<Data, DataError> {
        match self {
            Self::Digits => digits(),
            Self::Mnist(directory) => mnist(directory),
            Self::Addition => {
                let parts = addition::parts([20_000, 1_000, 2_000]);
                Ok(Data::of(parts.map(Examples::Sequences), addition::VOCABULARY))
            }
            Self::Text(path) => {
                let bytes = read(path)?.ok_or_else(|| absent(path))?;
                let read = text::parts(&bytes).map_err(|error| DataError::Text { path: path.clone(), error })?;
                Ok(Data::of(read.parts.map(Examples::Sequences), read.vocabulary))
            }
        }
    }
}

impl Data {
    fn of([train, validation, test]: [Examples; 3], classes: usize) -> Self {
        Self { train, validation, test, classes }
    }

    /// SHA-256 of all three parts: of what networks read, not of the files.
    pub(super) fn digest(&self) -> Digest {
        let [train, validation, test] = [&self.train, &self.validation, &self.test].map(Examples::fingerprint);
        Digest::of(format!("{}\n{train}\n{validation}\n{test}", self.classes).as_bytes())
    }

    /// The side of an image; for sequences, 0.
    pub(super) fn side(&self) -> usize {
        match &self.train {
            Examples::Images(images) => images.side,
            Examples::Sequences(_) => 0,
        }
    }

    /// The sequences that a network reads, if it is to read any.
    pub(super) fn sequences(&self) -> Option<&Sequences> {
        match &self.train {
            Examples::Images(_) => None,
            Examples::Sequences(sequences) => Some(sequences),
        }
    }
}

fn digits() -> Result<Data, DataError> {
    const INK: f32 = 16.0;
    let (train, test) = Digits::read()?.split();
    let (train, validation) = train.hold_out(180);
    let images = |split: Split| {
        let pixels = split.images.iter().flatten().map(|grey| (grey * INK).round() as u8).collect();
        Examples::Images(Images { side: 8, ink: INK as u8, pixels, labels: split.labels })
    };
    Ok(Data::of([train, validation, test].map(images), 10))
}

fn mnist(directory: &Path) -> Result<Data, DataError> {
    let train = labelled(directory, "train-images-idx3-ubyte", "train-labels-idx1-ubyte")?;
    let test = labelled(directory, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")?;
    let mut order: Vec<usize> = (0..train.labels.len()).collect();
    shuffle(&mut order, HOLD_OUT);
    let (learned, held) = order.split_at(order.len() - order.len() / 12);
    let part = |places: &[usize]| {
        let size = train.side * train.side;
        let image = |place: &usize| train.pixels.get(place * size..(place + 1) * size).unwrap_or_default();
        let pixels = places.iter().flat_map(image).copied().collect();
        let labels = places.iter().filter_map(|place| train.labels.get(*place)).copied().collect();
        Examples::Images(Images { pixels, labels, ..Images { side: train.side, ink: train.ink, ..Images::default() } })
    };
    Ok(Data::of([part(learned), part(held), Examples::Images(test)], 10))
}

fn labelled(directory: &Path, images: &'static str, labels: &'static str) -> Result<Images, DataError> {
    let file = |name: &'static str| {
        let packed = directory.join(format!("{name}.gz"));
        let found = match read(&directory.join(name))? {
            None => read(&packed)?,
            found => found,
        };
        found.ok_or(DataError::Absent { directory: directory.to_owned(), name })
    };
    let wrong = |name| move |error| DataError::Idx { directory: directory.to_owned(), name, error };
    let (image_file, label_file) = (file(images)?, file(labels)?);
    let pixels = idx::images(&image_file).map_err(wrong(images))?.to_vec();
    let labels = idx::labels(&label_file).map_err(wrong(labels))?.to_vec();
    let count = pixels.len() / (idx::SIDE * idx::SIDE);
    if count != labels.len() {
        return Err(DataError::Counts { directory: directory.to_owned(), images: count, labels: labels.len() });
    }
    Ok(Images { side: idx::SIDE, ink: u8::MAX, pixels, labels })
}

/// The bytes of a file, unpacked if they are gzip's; `None` if there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let bytes = bounded(file, path)?;
    let packed = bytes.starts_with(&[0x1f, 0x8b]);
    if packed { bounded(MultiGzDecoder::new(&bytes[..]), path).map(Some) } else { Ok(Some(bytes)) }
}

fn bounded(from: impl Read, path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    from.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES { Err(DataError::Large { path: path.to_owned() }) } else { Ok(bytes) }
}

fn absent(path: &Path) -> DataError {
    DataError::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() }
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
