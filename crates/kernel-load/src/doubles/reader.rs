//! The suite for implementers of a reader.

use crate::{ArtifactReader, LibraryError};

/// Call it in a test. `build` makes a reader of these files, by name.
///
/// # Panics
/// If a promise of the trait is broken.
pub fn reader_conformance<R: ArtifactReader>(build: impl FnOnce(&[(&str, &[u8])]) -> R) {
    let reader = build(&[("conformance-1.safetensors", b"first"), ("conformance-2.safetensors", b"")]);
    for limit in [5, 6, usize::MAX] {
        assert_eq!(reader.read("conformance-1.safetensors", limit), Ok(b"first".to_vec()), "with the limit {limit}");
    }
    assert_eq!(reader.read("conformance-2.safetensors", 0), Ok(Vec::new()), "an empty file");
    let too_large = reader.read("conformance-1.safetensors", 4);
    assert!(matches!(too_large, Err(LibraryError::TooLarge { limit: 4, .. })), "{too_large:?}");
    let absent = reader.read("conformance-3.safetensors", 5);
    assert!(matches!(absent, Err(LibraryError::Missing { .. })), "{absent:?}");
    let long = "/".repeat(1 << 20);
    for hostile in ["", ".", "..", "../conformance-1.safetensors", "/etc/hostname", "a/../b", "a\0b", "C:b", "~", &long]
    {
        let refused = reader.read(hostile, usize::MAX);
        assert!(matches!(refused, Err(LibraryError::Reference { .. })), "{hostile:.80?}: {refused:?}");
    }
}
