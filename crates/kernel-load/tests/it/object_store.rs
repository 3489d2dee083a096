//! Libraries in object stores: in memory, and on the file system.

#[cfg(feature = "aws")]
mod s3;

use std::fs;
use std::time::Duration;

use kasmina_kernel_load::doubles::{conformance, reader_conformance, sample_descriptor, sample_mlp};
use kasmina_kernel_load::{
    ArtifactReader, DirectoryLibrary, Initialisation, KernelLibrary, ObjectStoreLibrary, ObjectStoreReader, initialise,
};

use crate::common::{blueprint, digests};

/// No call takes so long.
const LONG: Duration = Duration::from_secs(60);

fn open(url: &str) -> ObjectStoreReader {
    ObjectStoreReader::open(url, [], LONG).unwrap()
}

fn url(directory: &std::path::Path) -> String {
    format!("file://{}", directory.display())
}

fn kernel(name: &str) -> Vec<u8> {
    initialise(&sample_mlp(blueprint(name), 4).unwrap(), &Initialisation::default()).unwrap()
}

fn filled(
    reader: ObjectStoreReader,
    kernels: &[(Vec<u8>, kasmina_leyline::v1::BlueprintDescriptor)],
) -> ObjectStoreLibrary {
    let mut library = ObjectStoreLibrary::open_or_create(reader).unwrap();
    for (artifact, descriptor) in kernels {
        assert_eq!(library.publish(artifact, descriptor.clone()).unwrap(), digests(artifact));
    }
    library
}

#[test]
fn libraries_in_memory_and_in_files_conform() {
    conformance(|kernels| filled(open("memory:///kernels"), kernels));
    let directory = tempfile::tempdir().unwrap();
    conformance(|kernels| {
        filled(open(&url(directory.path())), kernels);
        ObjectStoreLibrary::open(open(&url(directory.path()))).unwrap()
    });
}

#[test]
fn readers_of_files_conform() {
    let directory = tempfile::tempdir().unwrap();
    reader_conformance(|files| {
        files.iter().for_each(|(name, bytes)| fs::write(directory.path().join(name), bytes).unwrap());
        open(&url(directory.path()))
    });
}

#[test]
fn directory_and_object_store_read_what_the_other_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (blueprint("bp-1"), blueprint("bp-2"));
    let mut library = DirectoryLibrary::open_or_create(directory.path()).unwrap();
    library.publish(&kernel("bp-1"), sample_descriptor(&one)).unwrap();
    let mut stored = ObjectStoreLibrary::open(open(&url(directory.path()))).unwrap();
    assert_eq!(stored.fetch(&one), library.fetch(&one));
    stored.publish(&kernel("bp-2"), sample_descriptor(&two)).unwrap();
    let again = DirectoryLibrary::open(directory.path()).unwrap();
    assert_eq!(again.blueprints().collect::<Vec<_>>(), [&one, &two]);
    assert_eq!(again.fetch(&two), stored.fetch(&two));
}

#[test]
fn folder_without_a_catalogue_or_with_a_bad_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let reason = || ObjectStoreLibrary::open(open(&url(directory.path()))).unwrap_err().reason();
    assert_eq!(reason(), "library_file_missing");
    fs::write(directory.path().join("catalogue.json"), "{").unwrap();
    assert_eq!(reason(), "catalogue_malformed");
    let file = fs::File::create(directory.path().join("catalogue.json")).unwrap();
    file.set_len((16 << 20) + 1).unwrap();
    assert_eq!(reason(), "library_file_too_large");
}

#[test]
fn artifact_that_is_gone_or_grew_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let id = blueprint("bp-1");
    let library = filled(open(&url(directory.path())), &[(kernel("bp-1"), sample_descriptor(&id))]);
    let file = directory.path().join(format!("{}.safetensors", digests(&kernel("bp-1")).checksum));
    let limits = kasmina_kernel_load::ArtifactLimits { max_bytes: kernel("bp-1").len(), ..Default::default() };
    let library = library.with_limits(limits);
    assert!(library.fetch(&id).is_ok());
    fs::write(&file, vec![0; limits.max_bytes + 1]).unwrap();
    assert_eq!(library.fetch(&id).unwrap_err().reason(), "library_file_too_large");
    fs::remove_file(&file).unwrap();
    assert_eq!(library.fetch(&id).unwrap_err().reason(), "library_file_missing");
}

#[test]
fn publishing_what_does_not_verify_changes_nothing() {
    let (id, reader) = (blueprint("bp-1"), open("memory:///"));
    let mut library = ObjectStoreLibrary::open_or_create(reader.clone()).unwrap();
    let before = reader.read("catalogue.json", 1_000).unwrap();
    let refused = library.publish(&kernel("bp-2"), sample_descriptor(&id)).unwrap_err();
    assert_eq!(refused.reason(), "invalid_descriptor");
    let torn = &kernel("bp-1")[..20];
    assert!(library.publish(torn, sample_descriptor(&id)).is_err());
    assert_eq!(reader.read("catalogue.json", 1_000).unwrap(), before);
    assert_eq!(library.descriptor(&id).unwrap_err().reason(), "unknown_blueprint");
}

#[test]
fn malformed_or_unknown_url_is_an_error() {
    for url in ["", "kernels", "ftp://host/kernels", "s3://", "file://host/kernels"] {
        let error = ObjectStoreReader::open(url, [], LONG).unwrap_err();
        assert_eq!(error.reason(), "library_unavailable", "{url:?}");
    }
}

/// Opening a pipe blocks until somebody writes to it: the disk of a server that is gone.
#[cfg(unix)]
#[test]
fn store_that_does_not_answer_is_unavailable_and_let_go() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = ObjectStoreReader::open(&url(directory.path()), [], Duration::from_millis(20)).unwrap();
    let error = reader.read("pipe", 10).unwrap_err();
    assert_eq!(error.reason(), "library_unavailable");
    assert!(error.to_string().contains("20ms"), "{error}");
    // It returns although the store still hangs.
    drop(reader);
    fs::OpenOptions::new().write(true).open(pipe).unwrap();
}

#[test]
fn many_threads_read_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "bytes").unwrap();
    let reader = open(&url(directory.path()));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..16).map(|_| scope.spawn(|| reader.read("file", 10))).collect();
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() == Ok(b"bytes".to_vec())));
    });
}
