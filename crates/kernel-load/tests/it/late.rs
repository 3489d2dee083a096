//! Kernels that arrive late.

use std::time::Duration;

use kasmina_kernel_load::doubles::{conformance, late_library, sample_descriptor, sample_mlp};
use kasmina_kernel_load::{Artifact, Initialisation, KernelLoader, LibraryError, LoadError, Loaded};
use kasmina_leyline::{BlueprintId, Monotonic};

use crate::common::{blueprint, digests};

const NOW: Monotonic = Monotonic::ORIGIN;

#[test]
fn kernel_that_arrives_late_is_verified_kept_and_loaded() {
    let (library, handle) = late_library();
    let id = blueprint("bp-1");
    let promised = handle.library().add(&sample_mlp(id.clone(), 4).unwrap(), &Initialisation::default()).unwrap();
    let mut loader = KernelLoader::new(library, 1 << 20, Duration::from_secs(60));
    assert_eq!(loader.load(&id, NOW), Ok(Loaded::Later));
    assert_eq!(loader.load(&id, NOW).unwrap().ready(&id), Err(LoadError::NotHereYet { blueprint: id.clone() }));
    assert_eq!(handle.requested(), [id.clone(), id.clone()]);

    let artifact = handle.arrive(&id).unwrap();
    let delivered = loader.deliver(&id, &artifact, NOW).unwrap();
    assert_eq!(delivered.digests(), &promised);
    assert_eq!(loader.load(&id, NOW), Ok(Loaded::Ready(delivered)));
    assert_eq!((loader.stats().total.hits, handle.requested().len()), (1, 2), "it came from the cache");
}

#[test]
fn late_kernel_that_fails_a_check_is_refused_and_not_kept() {
    let (library, handle) = late_library();
    let (id, other) = (blueprint("bp-1"), blueprint("bp-2"));
    let digests = handle.library().add(&sample_mlp(id.clone(), 4).unwrap(), &Initialisation::default()).unwrap();
    let mut loader = KernelLoader::new(library, 1 << 20, Duration::from_secs(60));
    let good = handle.arrive(&id).unwrap();
    let torn = Artifact { bytes: good.bytes[1..].to_vec(), digests };
    assert_eq!(loader.deliver(&id, &torn, NOW).unwrap_err().reason(), "checksum_mismatch");
    assert_eq!(loader.deliver(&other, &good, NOW).unwrap_err().reason(), "wrong_blueprint");
    assert_eq!(loader.stats().entries, 0);
}

#[test]
fn unknown_or_failing_blueprint_is_an_error_at_once() {
    let (library, handle) = late_library();
    let mut loader = KernelLoader::new(library, 1 << 20, Duration::from_secs(60));
    let id = blueprint("bp-1");
    assert_eq!(loader.load(&id, NOW).unwrap_err().reason(), "unknown_blueprint");
    assert_eq!(handle.arrive(&id).unwrap_err().reason(), "unknown_blueprint");
    handle.library().fail(&id, LibraryError::Unavailable { detail: "no route".into() });
    assert_eq!(loader.load(&id, NOW).unwrap_err().reason(), "library_unavailable");
}

#[test]
fn library_conforms_once_everything_has_arrived() {
    conformance(|kernels| {
        let (library, handle) = late_library();
        for (bytes, descriptor) in kernels {
            let id = BlueprintId::new(&descriptor.blueprint_id).unwrap();
            assert_eq!(*descriptor, sample_descriptor(&id));
            handle.library().put(descriptor.clone(), &id, Artifact { bytes: bytes.clone(), digests: digests(bytes) });
            handle.arrive(&id).unwrap();
        }
        library
    });
}
