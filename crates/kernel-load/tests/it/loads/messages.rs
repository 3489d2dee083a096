//! A library that is sent messages, over real files.

use std::fs;

use kasmina_kernel_load::doubles::{Postbox, reader_conformance};
use kasmina_kernel_load::{
    Answered::{Late, Taken, Unknown},
    Answers, ArtifactLimits, ArtifactReader, DirectoryReader, LibraryError, NoKernels,
};
use kasmina_leyline::v1::{KernelArtifactError, KernelArtifactReady, KernelPrefetchRequest};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A manager, the requests that it sends, the way for the answers, and the directory that they name files in.
struct World {
    manager: KernelLoadManager,
    post: Postbox,
    answers: Answers,
    directory: TempDir,
}

fn world(settings: &LoadSettings) -> World {
    let (post, directory) = (Postbox::new(), tempfile::tempdir().unwrap());
    fs::write(directory.path().join("bp.safetensors"), artifact("bp").bytes).unwrap();
    let reader = DirectoryReader::new(directory.path());
    let manager = KernelLoadManager::over_messages(post.clone(), reader, settings, UnixTime::from_nanos(0xabc));
    World { answers: manager.answers(), manager, post, directory }
}

impl World {
    /// Asks, and returns the message that was sent.
    fn ask(&self, now: u64) -> KernelPrefetchRequest {
        ask(&self.manager, "bp", now);
        let [request] = self.post.sent().try_into().unwrap();
        request
    }

    fn reason(&self, now: u64) -> &'static str {
        error(arrival(&self.manager, now)).reason()
    }
}

fn ready(request: &KernelPrefetchRequest) -> KernelArtifactReady {
    let digests = artifact("bp").digests;
    KernelArtifactReady {
        request_id: request.request_id.clone(),
        blueprint_id: request.blueprint_id.clone(),
        artifact_ref: "bp.safetensors".into(),
        checksum: digests.checksum.to_string(),
        guard_digest: digests.guard_digest.to_string(),
        ..Default::default()
    }
}

fn failed(request: &KernelPrefetchRequest, why: &str) -> KernelArtifactError {
    let (request_id, blueprint_id) = (request.request_id.clone(), request.blueprint_id.clone());
    KernelArtifactError { request_id, blueprint_id, reason: why.into() }
}

#[test]
fn ready_kernel_is_read_verified_and_handed_over() {
    let world = world(&settings());
    let request = world.ask(0);
    assert_eq!(
        request,
        KernelPrefetchRequest {
            request_id: "load-abc-0".into(),
            blueprint_id: "bp".into(),
            training_run_id: "run-7".into(),
            issued_at: Some(UnixTime::from_millis(5).into()),
        }
    );
    assert_eq!(world.answers.ready(ready(&request)), Taken);
    let kernel = arrival(&world.manager, 40).outcome.unwrap();
    assert_eq!(kernel.digests(), &artifact("bp").digests);
    assert_eq!(world.manager.descriptor(&blueprint("bp")).unwrap().blueprint_id, "bp");
}

#[test]
fn sixteen_askers_send_one_message() {
    let world = world(&settings());
    let asked = [(); 16].map(|()| ask(&world.manager, "bp", 0));
    assert!(asked.is_sorted());
    let [request] = world.post.sent().try_into().unwrap();
    world.answers.ready(ready(&request));
    assert!(arrivals(&world.manager, 16, 1).iter().all(|arrival| arrival.outcome.is_ok()));
}

#[test]
fn answer_is_handled_once_however_often_it_comes() {
    let world = world(&settings());
    let request = world.ask(0);
    assert_eq!(world.answers.ready(ready(&request)), Taken);
    assert_eq!(world.answers.ready(ready(&request)), Late);
    assert_eq!(world.answers.failed(&failed(&request, "too late")), Late);
    assert!(arrival(&world.manager, 1).outcome.is_ok());
    assert_eq!(world.answers.ready(ready(&request)), Late);
    assert_eq!((world.manager.poll(at(2)), world.manager.stats().total.late_answers), (vec![], 3));
}

#[test]
fn ready_during_the_read_of_the_first_is_ignored() {
    let (reader, gate) = gated();
    let post = Postbox::new();
    let manager = KernelLoadManager::over_messages(post.clone(), reader, &settings(), UnixTime::from_nanos(1));
    ask(&manager, "bp", 0);
    let request = post.sent().remove(0);
    assert_eq!(manager.answers().ready(ready(&request)), Taken);
    let call = call(&gate, "bp.safetensors");
    assert_eq!(manager.answers().ready(ready(&request)), Late);
    call.answer(here("bp"));
    assert!(arrival(&manager, 1).outcome.is_ok());
    assert!(gate.try_call().is_none());
}

#[test]
fn ready_that_does_not_match_the_artifact_is_refused() {
    type Change = &'static dyn Fn(&mut KernelArtifactReady);
    let cases: [(&str, Change); 8] = [
        ("checksum_mismatch", &|message| message.checksum = artifact("other").digests.checksum.to_string()),
        ("guard_digest_mismatch", &|message| message.guard_digest = artifact("other").digests.guard_digest.to_string()),
        ("malformed_answer", &|message| message.checksum = message.checksum.to_uppercase()),
        ("malformed_answer", &|message| message.guard_digest.clear()),
        ("malformed_answer", &|message| message.blueprint_id = "other".into()),
        ("library_file_missing", &|message| message.artifact_ref = "absent.safetensors".into()),
        ("artifact_reference", &|message| message.artifact_ref = "../bp.safetensors".into()),
        ("artifact_reference", &|message| message.artifact_ref = "/".repeat(1 << 20)),
    ];
    for (reason, change) in cases {
        let world = world(&settings());
        let mut message = ready(&world.ask(0));
        change(&mut message);
        assert_eq!(world.answers.ready(message), Taken);
        assert_eq!(world.reason(1), reason);
        assert_eq!((world.manager.stats().cache.entries, world.manager.stats().in_flight_bytes), (0, 0));
    }
}

#[test]
fn ready_kernel_of_another_blueprint_is_refused() {
    let world = world(&settings());
    let request = world.ask(0);
    let other = artifact("other");
    fs::write(world.directory.path().join("other.safetensors"), &other.bytes).unwrap();
    world.answers.ready(KernelArtifactReady {
        artifact_ref: "other.safetensors".into(),
        checksum: other.digests.checksum.to_string(),
        guard_digest: other.digests.guard_digest.to_string(),
        ..ready(&request)
    });
    assert_eq!(world.reason(1), "wrong_blueprint");
}

#[test]
fn error_from_the_library_fails_the_load_with_what_it_says() {
    let world = world(&settings());
    let request = world.ask(0);
    assert_eq!(world.answers.failed(&failed(&request, &"no compiler ".repeat(100))), Taken);
    let said = error(arrival(&world.manager, 1));
    assert_eq!(said.reason(), "library_refused");
    assert!(said.to_string().contains("no compiler") && said.to_string().len() < 200, "{said}");
    let request = world.ask(2);
    assert_eq!(request.request_id, "load-abc-1", "the next request has an id of its own");
    let about_another = KernelArtifactError { blueprint_id: "other".into(), ..failed(&request, "gone") };
    assert_eq!(world.answers.failed(&about_another), Taken);
    assert_eq!(world.reason(3), "malformed_answer");
}

#[test]
fn answers_to_nobodys_request_are_counted_and_ignored() {
    let world = world(&settings());
    let request = world.ask(0);
    for id in ["", "load-abc-", "load-abc-1", "load-abc-00", "load-abc-+0", "load-abd-0", "load-abc-0 ", "0"] {
        let message = KernelArtifactReady { request_id: id.into(), ..ready(&request) };
        assert_eq!(world.answers.ready(message), Unknown, "{id:?}");
    }
    let stats = world.manager.stats();
    assert_eq!((stats.total.unknown_answers, stats.total.late_answers, stats.awaiting), (8, 0, 1));
}

#[test]
fn answer_to_a_library_that_is_called_is_unknown() {
    let (manager, gate) = gated_manager(&settings());
    ask(&manager, "bp", 0);
    call(&gate, "bp").answer(Ok(Fetched::Later));
    rest(&manager);
    let request_id = "load-0-0".into();
    assert_eq!(manager.answers().failed(&KernelArtifactError { request_id, ..Default::default() }), Unknown);
    assert_eq!((manager.stats().awaiting, manager.stats().total.unknown_answers), (1, 1));
}

#[test]
fn answer_after_the_deadline_or_a_cancel_is_ignored() {
    let world = world(&LoadSettings { timeout_ms: 10, ..settings() });
    let request = world.ask(0);
    assert_eq!(world.reason(10), "prefetch_timeout");
    assert_eq!(world.answers.ready(ready(&request)), Late);
    let id = ask(&world.manager, "bp", 20);
    let request = world.post.sent().remove(0);
    assert!(world.manager.cancel(id));
    assert_eq!(world.answers.ready(ready(&request)), Late);
    assert_eq!((world.manager.poll(at(21)), world.manager.stats().in_flight_bytes), (vec![], 0));
}

#[test]
fn request_that_cannot_be_sent_fails_the_load() {
    let world = world(&settings());
    world.post.fail(LibraryError::Unavailable { detail: "the queue is full".into() });
    ask(&world.manager, "bp", 0);
    assert_eq!(world.reason(0), "library_unavailable");
    world.post.fail(None);
    let request = world.ask(1);
    world.answers.ready(ready(&request));
    assert!(arrival(&world.manager, 2).outcome.is_ok());
}

#[test]
fn answer_to_a_manager_that_has_gone_is_unknown() {
    let world = world(&settings());
    let request = world.ask(0);
    drop(world.manager);
    assert_eq!(world.answers.ready(ready(&request)), Unknown);
}

#[test]
fn directory_reader_conforms() {
    let directory = tempfile::tempdir().unwrap();
    reader_conformance(|files| {
        files.iter().for_each(|(name, bytes)| fs::write(directory.path().join(name), bytes).unwrap());
        DirectoryReader::new(directory.path())
    });
}

#[test]
fn directory_reader_follows_no_link_and_reads_no_folder() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("folder")).unwrap();
    fs::write(directory.path().join("file"), "bytes").unwrap();
    let reader = DirectoryReader::new(directory.path());
    assert_eq!(reader.read("folder", 10).unwrap_err().reason(), "library_not_a_file");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("file", directory.path().join("link")).unwrap();
        assert_eq!(reader.read("link", 10).unwrap_err().reason(), "library_not_a_file");
    }
}

#[test]
fn manager_without_a_library_fails_every_load() {
    let called = KernelLoadManager::new(NoKernels, &settings());
    ask(&called, "bp", 0);
    assert_eq!(error(arrival(&called, 0)).reason(), "unknown_blueprint");
    let sent = KernelLoadManager::over_messages(NoKernels, NoKernels, &settings(), UnixTime::default());
    ask(&sent, "bp", 0);
    assert_eq!(error(arrival(&sent, 0)).reason(), "library_unavailable");
    assert_eq!(sent.descriptor(&blueprint("bp")).unwrap_err().reason(), "unknown_blueprint");
    assert_eq!(ArtifactReader::read(&NoKernels, "bp.safetensors", 10).unwrap_err().reason(), "artifact_reference");
}

#[test]
fn file_beyond_the_limit_is_not_read() {
    let limits = ArtifactLimits { max_bytes: artifact("bp").bytes.len() - 1, ..Default::default() };
    let world = world(&LoadSettings { limits, ..settings() });
    let request = world.ask(0);
    world.answers.ready(ready(&request));
    assert_eq!(world.reason(1), "library_file_too_large");
}

/// The right text, or any other.
fn text(right: String) -> impl Strategy<Value = String> {
    prop_oneof![2 => Just(right), 1 => "[a-z0-9./-]{0,12}", 1 => any::<String>()]
}

fn any_ready() -> impl Strategy<Value = KernelArtifactReady> {
    let right = ready(&KernelPrefetchRequest {
        request_id: "load-abc-0".into(),
        blueprint_id: "bp".into(),
        ..Default::default()
    });
    let KernelArtifactReady { request_id, blueprint_id, artifact_ref, checksum, guard_digest, .. } = right;
    (text(request_id), text(blueprint_id), text(artifact_ref), text(checksum), text(guard_digest)).prop_map(
        |(request_id, blueprint_id, artifact_ref, checksum, guard_digest)| KernelArtifactReady {
            request_id,
            blueprint_id,
            artifact_ref,
            checksum,
            guard_digest,
            ..Default::default()
        },
    )
}

proptest! {
    #[test]
    fn only_the_right_message_brings_the_kernel(message in any_ready()) {
        let world = world(&settings());
        let right = ready(&world.ask(0));
        let answered = world.answers.ready(message.clone());
        if message.request_id == right.request_id {
            prop_assert_eq!(answered, Taken);
            prop_assert_eq!(arrival(&world.manager, 1).outcome.is_ok(), message == right);
        } else {
            prop_assert_eq!(answered, Unknown);
            prop_assert_eq!(world.manager.poll(at(1)), []);
        }
        prop_assert_eq!(world.manager.stats().in_flight_bytes, 0);
    }
}
