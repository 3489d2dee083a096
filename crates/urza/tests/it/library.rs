//! The library's side, in the process.

use std::{fs, time::Duration};

use kasmina_kernel_load::Digests;
use kasmina_leyline::v1::{
    BusMessageType, KernelArtifactError, KernelArtifactReady, KernelCatalogUpdate, KernelPrefetchRequest,
};
use kasmina_oona::{Bus, BusSettings, LocalBus, Message, Stream, Subscription};
use kasmina_urza::{Served, Urza, UrzaSettings};
use prost::Message as _;

use crate::world::{Local, Shelf, blueprint};

/// Time for the catalogue to be read again.
const A_WHILE: Duration = Duration::from_secs(1);

pub(crate) fn request(id: &str, name: &str) -> Message {
    let request =
        KernelPrefetchRequest { request_id: id.into(), blueprint_id: name.into(), ..KernelPrefetchRequest::default() };
    Message::new(BusMessageType::KernelPrefetchRequest, request.encode_to_vec())
}

/// What the library has said since the last call.
fn said<T: prost::Message + Default>(listener: &LocalBus, message_type: BusMessageType) -> Vec<T> {
    let all = listener.poll(1_000).unwrap();
    all.iter().for_each(|delivery| listener.acknowledge(delivery.id).unwrap());
    let of_type = all.into_iter().filter(|delivery| delivery.message_type == message_type);
    of_type.map(|delivery| T::decode(delivery.envelope.payload.as_slice()).unwrap()).collect()
}

fn announced(listener: &LocalBus) -> Vec<String> {
    let updates: Vec<KernelCatalogUpdate> = said(listener, BusMessageType::KernelCatalogUpdate);
    updates.into_iter().map(|update| update.blueprint_id).collect()
}

#[test]
fn ready_says_where_the_artifact_is_and_its_digests() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let (mut urza, listener) = (local.urza(&shelf), local.listener());
    local.publish(request("load-1-0", "bp"));
    assert_eq!(urza.serve_once().unwrap(), Served { ready: 1, announced: 1, ..Served::default() });
    let (reference, Digests { checksum, guard_digest }) =
        shelf.open().reference(&blueprint("bp")).map(|(name, digests)| (name.to_owned(), digests)).unwrap();
    let ready: Vec<KernelArtifactReady> = said(&listener, BusMessageType::KernelPrefetchReady);
    let expected = KernelArtifactReady {
        request_id: "load-1-0".into(),
        blueprint_id: "bp".into(),
        artifact_ref: reference,
        checksum: checksum.to_string(),
        guard_digest: guard_digest.to_string(),
        ..KernelArtifactReady::default()
    };
    assert_eq!(ready, [expected]);
}

#[test]
fn request_is_acknowledged_once_it_is_answered() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let mut urza = local.urza(&shelf);
    local.publish(request("load-1-0", "bp"));
    urza.serve_once().unwrap();
    assert_eq!(urza.bus().status().counts.acknowledged, 1);
    local.clock.advance(Duration::from_secs(61));
    assert_eq!(urza.serve_once().unwrap(), Served::default());
}

#[test]
fn request_of_a_library_that_died_is_answered_by_another() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let dead = local.broker.join(Urza::subscription("urza-0")).unwrap();
    local.publish(request("load-1-0", "bp"));
    assert_eq!(dead.poll(16).unwrap().len(), 1);
    drop(dead);
    let mut urza = local.urza(&shelf);
    assert_eq!(urza.serve_once().unwrap().ready, 0);
    local.clock.advance(Duration::from_secs(61));
    assert_eq!(urza.serve_once().unwrap().ready, 1);
}

#[test]
fn kernel_that_is_new_or_changed_is_announced_once() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["one"]));
    let (mut urza, listener) = (local.urza(&shelf), local.listener());
    urza.serve_once().unwrap();
    assert_eq!(announced(&listener), ["one"], "the start announces all");
    shelf.publish("two", 0);
    assert!(urza.serve_once().unwrap().is_idle(), "it is not time to look");
    local.clock.advance(A_WHILE);
    assert_eq!(urza.serve_once().unwrap(), Served { announced: 1, ..Served::default() });
    let updates: Vec<KernelCatalogUpdate> = said(&listener, BusMessageType::KernelCatalogUpdate);
    let digests = shelf.open().reference(&blueprint("two")).unwrap().1;
    assert_eq!((updates[0].blueprint_id.as_str(), &updates[0].checksum), ("two", &digests.checksum.to_string()));
    local.clock.advance(A_WHILE);
    assert!(urza.serve_once().unwrap().is_idle());
    shelf.publish("one", 8);
    local.clock.advance(A_WHILE);
    urza.serve_once().unwrap();
    assert_eq!(announced(&listener), ["one"], "it has changed");
}

#[test]
fn kernel_that_is_damaged_is_told_once_and_refused() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let (mut urza, listener) = (local.urza(&shelf), local.listener());
    let sound = fs::read(shelf.file("bp")).unwrap();
    fs::write(shelf.file("bp"), &sound[..sound.len() - 1]).unwrap();
    let served = urza.serve_once().unwrap();
    assert_eq!((served.announced, served.unfit.len(), served.unfit[0].1.reason()), (0, 1, "checksum_mismatch"));
    local.publish(request("load-1-0", "bp"));
    assert_eq!(urza.serve_once().unwrap(), Served { failed: 1, ..Served::default() });
    let errors: Vec<KernelArtifactError> = said(&listener, BusMessageType::KernelPrefetchError);
    assert_eq!((errors[0].blueprint_id.as_str(), errors[0].reason.as_str()), ("bp", "checksum_mismatch"));
    // Whoever puts the file back needs no restart.
    fs::write(shelf.file("bp"), sound).unwrap();
    local.publish(request("load-1-1", "bp"));
    assert_eq!(urza.serve_once().unwrap().ready, 1);
}

#[test]
fn catalogue_that_breaks_is_told_and_the_old_one_served() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let mut urza = local.urza(&shelf);
    urza.serve_once().unwrap();
    let catalogue = shelf.path().join("catalogue.json");
    let sound = fs::read(&catalogue).unwrap();
    fs::write(&catalogue, "{").unwrap();
    local.clock.advance(A_WHILE);
    local.publish(request("load-1-0", "bp"));
    let served = urza.serve_once().unwrap();
    assert_eq!((served.ready, served.catalogue.unwrap().reason()), (1, "catalogue_malformed"));
    fs::write(&catalogue, sound).unwrap();
    local.clock.advance(A_WHILE);
    assert_eq!(urza.serve_once().unwrap().catalogue, None);
}

#[test]
fn directory_without_a_catalogue_cannot_be_served() {
    let local = Local::new(BusSettings::default());
    let empty = tempfile::tempdir().unwrap();
    let bus = local.broker.join(Urza::subscription("urza-1")).unwrap();
    let error = Urza::open(bus, empty.path(), None, UrzaSettings::default(), local.clock.clone()).unwrap_err();
    assert_eq!(error.reason(), "library_file_missing");
}

#[test]
fn answer_waits_while_the_bus_has_no_room_for_it() {
    let settings = BusSettings { stream_capacity: 2, ..BusSettings::default() };
    let (local, shelf) = (Local::new(settings), Shelf::with(&[]));
    let mut urza = local.urza(&shelf);
    let listener = local.broker.join(Subscription::new("listener", "one", [Stream::KernelErrors])).unwrap();
    for _ in 0..2 {
        local.publish(Message::new(BusMessageType::KernelPrefetchError, *b""));
    }
    local.publish(request("load-1-0", "absent"));
    assert_eq!(urza.serve_once().unwrap(), Served { failed: 1, waiting: 1, ..Served::default() });
    local.publish(request("load-1-1", "absent"));
    for _ in 0..3 {
        assert_eq!(urza.serve_once().unwrap(), Served { waiting: 1, ..Served::default() }, "no more is taken");
        assert_eq!(urza.bus().status().counts.acknowledged, 0);
    }
    said::<KernelArtifactError>(&listener, BusMessageType::KernelPrefetchError);
    assert_eq!(urza.serve_once().unwrap(), Served { failed: 1, ..Served::default() });
    assert_eq!(urza.bus().status().counts.acknowledged, 2);
    let errors: Vec<KernelArtifactError> = said(&listener, BusMessageType::KernelPrefetchError);
    assert_eq!([&errors[0].request_id, &errors[1].request_id], ["load-1-0", "load-1-1"]);
}

#[test]
fn kernel_under_the_name_of_another_is_refused() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["one"]));
    let path = shelf.path().join("catalogue.json");
    let catalogue = fs::read_to_string(&path).unwrap();
    fs::write(path, catalogue.replace("\"one\"", "\"other\"")).unwrap();
    let (mut urza, listener) = (local.urza(&shelf), local.listener());
    local.publish(request("load-1-0", "other"));
    let served = urza.serve_once().unwrap();
    assert_eq!((served.failed, served.unfit[0].1.reason()), (1, "wrong_blueprint"));
    let errors: Vec<KernelArtifactError> = said(&listener, BusMessageType::KernelPrefetchError);
    assert_eq!(errors[0].reason, "wrong_blueprint");
}

#[test]
fn serving_goes_on_until_it_is_told_to_stop() {
    let (local, shelf) = (Local::new(BusSettings::default()), Shelf::with(&["bp"]));
    let mut urza = local.urza(&shelf);
    local.publish(request("load-1-0", "bp"));
    let (mut rounds, mut reports) = (0, Vec::new());
    let mut until = || {
        rounds += 1;
        if rounds == 3 {
            local.publish(request("load-1-1", "bp"));
        }
        rounds > 5
    };
    let served = urza.serve(&mut until, |served| reports.push(served.clone())).unwrap();
    assert_eq!((served.ready, served.announced, rounds), (2, 1, 6));
    assert_eq!(reports.iter().map(|served| served.ready).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(urza.bus().status().counts.acknowledged, 2);
}

#[test]
fn large_catalogue_is_announced_between_requests() {
    let names: Vec<_> = (0..20).map(|number| format!("bp-{number:02}")).collect();
    let shelf = Shelf::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let local = Local::new(BusSettings::default());
    let (mut urza, listener) = (local.urza(&shelf), local.listener());
    for number in 0..20 {
        local.publish(request(&format!("load-1-{number}"), "bp-19"));
        assert_eq!(urza.serve_once().unwrap(), Served { ready: 1, announced: 1, ..Served::default() });
    }
    assert_eq!(announced(&listener), names);
    assert!(urza.serve_once().unwrap().is_idle());
}
