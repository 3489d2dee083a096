//! A library in a store that speaks S3: a server of a few lines, on a port of this machine.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

const SECRET: &str = "a-secret-that-nobody-may-read";

/// The objects by path, and the paths that are never answered.
#[derive(Default)]
struct Objects {
    bytes: BTreeMap<String, Vec<u8>>,
    silent: Vec<String>,
}

/// Starts the server, which ends with the process. Returns where it is.
fn server(objects: Arc<Mutex<Objects>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let objects = Arc::clone(&objects);
            thread::spawn(move || answer(connection.unwrap(), &objects));
        }
    });
    address
}

/// Answers one request.
fn answer(mut connection: TcpStream, objects: &Mutex<Objects>) {
    let mut lines = BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let signed = lines.by_ref().take_while(|line| !line.is_empty()).filter(|line| line.contains("AWS4-HMAC")).count();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let (found, silent) = {
        let objects = objects.lock().unwrap();
        (objects.bytes.get(&path).cloned().filter(|_| signed == 1), objects.silent.contains(&path))
    };
    if silent {
        // The connection stays open until the other side gives up.
        lines.next();
        return;
    }
    let (status, bytes) = found.map_or(("404 Not Found", Vec::new()), |bytes| ("200 OK", bytes));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Sun, 29 Nov 2026 00:00:00 GMT\r\nETag: \"1\"\r\n\
         Connection: close\r\n\r\n",
        bytes.len(),
    );
    connection.write_all(head.as_bytes()).unwrap();
    let _ = connection.write_all(&bytes);
}

fn reader(endpoint: &str, timeout: Duration) -> ObjectStoreReader {
    let options = [
        ("aws_endpoint", endpoint),
        ("aws_allow_http", "true"),
        ("aws_region", "eu-central-1"),
        ("aws_access_key_id", "key"),
        ("aws_secret_access_key", SECRET),
    ];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
    ObjectStoreReader::open("s3://bucket/kernels", options, timeout).unwrap()
}

#[test]
fn library_in_s3_gives_the_kernels_of_its_catalogue() {
    let directory = tempfile::tempdir().unwrap();
    let id = blueprint("bp-1");
    let mut library = DirectoryLibrary::open_or_create(directory.path()).unwrap();
    library.publish(&kernel("bp-1"), sample_descriptor(&id)).unwrap();
    let objects = Arc::new(Mutex::new(Objects::default()));
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let path = format!("/bucket/kernels/{}", entry.file_name().to_string_lossy());
        objects.lock().unwrap().bytes.insert(path, fs::read(entry.path()).unwrap());
    }
    let stored = ObjectStoreLibrary::open(reader(&server(objects), LONG)).unwrap();
    assert_eq!(stored.fetch(&id), library.fetch(&id));
    assert_eq!(stored.descriptor(&id), library.descriptor(&id));
}

#[test]
fn object_that_is_absent_or_too_large_in_s3_is_an_error() {
    let objects = Arc::new(Mutex::new(Objects::default()));
    objects.lock().unwrap().bytes.insert("/bucket/kernels/file".into(), vec![7; 100]);
    let reader = reader(&server(objects), LONG);
    assert_eq!(reader.read("file", 100), Ok(vec![7; 100]));
    assert_eq!(reader.read("file", 99).unwrap_err().reason(), "library_file_too_large");
    assert_eq!(reader.read("other", 99).unwrap_err().reason(), "library_file_missing");
}

#[test]
fn s3_that_is_silent_or_gone_is_unavailable() {
    let objects = Arc::new(Mutex::new(Objects::default()));
    objects.lock().unwrap().silent.push("/bucket/kernels/file".into());
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for endpoint in [server(objects), gone] {
        let error = reader(&endpoint, Duration::from_millis(300)).read("file", 10).unwrap_err();
        assert_eq!(error.reason(), "library_unavailable");
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
}
