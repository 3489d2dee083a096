//! `kasmina watch` of a directory.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
};

use crate::{failure, kasmina};

/// A process that serves, until this is dropped.
struct Serving(Child, String);

impl Serving {
    /// With the address that it prints.
    fn start(arguments: &[&str]) -> Self {
        let mut child = kasmina(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect(&line).0;
        let address = address.to_owned();
        Self(child, address)
    }

    fn get(&self, path: &str) -> String {
        let mut client = TcpStream::connect(&self.1).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.1).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_directory_is_served_on_loopback() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("telemetry.jsonl"), "{}\n").unwrap();
    let serving = Serving::start(&["watch", directory.path().to_str().unwrap()]);
    assert!(serving.1.starts_with("127.0.0.1:"), "{}", serving.1);
    assert!(serving.get("/").contains("<title>Kasmina"));
    assert!(serving.get("/lines?run=telemetry.jsonl").ends_with("\r\n\r\n{}\n"));
}

#[test]
fn a_directory_that_is_not_there_yet_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let later = directory.path().join("later");
    let serving = Serving::start(&["watch", later.to_str().unwrap()]);
    assert!(serving.get("/runs").contains("\"is_there\":false"));
    fs::create_dir(&later).unwrap();
    fs::write(later.join("a.jsonl"), "{}\n").unwrap();
    assert!(serving.get("/runs").contains("a.jsonl"));
}

#[test]
fn a_port_in_use_is_a_failure_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, said) = failure(&kasmina(&["watch", ".", "--port", &port]).output().unwrap());
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("--port"), "{said}");
}

#[test]
fn wrong_arguments_are_refused() {
    for arguments in [&["watch"][..], &["watch", ".", "--port", "70000"], &["watch", "--port", "80"]] {
        let (code, said) = failure(&kasmina(arguments).output().unwrap());
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
}

#[cfg(feature = "bus")]
#[test]
fn a_directory_and_a_bus_exclude_each_other() {
    let bus = "redis://127.0.0.1:1";
    for arguments in [
        &["watch", ".", "--bus", bus][..],
        &["watch", "--bus", bus, "--port", "80"],
        &["watch", ".", "--json"],
        &["watch", ".", "--level", "warning"],
        &["watch", ".", "--unsigned"],
    ] {
        let (code, said) = failure(&kasmina(arguments).output().unwrap());
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
    let output = kasmina(&["watch", "--help"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for words in ["kasmina watch [--port <PORT>] <RUN_DIR>", "kasmina watch --bus <ADDRESS>", "Over a bus:"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn file_in_the_place_of_a_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (code, said) = failure(&kasmina(&["watch", file.path().to_str().unwrap()]).output().unwrap());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is a file: name the directory that it is in"), "{said}");
}
