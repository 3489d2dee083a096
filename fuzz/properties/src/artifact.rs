//! Kernel artifacts.

use kasmina_kernel_load::{
    ArtifactLimits, Digest, Digests, Initialisation, KernelDtype, Manifest, VerifiedArtifact, initialise, verify,
};

use crate::{choices::Choices, kernels::kernel};

/// So small that everything that is accepted can be made again in no time.
const LIMITS: ArtifactLimits = ArtifactLimits {
    max_bytes: 64 << 10,
    max_header_bytes: 16 << 10,
    max_parameters: 4 << 10,
    max_layers: 24,
    max_nesting: 4,
};

/// Bytes of an artifact, and the text of a manifest: what is accepted is whole, finite, and what the manifest says.
pub fn artifact(data: &[u8]) {
    let mut choices = Choices::new(&data[..data.len().min(LIMITS.max_bytes + 2)]);
    match choices.byte() % 3 {
        0 => drop(behind_the_checksum(choices.rest())),
        1 => described(&String::from_utf8_lossy(choices.rest())),
        _ => spoilt(choices),
    }
}

/// Verifies bytes against digests of their own, so that the checksum hides nothing behind it.
fn behind_the_checksum(bytes: &[u8]) -> Option<VerifiedArtifact> {
    let digests = match Digests::of(bytes, &LIMITS) {
        Ok(digests) => digests,
        Err(error) => {
            assert!(!error.reason().is_empty() && !error.to_string().is_empty());
            return None;
        }
    };
    let verified = match verify(bytes, &digests, &LIMITS) {
        Ok(verified) => verified,
        Err(error) => {
            assert!(!["checksum_mismatch", "guard_digest_mismatch"].contains(&error.reason()), "{error}");
            return None;
        }
    };
    assert_eq!(verify(bytes, &digests, &LIMITS).as_ref(), Ok(&verified), "the same again");
    assert_eq!(verified.digests(), &digests);
    let parameters = sound(verified.manifest());
    assert_eq!(verified.parameters_bytes(), 4 * parameters);

    let (length, rest) = bytes.split_first_chunk().expect("it has a header");
    let data = &rest[u64::from_le_bytes(*length) as usize..];
    let dtype = verified.manifest().contract.dtype;
    assert_eq!(data.len() as u64, dtype.width() as u64 * parameters, "no byte belongs to no parameter");
    if dtype == KernelDtype::F32 {
        let weights = data.as_chunks().0.iter().map(|weight| f32::from_le_bytes(*weight));
        assert!(weights.into_iter().all(f32::is_finite), "every parameter is finite");
    }

    let wrong = Digests { checksum: Digest::of(b"another file"), ..digests };
    assert_eq!(reason(bytes, &wrong), Some("checksum_mismatch"));
    let wrong = Digests { guard_digest: Digest::of(b"another manifest"), ..digests };
    assert_eq!(reason(bytes, &wrong), Some("guard_digest_mismatch"));
    Some(verified)
}

/// What every manifest of an accepted artifact keeps. Gives its parameters.
fn sound(manifest: &Manifest) -> u64 {
    canonical(manifest);
    assert_eq!(manifest.validate(&LIMITS), Ok(()));
    let tensors = manifest.tensors(&LIMITS).expect("it is valid");
    let parameters = tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>() as u64).sum();
    assert_eq!(manifest.parameter_count, parameters);
    assert!(parameters <= LIMITS.max_parameters);
    let mut names: Vec<_> = tensors.iter().map(|tensor| &tensor.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), tensors.len(), "each tensor has a name of its own");
    parameters
}

/// The canonical form is a fixed point, and its digest the guard digest.
fn canonical(manifest: &Manifest) {
    let text = manifest.canonical();
    assert!(text.is_ascii());
    let again = Manifest::from_json(&text).expect("a manifest can be read again");
    assert_eq!(&again, manifest);
    assert_eq!(again.canonical(), text);
    assert_eq!(again.guard_digest(), Digest::of(text.as_bytes()));
}

/// A text that is a manifest is one for good, and what is valid can be built.
fn described(text: &str) {
    let manifest = match Manifest::from_json(text) {
        Ok(manifest) => manifest,
        Err(error) => {
            assert!(!error.reason().is_empty() && !error.to_string().is_empty());
            return;
        }
    };
    canonical(&manifest);
    if manifest.validate(&LIMITS).is_ok() {
        sound(&manifest);
        let bytes = initialise(&manifest, &Initialisation::default()).expect("a valid kernel can be made");
        if bytes.len() <= LIMITS.max_bytes && header(&bytes) <= LIMITS.max_header_bytes {
            let verified = behind_the_checksum(&bytes).expect("what was made is accepted");
            assert_eq!(verified.manifest(), &manifest);
        }
    }
}

/// An artifact that somebody changed.
fn spoilt(mut choices: Choices<'_>) {
    let initialisation = Initialisation { seed: choices.byte().into(), zero_last: choices.flag() };
    let Some(manifest) = kernel(&mut choices) else { return };
    let original = initialise(&manifest, &initialisation).expect("a valid kernel can be made");
    if manifest.validate(&LIMITS).is_err() || header(&original) > LIMITS.max_header_bytes {
        return;
    }
    let verified = behind_the_checksum(&original).expect("what was made is accepted");
    assert_eq!(verified.manifest(), &manifest);

    let mut bytes = original.clone();
    if choices.flag() {
        weigh(&mut bytes, &mut choices);
    } else {
        choices.spoil(&mut bytes);
    }
    if bytes == original {
        return;
    }
    let refused = ["checksum_mismatch", "artifact_oversized"];
    let reason = reason(&bytes, verified.digests()).expect("accepted although bytes were changed");
    assert!(refused.contains(&reason), "{reason}");
    behind_the_checksum(&bytes);
}

/// Gives one parameter another value.
fn weigh(bytes: &mut [u8], choices: &mut Choices<'_>) {
    let (_, data) = bytes.split_at_mut(8 + header(bytes));
    let (weights, _) = data.as_chunks_mut::<4>();
    let index = choices.below(weights.len());
    let value = choices.pick(&WEIGHTS).unwrap_or_default();
    weights.iter_mut().skip(index).take(1).for_each(|weight| *weight = value.to_le_bytes());
}

const WEIGHTS: [f32; 6] = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, 1e-45, -0.0];

fn reason(bytes: &[u8], digests: &Digests) -> Option<&'static str> {
    verify(bytes, digests, &LIMITS).err().map(|error| error.reason())
}

fn header(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length) as usize)
}
