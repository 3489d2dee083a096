//! Something that listens where the server should be, and is none.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use kasmina_leyline::v1::BusMessageType;
use kasmina_oona::{BrokerError, Bus, EntryKeys, Health, Message, RedisBus, RedisSettings};

use crate::worlds::{clock_of_today, reader, wait_until};

/// Answers every connection with these bytes and closes it. It ends when it is dropped.
struct Impostor {
    port: u16,
    thread: Option<thread::JoinHandle<()>>,
}

const END: &[u8] = b"the end of the test";

impl Impostor {
    fn answering(bytes: &'static [u8]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = move |mut stream: TcpStream| {
            let mut said = [0; 512];
            let read = stream.read(&mut said).unwrap_or(0);
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(Shutdown::Both);
            said[..read] != *END
        };
        let thread = thread::spawn(move || while listener.accept().is_ok_and(|(stream, _)| answer(stream)) {});
        Self { port, thread: Some(thread) }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let told = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| stream.write_all(END));
        if let (Ok(()), Some(thread)) = (told, self.thread.take()) {
            thread.join().unwrap();
        }
    }
}

/// What the bus says of a server that answers so.
fn error_of(bytes: &'static [u8]) -> BrokerError {
    let impostor = Impostor::answering(bytes);
    let mut settings = RedisSettings::new(format!("redis://127.0.0.1:{}", impostor.port));
    settings.response_timeout = Duration::from_secs(20);
    let bus = RedisBus::start(settings, EntryKeys::default(), reader("tamiyo"), clock_of_today()).unwrap();
    bus.publish(Message::new(BusMessageType::Telemetry, *b"x")).unwrap();
    let mut found = None;
    wait_until("the bus sees that this is no server", || {
        if let Health::Down { error, .. } = bus.status().health
            && error != BrokerError::NotTried
        {
            found = Some(error);
        }
        found.is_some()
    });
    assert_eq!(bus.status().waiting, 1, "the message is kept");
    found.unwrap()
}

#[test]
fn what_does_not_speak_the_protocol_is_no_server() {
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x00\xff\xfe\x80", b"$-7\r\n", b":\r\n"] {
        assert!(
            matches!(error_of(bytes), BrokerError::Unexpected { .. } | BrokerError::Unreachable { .. }),
            "{bytes:?}"
        );
    }
}

#[test]
fn an_answer_that_is_nested_too_deeply_is_refused() {
    let deep: &'static [u8] = b"*1\r\n".repeat(100_000).leak();
    let error = error_of(deep);
    assert!(matches!(error, BrokerError::Unexpected { .. } | BrokerError::Unreachable { .. }), "{error:?}");
}

#[test]
fn an_answer_that_breaks_off_is_a_lost_connection() {
    for bytes in [&b""[..], b"+PO", b"$100\r\nhalf", b"*2147483647\r\n", b"$536870912\r\n"] {
        assert!(matches!(error_of(bytes), BrokerError::Unreachable { .. }), "{bytes:?}");
    }
}
