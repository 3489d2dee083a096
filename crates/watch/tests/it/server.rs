//! The server, asked over a socket as anybody on this machine can.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use kasmina_watch::{Follower, Server};

struct Rig {
    directory: tempfile::TempDir,
    server: Server,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a run+1.jsonl"), "{\"one\":1}\n{\"tw").unwrap();
        let server = Server::start(Follower::new(directory.path()), 0).unwrap();
        Self { directory, server }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn get(&self, path: &str) -> String {
        let host = self.address();
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    fn send(&self, request: &str) -> String {
        let mut client = TcpStream::connect(self.address()).unwrap();
        // It may answer and hang up before it has read all.
        let _ = client.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let line = answer.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.strip_prefix(": ")).unwrap_or_else(|| panic!("{name}: {answer}"))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn the_page_comes_with_all_that_it_asks_for() {
    let rig = Rig::new();
    let page = rig.get("/");
    assert_eq!(status(&page), "200");
    let asked: Vec<&str> = page.split(['"']).filter(|text| text.ends_with(".js") || text.ends_with(".css")).collect();
    assert!(asked.len() >= 3, "{asked:?}");
    for path in asked {
        let answer = rig.get(path);
        assert_eq!(status(&answer), "200", "{path}");
        for import in body(&answer).lines().filter_map(|line| line.split_once(" from \"./")) {
            let import = import.1.trim_end_matches("\";");
            assert_eq!(status(&rig.get(&format!("/{import}"))), "200", "{path} imports {import}");
        }
    }
}

#[test]
fn answers_forbid_other_sources_and_frames() {
    let answer = Rig::new().get("/");
    let policy = header(&answer, "content-security-policy");
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(header(&answer, "cross-origin-resource-policy"), "same-origin");
}

#[test]
fn runs_are_listed_with_their_lengths() {
    let rig = Rig::new();
    let answer = rig.get("/runs");
    let runs: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(runs["runs"][0]["name"], "a run+1.jsonl");
    assert_eq!(runs["runs"][0]["bytes"], 14);
    assert_eq!(runs["is_there"], true);
    assert_eq!(runs["directory"], rig.directory.path().to_str().unwrap());
}

#[test]
fn lines_come_with_the_cursor_for_the_next() {
    let rig = Rig::new();
    let first = rig.get("/lines?run=a+run%2B1.jsonl");
    assert_eq!((status(&first), body(&first)), ("200", "{\"one\":1}\n"));
    assert_eq!((header(&first, "kasmina-behind"), header(&first, "kasmina-restarted")), ("4", "0"));
    let path = format!("/lines?run=a%20run%2B1.jsonl&from={}", header(&first, "kasmina-next"));
    assert_eq!(body(&rig.get(&path)), "");
    fs::write(rig.directory.path().join("a run+1.jsonl"), "{}\n").unwrap();
    let again = rig.get(&path);
    assert_eq!((body(&again), header(&again, "kasmina-restarted")), ("{}\n", "1"));
}

#[test]
fn names_say_what_events_and_metrics_mean() {
    let answer = Rig::new().get("/names");
    let names: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(names["metrics"]["kasmina.host.loss"]["meaning"], "The host's own loss on the batch.");
    assert!(names["events"]["gate_failure"].is_string());
}

#[test]
fn other_hosts_are_refused() {
    let rig = Rig::new();
    let port = rig.address().port();
    let line = |host: &str| format!("GET /runs HTTP/1.1\r\n{host}\r\n\r\n");
    for host in [
        "Host: evil.example".to_owned(),
        format!("Host: evil.example:{port}"),
        format!("Host: 127.0.0.1.evil.example:{port}"),
        "Host: 127.0.0.1:1".to_owned(),
        "Host: 127.0.0.1".to_owned(),
        format!("Host: 127.0.0.1:{port}\r\nHost: evil.example"),
        "Accept: */*".to_owned(),
    ] {
        let answer = rig.send(&line(&host));
        assert!(matches!(status(&answer), "403" | "400"), "{host}: {answer}");
    }
    for host in [format!("Host: 127.0.0.1:{port}"), format!("Host: LOCALHOST:{port}")] {
        assert_eq!(status(&rig.send(&line(&host))), "200", "{host}");
    }
    let absolute = format!("GET http://evil.example/runs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    assert_eq!(status(&rig.send(&absolute)), "403");
}

#[test]
fn other_methods_are_refused() {
    let rig = Rig::new();
    let host = rig.address();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"] {
        let answer = rig.send(&format!("{method} /runs HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((status(&answer), header(&answer, "allow")), ("405", "GET"), "{method}");
    }
}

#[test]
fn unknown_paths_and_runs_are_not_found() {
    let rig = Rig::new();
    for path in ["/index.html", "//", "/lines/", "/..", "/lines?run=none.jsonl", "/lines?run=", "/main.js/"] {
        assert_eq!(status(&rig.get(path)), "404", "{path}");
    }
    for path in ["/lines", "/lines?from=0-0-0", "/lines?run=a+run%2B1.jsonl&from=x", "/lines?%ff&run"] {
        assert!(matches!(status(&rig.get(path)), "400" | "404"), "{path}");
    }
}

#[test]
fn paths_that_lead_outside_are_not_found() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join("secret.jsonl"), "secret\n").unwrap();
    fs::create_dir(parent.path().join("runs")).unwrap();
    let server = Server::start(Follower::new(parent.path().join("runs")), 0).unwrap();
    let rig = Rig { directory: parent, server };
    for run in
        ["../secret.jsonl", "..%2Fsecret.jsonl", "%2e%2e%2fsecret.jsonl", "..%5csecret.jsonl", "%00", "/etc/passwd"]
    {
        let answer = rig.get(&format!("/lines?run={run}"));
        assert!(status(&answer) == "404" && !body(&answer).contains("secret\n"), "{run}: {answer}");
    }
    assert_eq!(status(&rig.get("/../secret.jsonl")), "404");
}

#[test]
fn a_request_that_is_too_long_is_refused() {
    let rig = Rig::new();
    let long = "x".repeat(64 << 10);
    let host = rig.address();
    let answers =
        [rig.get(&format!("/{long}")), rig.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Long: {long}\r\n\r\n"))];
    for answer in answers {
        assert!(matches!(status(&answer), "431" | "414" | "none"), "{answer}");
    }
    assert_eq!(status(&rig.get("/runs")), "200");
}

#[test]
fn clients_that_do_not_finish_do_not_stop_others() {
    let rig = Rig::new();
    let mut silent: Vec<TcpStream> = (0..2 * Server::MAX_CONNECTIONS)
        .map(|_| {
            let mut client = TcpStream::connect(rig.address()).unwrap();
            client.write_all(b"GET /runs HTTP/1.1\r\nHo").unwrap();
            client
        })
        .collect();
    assert_eq!(status(&rig.get("/runs")), "200");
    // The oldest was hung up on, long before its time was over.
    silent[0].set_read_timeout(Some(Server::TIME_LIMIT / 2)).unwrap();
    let end = silent[0].read(&mut [0; 16]);
    assert!(
        matches!(&end, Ok(0)) || end.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
        "{end:?}"
    );
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let rig = Rig::new();
    let error = Server::start(Follower::new("."), rig.address().port()).unwrap_err();
    assert_eq!((error.address, error.source.kind()), (rig.address(), ErrorKind::AddrInUse));
    assert!(error.to_string().contains(&rig.address().to_string()), "{error}");
}

#[test]
fn a_server_that_is_dropped_frees_its_port() {
    let rig = Rig::new();
    let port = rig.address().port();
    drop(rig.server);
    let again = Server::start(Follower::new(rig.directory.path()), port).unwrap();
    assert_eq!(again.address().port(), port);
}
