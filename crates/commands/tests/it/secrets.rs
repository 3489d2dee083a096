//! The places that a secret can come from.

use std::fs;

use kasmina_commands::{FoundSecret, SECRET_FILE_VARIABLE, SECRET_VARIABLE, SecretError, find_secret};

fn find<const N: usize>(variables: [(&str, &str); N]) -> Result<FoundSecret, SecretError> {
    find_secret(variables.map(|(name, value)| (name.into(), value.into())))
}

#[test]
fn secret_is_read_from_one_place_only() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "hush\n").unwrap();
    let path = file.path().to_str().unwrap();
    assert!(find([(SECRET_VARIABLE, "hush")]).is_ok());
    assert!(find([(SECRET_FILE_VARIABLE, path)]).is_ok());
    assert!(matches!(find([]), Err(SecretError::Missing)));
    assert!(matches!(find([("PATH", "/bin")]), Err(SecretError::Missing)));
    let both = [(SECRET_VARIABLE, "hush"), (SECRET_FILE_VARIABLE, path)];
    assert!(matches!(find(both), Err(SecretError::Ambiguous)));
}

/// The same text with and without a line end makes the same signature.
#[test]
fn line_end_of_the_file_is_not_part_of_the_secret() {
    use kasmina_leyline::v1::AdaptationCommand;
    use kasmina_security::Signer;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "hush\r\n\n").unwrap();
    let command = AdaptationCommand::default();
    let sign = |found: FoundSecret| Signer::new(&found.secret).sign(&command).unwrap();
    let from_file = sign(find([(SECRET_FILE_VARIABLE, file.path().to_str().unwrap())]).unwrap());
    assert_eq!(from_file, sign(find([(SECRET_VARIABLE, "hush")]).unwrap()));
    assert_ne!(from_file, sign(find([(SECRET_VARIABLE, "hush\n")]).unwrap()));
}

#[test]
fn empty_or_absent_secret_is_an_error_that_names_its_place() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "\r\n\n").unwrap();
    let path = file.path().to_str().unwrap();
    assert!(matches!(find([(SECRET_VARIABLE, "")]), Err(SecretError::Empty { from: SECRET_VARIABLE })));
    assert!(matches!(find([(SECRET_FILE_VARIABLE, path)]), Err(SecretError::Empty { from: SECRET_FILE_VARIABLE })));
    let error = find([(SECRET_FILE_VARIABLE, "no/such/file")]).unwrap_err();
    assert!(error.to_string().contains("no/such/file"), "{error}");
}

#[cfg(unix)]
#[test]
fn file_that_is_open_to_others_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "hush").unwrap();
    let path = file.path().to_str().unwrap();
    for (mode, exposed) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o602, true)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let found = find([(SECRET_FILE_VARIABLE, path)]).unwrap();
        assert_eq!(found.exposed.is_some(), exposed, "{mode:o}");
    }
}

#[cfg(unix)]
#[test]
fn environment_that_is_not_utf8_is_read_without_panic() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};
    let broken = || OsString::from_vec(vec![b'h', 0xff]);
    let hush = (SECRET_VARIABLE.into(), "hush".into());
    assert!(find_secret([(broken(), broken()), hush]).is_ok(), "others' variables do not matter");
    let error = find_secret([(SECRET_VARIABLE.into(), broken())]).unwrap_err();
    assert!(matches!(error, SecretError::NotUtf8), "{error}");
    let path = std::env::temp_dir().join(broken());
    assert!(matches!(find_secret([(SECRET_FILE_VARIABLE.into(), path.into())]), Err(SecretError::Unreadable { .. })));
}

#[cfg(target_os = "linux")]
#[test]
fn file_without_end_is_an_error() {
    let endless = find([(SECRET_FILE_VARIABLE, "/dev/zero")]).unwrap_err();
    assert!(endless.to_string().contains("/dev/zero: has more than 65536 bytes"), "{endless}");
}
