//! Scrapes over real sockets, from clients that are good and from clients that are not.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use burn::backend::{Autodiff, Flex};
use kasmina::{
    CommandSender, MetricsEndpoint, SeedManager,
    leyline::{
        SeedId, TrainingRunId, UnixTime,
        v1::{
            AdaptationCommand, CircuitBreakerState, CommandCircuitBreaker, CommandType, MetricPoint, SystemHealth,
            TelemetryPacket, adaptation_command::Payload,
        },
    },
    safety::{Clock, SystemClock},
    security::{CommandVerifier, KeyRing, Secret},
    telemetry::{Assembler, Metric, PrometheusText, Sink, names},
};

const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Longer than the slowest machine takes to answer; what waits that long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_scrape_is_told_what_the_sink_was_told_last() {
    let (text, endpoint) = served();
    assert!(endpoint.address().ip() == Ipv4Addr::LOCALHOST && endpoint.address().port() != 0);
    let mut sink = text.clone();
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    for alpha in [0.25, 0.5] {
        assembler.metric(Some(&SeedId::new("seed-1").unwrap()), Metric::new(names::SEED_ALPHA, alpha));
        for packet in assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000)) {
            sink.deliver(&packet).unwrap();
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
fn a_manager_tells_the_state_of_each_breaker() {
    let (text, endpoint) = served();
    let secret = Secret::new("a shared secret").unwrap();
    type B = Autodiff<Flex>;
    let mut manager: SeedManager<B> = SeedManager::<B>::builder(TrainingRunId::new("run-7").unwrap())
        .verifier(CommandVerifier::new(KeyRing::of("k1", secret.clone())))
        .sink(text)
        .volatile()
        .build(&Default::default())
        .unwrap();
    let mut sender = CommandSender::new(&secret, "tamiyo").unwrap();
    for (breaker, state) in [
        ("kernels", CircuitBreakerState::CircuitStateClosed),
        ("isolation", CircuitBreakerState::CircuitStateHalfOpen),
        ("kernels", CircuitBreakerState::CircuitStateOpen),
    ] {
        let forced = CommandCircuitBreaker { desired_state: state.into(), ..CommandCircuitBreaker::default() };
        let command = AdaptationCommand {
            command_type: CommandType::CommandCircuitBreaker.into(),
            payload: Some(Payload::CircuitBreaker(forced)),
            annotations: [("breaker".to_owned(), breaker.to_owned())].into(),
            ..AdaptationCommand::default()
        };
        manager.submit(&sender.send(command, SystemClock::new().unix()).unwrap()).unwrap();
    }
    manager.flush_telemetry();
    let (_, body) = ask(&endpoint, SCRAPE);
    let states: Vec<_> = body.lines().filter(|line| line.starts_with("kasmina_breaker_state{")).collect();
    let state = |breaker: &str, state: CircuitBreakerState| {
        format!("kasmina_breaker_state{{breaker=\"{breaker}\"}} {}.0", i32::from(state))
    };
    assert_eq!(
        states,
        [
            state("isolation", CircuitBreakerState::CircuitStateHalfOpen),
            state("kernels", CircuitBreakerState::CircuitStateOpen),
        ]
    );
}

#[test]
fn other_paths_are_not_found_and_other_methods_not_allowed() {
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
fn garbage_is_refused_and_the_next_scrape_answered() {
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
fn headers_without_end_are_refused_before_they_fill_the_memory() {
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
fn an_idle_client_keeps_nobody_waiting() {
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
fn one_connection_too_many_cuts_off_the_oldest() {
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
fn a_client_that_drips_is_cut_off() {
    let (_, endpoint) = served();
    let mut client = connect(&endpoint);
    let between_drops = MetricsEndpoint::TIME_LIMIT / 10;
    client.set_read_timeout(Some(between_drops)).unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nCookie: ").unwrap();
    let open = (0..100).take_while(|_| client.write_all(b"a").is_ok() && !is_closed(&mut client)).count();
    assert!(open < 100, "still open after 10 times its time limit");
}

#[test]
fn a_client_that_does_not_read_keeps_nobody_waiting() {
    let (mut text, endpoint) = served();
    // More than the sockets' own buffers take.
    let id = "a".repeat(32 << 20);
    text.deliver(&TelemetryPacket {
        metrics: vec![MetricPoint { name: names::SEED_ALPHA.name.to_owned(), ..MetricPoint::default() }],
        system_health: Some(SystemHealth {
            indicators: [("seed_id".to_owned(), id)].into(),
            ..SystemHealth::default()
        }),
        ..TelemetryPacket::default()
    })
    .unwrap();
    let mut deaf = connect(&endpoint);
    deaf.write_all(SCRAPE).unwrap();
    let (_, body) = ask(&endpoint, SCRAPE);
    assert!(body == text.render(), "{} bytes arrived", body.len());
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let (text, endpoint) = served();
    let error = MetricsEndpoint::serve(text, endpoint.address().port()).unwrap_err();
    assert_eq!((error.address, error.source.kind()), (endpoint.address(), io::ErrorKind::AddrInUse));
    assert!(error.to_string().starts_with(&format!("no metrics at {}: ", endpoint.address())), "{error}");
}

#[test]
fn dropped_it_closes_its_connections_and_its_port() {
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
