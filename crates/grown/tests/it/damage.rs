//! Damaged files: each has its error, and none is loaded as something else.

use std::sync::OnceLock;

use burn::backend::Flex;
use kasmina_grown::{Grown, GrownError, GrownFile, GrownLimits};
use proptest::prelude::*;

use crate::common::{Host, fossil, trained};

/// A valid file.
pub(crate) fn valid() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| trained().to_bytes().unwrap())
}

pub(crate) fn load(bytes: Vec<u8>) -> Result<Grown<Flex, Host<Flex>>, GrownError> {
    GrownFile::verify(bytes, GrownLimits::default())?.build(Host::new(), &Default::default())
}

fn refused(bytes: Vec<u8>) -> &'static str {
    load(bytes).unwrap_err().reason()
}

#[test]
fn file_cut_anywhere_is_truncated() {
    let header = 8 + u64::from_le_bytes(valid()[..8].try_into().unwrap()) as usize;
    for length in (0..header).step_by(97).chain(header..valid().len()) {
        assert_eq!(refused(valid()[..length].to_vec()), "grown_truncated", "{length} bytes");
    }
    assert_eq!(refused([valid(), b"x"].concat()), "grown_trailing_bytes");
}

#[test]
fn files_of_other_programs_are_foreign() {
    let tensors: Vec<(String, safetensors::tensor::TensorView<'_>)> = Vec::new();
    assert_eq!(refused(safetensors::serialize(tensors, None).unwrap()), "not_a_grown_network");
    let kernel = fossil::<Flex>("seed-1", "mid").to_artifact().unwrap();
    assert_eq!(refused(kernel), "not_a_grown_network");
    assert_eq!(refused(b"{\"json\": true, \"of\": \"another program\"}".to_vec()), "grown_header_oversized");
    assert_eq!(refused(b"\x08\0\0\0\0\0\0\0not json".to_vec()), "grown_header_malformed");
}

#[test]
fn flipped_weight_is_found_by_the_digest() {
    let mut bytes = valid().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(refused(bytes), "grown_digest_mismatch");
}

#[test]
fn paths_that_are_no_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(GrownFile::read(directory.path()).unwrap_err().reason(), "grown_not_a_file");
    assert_eq!(GrownFile::read(directory.path().join("none")).unwrap_err().reason(), "grown_io");
    let path = directory.path().join("network");
    std::fs::write(&path, valid()).unwrap();
    let limits = GrownLimits { max_bytes: valid().len() as u64 - 1, ..Default::default() };
    let error = GrownFile::read_with(&path, limits).unwrap_err();
    assert_eq!(error, GrownError::Oversized { limit: limits.max_bytes, got: valid().len() as u64 });
    let limits = GrownLimits { max_header_bytes: 100, ..Default::default() };
    assert_eq!(GrownFile::read_with(&path, limits).unwrap_err().reason(), "grown_header_oversized");
    let limits = GrownLimits { max_fossils: 1, ..Default::default() };
    assert_eq!(GrownFile::read_with(&path, limits).unwrap_err().reason(), "too_many_fossils");
    assert!(GrownFile::read(&path).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(load(bytes).is_err());
    }

    #[test]
    fn random_header_is_refused(text in "[\\[\\]{}\":,a-z0-9_ ]{0,80}", data in prop::collection::vec(any::<u8>(), 0..40)) {
        let bytes = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &data].concat();
        prop_assert!(load(bytes).is_err());
    }

    #[test]
    fn one_changed_byte_is_refused(position in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let mut bytes = valid().to_vec();
        let position = position.index(bytes.len());
        bytes[position] ^= change;
        prop_assert!(load(bytes).is_err(), "byte {position} changed by {change}");
    }
}
