//! Teachers from files: what they take is known before, and what they are not is an error.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::{
    backend::Flex,
    module::{Module, list_param_ids},
    store::{ModuleSnapshot, SafetensorsStore},
};
use kasmina::{
    Grown,
    blending::BlendConfig,
    grown::{Fossil, FossilSpec, Provenance},
    kernel_load::{
        Initialisation, SlotContract,
        blueprints::{Blueprint, Start},
    },
    leyline::{SeedId, SlotId},
    memory::{Governor, GovernorLimits, PerPool, Pool, Reservation},
};
use kasmina_distill::{DistillError, TeacherFile};
use tempfile::TempDir;

use crate::common::{CLASSES, Network, batch, bits, reason, weights};

const WIDTH: usize = 32;
/// Of both layers, in f32.
const TENSORS: u64 = ((8 + 1) * WIDTH + (WIDTH + 1) * CLASSES) as u64 * 4;

fn governor(teacher: u64) -> Governor {
    let pools = PerPool::new(|pool| if pool == Pool::Teacher { teacher } else { 0 });
    Governor::new(GovernorLimits { pools, ..GovernorLimits::default() })
}

fn reserve(bytes: u64) -> Reservation {
    governor(u64::MAX).reserve(Pool::Teacher, bytes).unwrap()
}

fn saved(network: &Network<Flex>) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("teacher.safetensors");
    network.save_into(&mut SafetensorsStore::from_file(&path)).unwrap();
    (directory, path)
}

fn load(path: &Path) -> Result<kasmina_distill::Teacher<Flex, Network<Flex>>, DistillError> {
    let file = TeacherFile::inspect(path)?;
    file.load_module(Network::new(WIDTH), reserve(file.bytes_to_load()))
}

fn grown() -> Grown<Flex, Network<Flex>> {
    let manifest = Blueprint::Bottleneck.for_slot(SlotContract::f32(2, WIDTH, WIDTH), Start::Identity).unwrap();
    let (seed, slot) = (SeedId::new("seed-1").unwrap(), SlotId::new("mid").unwrap());
    let spec = FossilSpec { seed, slot, blend: BlendConfig::residual(), manifest, provenance: Provenance::default() };
    let weights = Initialisation { seed: 7, zero_last: false };
    let fossil = Fossil::fresh(spec, &weights, &Default::default()).unwrap();
    Grown::from_parts(Network::new(WIDTH), [fossil]).unwrap()
}

#[test]
fn module_that_was_saved_is_the_teacher_that_is_loaded() {
    let network = Network::<Flex>::new(WIDTH);
    let (_directory, path) = saved(&network);
    let teacher = load(&path).unwrap();
    assert_eq!(weights(teacher.module()), weights(&network));
    assert_eq!((teacher.bytes(), teacher.parameters().count()), (TENSORS, 4));
    let theirs = list_param_ids(&network);
    assert!(teacher.parameters().all(|id| !theirs.contains(&id)), "its parameters have ids of their own");
}

#[test]
fn grown_network_with_its_fossils_is_a_teacher() {
    let network = grown();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grown.safetensors");
    network.save(&path).unwrap();
    let file = TeacherFile::inspect(&path).unwrap();
    assert!(file.is_grown());
    let teacher = file.load_grown::<Flex, _>(Network::new(WIDTH), reserve(file.bytes_to_load()), &Default::default());
    let teacher = teacher.unwrap();
    let answer = |network: &Grown<Flex, Network<Flex>>| {
        bits(network.forward(|host, grafts| host.logits(batch(1), grafts)).unwrap())
    };
    assert_eq!(answer(teacher.module()), answer(&network));
    assert_eq!(teacher.bytes(), file.bytes());
    let theirs = list_param_ids(&network);
    assert!(teacher.parameters().count() > 4 && teacher.parameters().all(|id| !theirs.contains(&id)));

    let other = file.load_grown::<Flex, _>(Network::new(5), reserve(file.bytes_to_load()), &Default::default());
    assert_eq!(reason(other), "host_mismatch");
}

#[test]
fn budget_is_asked_with_what_the_header_says_and_nothing_is_read_that_is_not_reserved() {
    let (_directory, path) = saved(&Network::new(WIDTH));
    let file = TeacherFile::inspect(&path).unwrap();
    let size = fs::metadata(&path).unwrap().len();
    assert_eq!((file.bytes(), file.bytes_to_load(), file.tensors()), (TENSORS, TENSORS + size, 4));
    assert!(!file.is_grown());

    let mut small = governor(file.bytes_to_load() - 1);
    let refused: DistillError = small.reserve(Pool::Teacher, file.bytes_to_load()).unwrap_err().into();
    assert_eq!(refused.reason(), "over_pool_budget");
    let one_short = small.reserve(Pool::Teacher, file.bytes_to_load() - 1).unwrap();
    // A file that is gone shows that the reservation is looked at first.
    fs::remove_file(&path).unwrap();
    assert_eq!(reason(file.load_module(Network::<Flex>::new(WIDTH), one_short)), "teacher_unreserved");
    let other_pool = Governor::new(GovernorLimits::default()).reserve(Pool::Kernels, u64::MAX).unwrap();
    assert_eq!(reason(file.load_module(Network::<Flex>::new(WIDTH), other_pool)), "teacher_unreserved");
    assert_eq!(small.reserved(Pool::Teacher), 0, "given back");
}

#[test]
fn what_loading_took_beyond_the_tensors_is_given_back_and_the_rest_with_the_teacher() {
    let (_directory, path) = saved(&Network::new(WIDTH));
    let mut governor = governor(1 << 20);
    let file = TeacherFile::inspect(&path).unwrap();
    let reservation = governor.reserve(Pool::Teacher, file.bytes_to_load()).unwrap();
    let teacher = file.load_module(Network::<Flex>::new(WIDTH), reservation).unwrap();
    assert_eq!(governor.reserved(Pool::Teacher), TENSORS);
    assert!(!teacher.is_withdrawn());
    governor.withdraw(Pool::Teacher);
    assert!(teacher.is_withdrawn());
    drop(teacher);
    assert_eq!(governor.reserved(Pool::Teacher), 0);
}

#[test]
fn every_truncation_and_every_longer_file_is_refused() {
    let (directory, path) = saved(&Network::new(WIDTH));
    let whole = fs::read(&path).unwrap();
    let damaged = directory.path().join("damaged");
    for length in (0..whole.len()).step_by(7) {
        fs::write(&damaged, &whole[..length]).unwrap();
        assert_eq!(reason(TeacherFile::inspect(&damaged)), "teacher_malformed", "{length} bytes");
    }
    fs::write(&damaged, [&whole[..], &[0]].concat()).unwrap();
    assert_eq!(reason(TeacherFile::inspect(&damaged)), "teacher_malformed");
    // A header that claims to be longer than any file.
    fs::write(&damaged, u64::MAX.to_le_bytes()).unwrap();
    assert_eq!(reason(TeacherFile::inspect(&damaged)), "teacher_malformed");
    assert_eq!(reason(TeacherFile::inspect(directory.path())), "teacher_malformed");
    assert_eq!(reason(TeacherFile::inspect(directory.path().join("none"))), "teacher_io");
}

#[test]
fn file_that_changes_after_its_budget_was_checked_is_refused() {
    let (_directory, path) = saved(&Network::new(WIDTH));
    let file = TeacherFile::inspect(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    for changed in [&whole[..whole.len() - 1], &[&whole[..], &[0; 9]].concat()] {
        fs::write(&path, changed).unwrap();
        let outcome = file.load_module(Network::<Flex>::new(WIDTH), reserve(file.bytes_to_load()));
        assert_eq!(reason(outcome), "teacher_changed");
    }
    fs::write(&path, vec![0xff; whole.len()]).unwrap();
    let outcome = file.load_module(Network::<Flex>::new(WIDTH), reserve(file.bytes_to_load()));
    assert_eq!(reason(outcome), "teacher_malformed");
}

#[test]
fn weights_that_are_not_finite_and_files_of_other_modules_are_refused() {
    let (_directory, path) = saved(&Network::new(WIDTH));
    let whole = fs::read(&path).unwrap();
    let mut spoilt = whole.clone();
    let end = spoilt.len();
    spoilt[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, spoilt).unwrap();
    assert_eq!(reason(load(&path)), "teacher_not_finite");

    fs::write(&path, whole).unwrap();
    let file = TeacherFile::inspect(&path).unwrap();
    let narrow = file.load_module(Network::<Flex>::new(WIDTH - 1), reserve(file.bytes_to_load()));
    assert_eq!(reason(narrow), "teacher_mismatch");
    let reservation = reserve(file.bytes_to_load());
    let part = file.load_module(Network::<Flex>::new(WIDTH).stem, reservation);
    assert_eq!(reason(part), "teacher_mismatch");
    assert!(load(&path).unwrap().module().num_params() > 0);
}
