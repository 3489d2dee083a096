//! `kasmina kernels`, on real directories.

use std::{fs, path::Path, process::Output};

use kasmina_kernel_load::DirectoryLibrary;
use kasmina_leyline::BlueprintId;
use tempfile::TempDir;

use crate::{failure, kasmina};

/// Runs `kasmina kernels ACTION DIR` with more arguments.
fn kernels(action: &str, directory: &Path, more: &str) -> Output {
    let mut command = kasmina(&["kernels", action]);
    command.arg(directory).args(more.split_whitespace()).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", failure(output).1);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A directory with the five kernels that fit `[batch, 8]`.
pub(crate) fn built() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    said(&kernels("build", directory.path(), "--rank 2 --channels 8"));
    directory
}

/// Changes the last byte of a kernel's file.
fn damage(directory: &Path, blueprint: &str) {
    let library = DirectoryLibrary::open(directory).unwrap();
    let file = directory.join(library.reference(&BlueprintId::new(blueprint).unwrap()).unwrap().0);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn directory_that_was_built_is_listed_and_sound() {
    let directory = built();
    let listed = said(&kernels("list", directory.path(), ""));
    assert_eq!(listed.lines().count(), 5, "{listed}");
    let first = listed.lines().next().unwrap();
    assert!(first.starts_with("bottleneck-r2-c8 safe ") && first.contains(".safetensors "), "{first}");
    assert_eq!(said(&kernels("verify", directory.path(), "")), "sound: 5 kernels\n");
}

#[test]
fn building_again_with_another_seed_replaces_kernels() {
    let directory = built();
    let before = said(&kernels("list", directory.path(), ""));
    said(&kernels("build", directory.path(), "--rank 2 --channels 8"));
    assert_eq!(said(&kernels("list", directory.path(), "")), before);
    said(&kernels("build", directory.path(), "--rank 2 --channels 8 --seed 1"));
    let after = said(&kernels("list", directory.path(), ""));
    assert!(after != before && after.lines().count() == 5, "{after}");
}

#[test]
fn kernels_between_two_widths_start_at_zero() {
    let directory = tempfile::tempdir().unwrap();
    let widths = "--rank 2 --channels 8 --channels-out 4";
    let (code, why) = failure(&kernels("build", directory.path(), widths));
    assert!(code == Some(2) && why.contains("--start zero"), "{why}");
    assert!(fs::read_dir(directory.path()).unwrap().next().is_none(), "nothing was written");
    said(&kernels("build", directory.path(), &format!("{widths} --start zero")));
    said(&kernels("verify", directory.path(), ""));
}

#[test]
fn every_damaged_kernel_is_named_with_its_reason() {
    let directory = built();
    for blueprint in ["bottleneck-r2-c8", "mlp-r2-c8"] {
        damage(directory.path(), blueprint);
    }
    let output = kernels("verify", directory.path(), "");
    let (code, why) = failure(&output);
    assert!(code == Some(1) && why.contains("2 of 5 kernels cannot be used"), "{why}");
    let said = String::from_utf8(output.stdout).unwrap();
    for blueprint in ["bottleneck-r2-c8", "mlp-r2-c8"] {
        assert!(said.contains(&format!("{blueprint}: checksum_mismatch: ")), "{said}");
    }
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn directory_without_a_catalogue_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for action in ["list", "verify"] {
        let (code, why) = failure(&kernels(action, directory.path(), ""));
        assert!(code == Some(1) && why.contains("catalogue.json does not exist"), "{why}");
    }
}

#[test]
fn rank_that_no_kernel_has_is_a_wrong_argument() {
    let output = kernels("build", Path::new("unused"), "--rank 5 --channels 8");
    assert_eq!(output.status.code(), Some(2));
    assert!(!Path::new("unused").exists());
}
