//! Scrapes over real sockets, from clients that are good and from clients that are not.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::Arc,
    time::Duration,
};

use kasmina_leyline::{
    SeedId, TrainingRunId, UnixTime,
    v1::{MetricPoint, SystemHealth, TelemetryPacket},
};
use kasmina_telemetry::{Assembler, Metric, MetricsEndpoint, PrometheusText, Sink, names};

const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Longer than the slowest machine takes to answer; what waits that long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn scrape_gets_the_latest_values_of_the_sink() {
    let (text, endpoint) = served();
    assert!(endpoint.address().ip() == Ipv4Addr::LOCALHOST && endpoint.address().port() != 0);
    let mut sink = text.clone();
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    for alpha in [0.25, 0.5] {
        assembler.metric(Some(&SeedId::new("seed-1").unwrap()), Metric::new(names::SEED_ALPHA, alpha));
        for packet in assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000)) {
            sink.deliver(&packet.packet).unwrap();
        }
        let (head, body) = ask(&endpoint, SCRAPE);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
        assert!(body.contains(&format!("\nkasmina_seed_alpha{{seed_id=\"seed-1\"}} {alpha}\n")), "{body}");
        assert_eq!(body, text.render());
    }
    let (head, _) = ask(&endpoint, b"GET /metrics?name=up HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
}

#[test]
fn other_path_or_method_is_refused() {
    let (_, endpoint) = served();
    for (request, status) in [
        ("GET / HTTP/1.1", "404 Not Found"),
        ("GET /metrics/ HTTP/1.1", "404 Not Found"),
        ("GET //metrics HTTP/1.1", "404 Not Found"),
        ("POST /other HTTP/1.1\r\nContent-Length: 9", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 1000000000000", "405 Method Not Allowed"),
        ("DELETE /metrics HTTP/1.1", "405 Method Not Allowed"),
        ("HEAD /metrics HTTP/1.1", "405 Method Not Allowed"),
        ("MADE-UP /metrics HTTP/1.1", "405 Method Not Allowed"),
    ] {
        let (head, body) = ask(&endpoint, format!("{request}\r\nHost: localhost\r\n\r\n").as_bytes());
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {head}");
        assert_eq!(head.contains("\r\nallow: GET\r\n"), status.starts_with("405"), "{request}: {head}");
        assert_eq!(body, "", "{request}");
    }
}

#[test]
fn scrape_after_garbage_is_answered() {
    let (_, endpoint) = served();
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"\xff\xfe"]
    {
        let mut client = connect(&endpoint);
        client.write_all(garbage).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = until_closed(&mut client);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert_scraped(&endpoint);
    }
}

#[test]
fn endless_headers_are_refused() {
    let (_, endpoint) = served();
    // As long as headers may be: they are read to the last byte, so that the answer is not lost with unread ones.
    let mut headers = b"GET /metrics HTTP/1.1\r\nCookie: ".to_vec();
    headers.resize(8 << 10, b'a');
    let (head, _) = ask(&endpoint, &headers);
    assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");

    // Far more than the sockets' own buffers take.
    let mut client = connect(&endpoint);
    headers.resize(1 << 20, b'a');
    let sent = (0..256).try_for_each(|_| client.write_all(&headers));
    assert!(sent.is_err(), "256 MiB of headers were taken");
    assert_scraped(&endpoint);
}

#[test]
fn idle_client_blocks_no_other() {
    let (_, endpoint) = served();
    let mut idle = connect(&endpoint);
    let (first, rest) = SCRAPE.split_at(9);
    idle.write_all(first).unwrap();
    assert_scraped(&endpoint);
    // It was still open while the other was served.
    idle.write_all(rest).unwrap();
    assert!(until_closed(&mut idle).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn one_connection_too_many_closes_the_oldest() {
    let (_, endpoint) = served();
    let mut idle: Vec<_> = (0..MetricsEndpoint::MAX_CONNECTIONS).map(|_| connect(&endpoint)).collect();
    assert_scraped(&endpoint);
    let mut oldest = idle.remove(0);
    oldest.set_read_timeout(Some(MetricsEndpoint::TIME_LIMIT / 2)).unwrap();
    assert_eq!(until_closed(&mut oldest), "");
    for mut client in idle {
        client.write_all(SCRAPE).unwrap();
        assert!(until_closed(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn slow_client_is_cut_off_at_the_time_limit() {
    let (_, endpoint) = served();
    let mut client = connect(&endpoint);
    let between_drops = MetricsEndpoint::TIME_LIMIT / 10;
    client.set_read_timeout(Some(between_drops)).unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nCookie: ").unwrap();
    let open = (0..100).take_while(|_| client.write_all(b"a").is_ok() && !is_closed(&mut client)).count();
    assert!(open < 100, "still open after 10 times its time limit");
}

#[test]
fn client_that_does_not_read_blocks_no_other() {
    let (mut text, endpoint) = served();
    // More than the sockets' own buffers take.
    let id = "a".repeat(32 << 20);
    text.deliver(&Arc::new(TelemetryPacket {
        metrics: vec![MetricPoint { name: names::SEED_ALPHA.name.to_owned(), ..MetricPoint::default() }],
        system_health: Some(SystemHealth {
            indicators: [("seed_id".to_owned(), id)].into(),
            ..SystemHealth::default()
        }),
        ..TelemetryPacket::default()
    }))
    .unwrap();
    let mut deaf = connect(&endpoint);
    deaf.write_all(SCRAPE).unwrap();
    let (_, body) = ask(&endpoint, SCRAPE);
    assert!(body == text.render(), "{} bytes arrived", body.len());
}

#[test]
fn port_in_use_is_an_error_that_names_it() {
    let (text, endpoint) = served();
    let error = MetricsEndpoint::serve(text, endpoint.address().port()).unwrap_err();
    assert_eq!((error.address, error.source.kind()), (endpoint.address(), io::ErrorKind::AddrInUse));
    assert!(error.to_string().starts_with(&format!("cannot serve metrics at {}: ", endpoint.address())), "{error}");
}

#[test]
fn dropped_endpoint_closes_its_connections_and_port() {
    let (text, endpoint) = served();
    let address = endpoint.address();
    let mut client = connect(&endpoint);
    assert_scraped(&endpoint);
    drop(endpoint);
    client.set_read_timeout(Some(MetricsEndpoint::TIME_LIMIT / 2)).unwrap();
    assert_eq!(until_closed(&mut client), "");
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let endpoint = MetricsEndpoint::serve(text, address.port()).unwrap();
    assert_scraped(&endpoint);
}

fn served() -> (PrometheusText, MetricsEndpoint) {
    let text = PrometheusText::default();
    (text.clone(), MetricsEndpoint::serve(text, 0).unwrap())
}

fn connect(endpoint: &MetricsEndpoint) -> TcpStream {
    let client = TcpStream::connect(endpoint.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

fn assert_scraped(endpoint: &MetricsEndpoint) {
    let (head, body) = ask(endpoint, SCRAPE);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !body.is_empty(), "{head}{body}");
}

/// Head and body of the answer.
fn ask(endpoint: &MetricsEndpoint, request: &[u8]) -> (String, String) {
    let mut client = connect(endpoint);
    client.write_all(request).unwrap();
    let answer = until_closed(&mut client);
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    (format!("{head}\r\n"), body.to_owned())
}

/// What arrives until the other side closes, or resets because it had something left to read.
fn until_closed(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match client.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8(answer).unwrap()
}

/// Waits as long as the client's read timeout.
fn is_closed(client: &mut TcpStream) -> bool {
    match client.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}
