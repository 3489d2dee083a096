//! Libraries and the loader.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::common::{artifact, blueprint, digests};
use kasmina_kernel_load::doubles::{MemoryLibrary, conformance, sample_descriptor, sample_mlp};
use kasmina_kernel_load::{
    Artifact, ArtifactLimits, DirectoryLibrary, Initialisation, KernelLibrary, KernelLoader, LibraryError, LoadError,
    NoKernels, initialise,
};
use kasmina_leyline::v1::{BlueprintDescriptor, BlueprintParameterBounds, BlueprintTier};
use kasmina_leyline::{BlueprintId, Monotonic};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn every_library_conforms() {
    conformance(|kernels| {
        let library = MemoryLibrary::new();
        for (bytes, descriptor) in kernels {
            let fetched = Artifact { bytes: bytes.clone(), digests: digests(bytes) };
            library.put(descriptor.clone(), &blueprint(&descriptor.blueprint_id), fetched);
        }
        Box::new(library) as Box<dyn KernelLibrary>
    });
    let directory = tempfile::tempdir().unwrap();
    conformance(|kernels| {
        let mut library = DirectoryLibrary::open_or_create(directory.path()).unwrap();
        for (bytes, descriptor) in kernels {
            assert_eq!(library.publish(bytes, descriptor.clone()), Ok(digests(bytes)));
        }
        library
    });
    let reopened = DirectoryLibrary::open_or_create(directory.path()).unwrap();
    let names: Vec<_> = reopened.blueprints().map(BlueprintId::as_str).collect();
    assert_eq!(names, ["conformance-1", "conformance-2"]);
}

#[test]
fn published_descriptor_is_read_back_unchanged() {
    let (directory, id) = (tempfile::tempdir().unwrap(), blueprint("bp/../1"));
    let descriptor = BlueprintDescriptor {
        name: "a \"name\"".into(),
        tier: BlueprintTier::HighRisk.into(),
        allowed_parameters: [("alpha".into(), BlueprintParameterBounds { min_value: -0.1, max_value: 1e300 })].into(),
        risk: 0.7,
        stage: 3,
        quarantine_only: true,
        approval_required: true,
        description: "words\nand words".into(),
        ..sample_descriptor(&id)
    };
    let mut library = DirectoryLibrary::open_or_create(directory.path()).unwrap();
    library.publish(&sample(&id, 1), descriptor.clone()).unwrap();
    let second = sample(&id, 2);
    library.publish(&second, descriptor.clone()).unwrap();
    let reopened = DirectoryLibrary::open(directory.path()).unwrap();
    assert_eq!(reopened.descriptor(&id), Ok(descriptor));
    assert_eq!(reopened.fetch(&id).unwrap().here().unwrap().bytes, second, "the later one replaces the earlier");
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 3, "two artifacts, one catalogue, nothing temporary");
}

#[test]
fn refused_publication_changes_nothing() {
    let (directory, id) = (tempfile::tempdir().unwrap(), blueprint("bp-1"));
    let mut library = DirectoryLibrary::open_or_create(directory.path()).unwrap();
    let good = sample_descriptor(&id);
    let range = BlueprintParameterBounds { min_value: 1.0, max_value: 0.0 };
    let bad = [
        sample_descriptor(&blueprint("bp-2")),
        BlueprintDescriptor { risk: f32::NAN, ..good.clone() },
        BlueprintDescriptor { tier: 77, ..good.clone() },
        BlueprintDescriptor { allowed_parameters: [("alpha".into(), range)].into(), ..good.clone() },
    ];
    for descriptor in bad {
        assert_eq!(library.publish(&sample(&id, 1), descriptor).unwrap_err().reason(), "invalid_descriptor");
    }
    assert_eq!(library.publish(b"nonsense", good.clone()).unwrap_err().reason(), "header_oversized");
    let bytes = sample(&id, 1);
    assert_eq!(library.publish(&bytes[..bytes.len() - 1], good).unwrap_err().reason(), "artifact_truncated");
    assert_eq!(library.blueprints().count(), 0);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the empty catalogue");
}

#[test]
fn malformed_catalogue_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let open = || DirectoryLibrary::open(directory.path()).unwrap_err();
    assert_eq!(open(), LibraryError::Missing { path: directory.path().join("catalogue.json") });
    for text in ["", "[]", "{", r#"{"bp-1": {}}"#, r#"{"bp-1": {"artifact": 1}}"#, "null"] {
        fs::write(directory.path().join("catalogue.json"), text).unwrap();
        assert_eq!(open().reason(), "catalogue_malformed", "{text}");
    }
    let with = |change: fn(&mut Value)| {
        rewrite(directory.path(), json!({"bp-1": entry("a.safetensors")}), change);
        open().reason()
    };
    assert_eq!(with(|c| c["bp-1"]["tier"] = json!("unheard_of")), "catalogue_malformed");
    assert_eq!(with(|c| c["bp-1"]["checksum"] = json!("ABC")), "catalogue_malformed");
    assert_eq!(with(|c| c["bp-1"]["surprise"] = json!(1)), "catalogue_malformed");
    assert_eq!(with(|c| c[" "] = entry("a.safetensors")), "catalogue_malformed");
    assert_eq!(
        with(|c| c["bp-1"]["allowed_parameters"] = json!({"a": {"min_value": 2, "max_value": 1}})),
        "invalid_descriptor"
    );
}

#[test]
fn artifact_name_that_leads_out_of_the_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["../secret", "/etc/passwd", "a/b", "a\\b", "..", ".", "", ".hidden", "C:x", "a\u{0}b", "\u{e9}"] {
        rewrite(directory.path(), json!({"bp-1": entry(name)}), |_| ());
        let error = DirectoryLibrary::open(directory.path()).unwrap_err();
        assert_eq!(error, LibraryError::FileName { blueprint: "bp-1".into(), name: name.into() });
    }
}

#[cfg(unix)]
#[test]
fn links_and_directories_are_refused_unread() {
    let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("secret"), "secret").unwrap();
    rewrite(directory.path(), json!({"bp-1": entry("link"), "bp-2": entry("folder"), "bp-3": entry("gone")}), |_| ());
    std::os::unix::fs::symlink(outside.path().join("secret"), directory.path().join("link")).unwrap();
    fs::create_dir(directory.path().join("folder")).unwrap();
    let library = DirectoryLibrary::open(directory.path()).unwrap();
    let fetch = |name| library.fetch(&blueprint(name)).unwrap_err().reason();
    assert_eq!([fetch("bp-1"), fetch("bp-2")], ["library_not_a_file"; 2]);
    assert_eq!(fetch("bp-3"), "library_file_missing");
}

#[test]
fn file_beyond_the_limit_is_refused() {
    let (directory, id) = (tempfile::tempdir().unwrap(), blueprint("bp-1"));
    let mut library = DirectoryLibrary::open_or_create(directory.path()).unwrap();
    let bytes = sample(&id, 1);
    library.publish(&bytes, sample_descriptor(&id)).unwrap();
    let with = |max_bytes| {
        let limits = ArtifactLimits { max_bytes, ..Default::default() };
        DirectoryLibrary::open(directory.path()).unwrap().with_limits(limits).fetch(&id)
    };
    assert!(with(bytes.len()).is_ok());
    assert_eq!(with(bytes.len() - 1).unwrap_err().reason(), "library_file_too_large");
}

#[test]
fn kernel_is_fetched_once_and_again_after_its_time() {
    let (library, id) = (MemoryLibrary::new(), blueprint("bp-1"));
    let promised = library.add(&sample_mlp(id.clone(), 4).unwrap(), &Initialisation::default()).unwrap();
    let mut loader = KernelLoader::new(library.clone(), 1 << 20, HOUR);
    let start = Monotonic::ORIGIN;
    let first = loader.load(&id, start).unwrap().ready(&id).unwrap();
    assert_eq!(first.digests(), &promised);
    assert_eq!(loader.load(&id, start).unwrap().ready(&id), Ok(first));
    assert_eq!((library.fetches(), loader.stats().total.hits), (1, 1));
    loader.load(&id, start.after(HOUR * 2)).unwrap();
    assert_eq!(library.fetches(), 2);
    assert_eq!(loader.purge().entries(), 1);
    loader.load(&id, start.after(HOUR * 2)).unwrap();
    assert_eq!(library.fetches(), 3);
    assert_eq!(loader.collect(start.after(HOUR * 4)).entries(), 1);
    assert_eq!(loader.descriptor(&id), Ok(sample_descriptor(&id)));
}

#[test]
fn kernel_too_large_for_the_cache_is_returned_uncached() {
    let (library, id) = (MemoryLibrary::new(), blueprint("bp-1"));
    library.add(&sample_mlp(id.clone(), 4).unwrap(), &Initialisation::default()).unwrap();
    let mut loader = KernelLoader::new(library.clone(), 8, HOUR);
    for fetches in 1..3 {
        assert!(loader.load(&id, Monotonic::ORIGIN).is_ok());
        assert_eq!((library.fetches(), loader.stats().entries), (fetches, 0));
    }
}

#[test]
fn failed_load_returns_no_kernel_and_is_not_cached() {
    let (library, id, other) = (MemoryLibrary::new(), blueprint("bp-1"), blueprint("bp-2"));
    let digests = library.add(&sample_mlp(id.clone(), 4).unwrap(), &Initialisation::default()).unwrap();
    let good = library.fetch(&id).unwrap().here().unwrap();
    let mut loader = KernelLoader::new(library.clone(), 1 << 20, HOUR);
    let mut reason = |id: &BlueprintId| loader.load(id, Monotonic::ORIGIN).unwrap_err().reason();

    assert_eq!(reason(&other), "unknown_blueprint");
    library.fail(&id, LibraryError::Unavailable { detail: "no route".into() });
    assert_eq!(reason(&id), "library_unavailable");
    library.fail(&id, None);
    library.put(sample_descriptor(&id), &id, Artifact { bytes: vec![1, 2, 3], digests });
    assert_eq!(reason(&id), "checksum_mismatch");
    library.put(sample_descriptor(&other), &other, good.clone());
    assert_eq!(reason(&other), "wrong_blueprint");
    library.put(sample_descriptor(&id), &id, good);
    assert!(loader.load(&id, Monotonic::ORIGIN).is_ok());

    let mut none = KernelLoader::new(NoKernels, 1 << 20, HOUR);
    let unknown = LoadError::Library(LibraryError::UnknownBlueprint { blueprint: id.clone() });
    assert_eq!(none.load(&id, Monotonic::ORIGIN), Err(unknown.clone()));
    assert_eq!(none.descriptor(&id), Err(unknown));
}

#[test]
fn artifact_beyond_the_loaders_limits_is_refused() {
    let (library, id) = (MemoryLibrary::new(), blueprint("bp-1"));
    library.add(&sample_mlp(id.clone(), 4).unwrap(), &Initialisation::default()).unwrap();
    let limits: ArtifactLimits = serde_json::from_value(json!({"max_bytes": 10})).unwrap();
    assert_eq!(limits, ArtifactLimits { max_bytes: 10, ..Default::default() });
    assert!(serde_json::from_value::<ArtifactLimits>(json!({"max_byte": 10})).is_err());
    let mut loader = KernelLoader::new(library, 1 << 20, HOUR).with_limits(limits);
    assert_eq!(loader.load(&id, Monotonic::ORIGIN).unwrap_err().reason(), "artifact_oversized");
}

fn sample(id: &BlueprintId, seed: u64) -> Vec<u8> {
    let manifest = sample_mlp(id.clone(), 4).unwrap();
    if seed == 1 { initialise(&manifest, &Initialisation::default()).unwrap() } else { artifact(&manifest, seed) }
}

fn entry(artifact: &str) -> Value {
    let digest = "0".repeat(64);
    json!({
        "artifact": artifact, "checksum": digest, "guard_digest": digest, "name": "n", "tier": "safe", "risk": 0.5,
        "quarantine_only": false, "approval_required": false,
    })
}

fn rewrite(directory: &Path, mut catalogue: Value, change: fn(&mut Value)) {
    change(&mut catalogue);
    fs::write(directory.join("catalogue.json"), catalogue.to_string()).unwrap();
}
