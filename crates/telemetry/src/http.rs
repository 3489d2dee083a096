//! An HTTP server for Prometheus's scrapes, on loopback.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    thread::{self, JoinHandle},
    time::Duration,
};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{self, Runtime},
    sync::oneshot,
    task, time,
};

use crate::PrometheusText;

/// Answers `GET /metrics` on 127.0.0.1 with the text of a [`PrometheusText`], until it is dropped.
///
/// Other paths get 404, other methods 405. Each connection serves one request. All clients share one thread of the endpoint's
/// own; a training step waits for a scrape only while [`PrometheusText::render`] copies the values. Every process on this
/// machine can read the metrics.
///
/// A request may have 8 KiB of headers. A connection is closed after [`TIME_LIMIT`](Self::TIME_LIMIT). If
/// [`MAX_CONNECTIONS`](Self::MAX_CONNECTIONS) are open, a new one closes the oldest, so clients that never finish do not block
/// the others.
///
/// ```
/// use std::{
///     io::{Read, Write},
///     net::TcpStream,
/// };
///
/// use kasmina_telemetry::{MetricsEndpoint, PrometheusText};
///
/// let text = PrometheusText::default();
/// let sink = text.clone(); // give this one to the manager
/// let endpoint = MetricsEndpoint::serve(text, 0)?;
///
/// let mut client = TcpStream::connect(endpoint.address())?;
/// client.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
/// assert!(answer.ends_with(&sink.render()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MetricsEndpoint {
    address: SocketAddr,
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// Why the endpoint could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics at {address}: {source}")]
pub struct MetricsEndpointError {
    #[allow(missing_docs, reason = "the name says it")]
    pub address: SocketAddr,
    /// The error of the operating system, for example that the port is in use.
    pub source: io::Error,
}

impl MetricsEndpoint {
    /// How many connections may be open at a time.
    pub const MAX_CONNECTIONS: usize = 16;

    /// The longest life of a connection, whatever its client does. Prometheus itself gives up after 10 s, its default
    /// `scrape_timeout`.
    pub const TIME_LIMIT: Duration = Duration::from_secs(5);

    /// Serves `text` on `port` of 127.0.0.1. Port 0 takes any free port; [`address`](Self::address) returns which.
    ///
    /// # Errors
    /// [`MetricsEndpointError`] if the port cannot be opened or the thread cannot be started.
    pub fn serve(text: PrometheusText, port: u16) -> Result<Self, MetricsEndpointError> {
        let asked = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self::start(text, asked).map_err(|source| MetricsEndpointError { address: asked, source })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    fn start(text: PrometheusText, asked: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(asked)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("kasmina-metrics".to_owned())
            .spawn(|| run(runtime, listener, text, stopped))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for MetricsEndpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// Runs until `stopped`. Then the runtime drops every connection, and the port.
fn run(runtime: Runtime, listener: TcpListener, text: PrometheusText, stopped: oneshot::Receiver<Infallible>) {
    runtime.spawn(accept(listener, text));
    let _ = runtime.block_on(stopped);
}

async fn accept(listener: TcpListener, text: PrometheusText) {
    let mut open: VecDeque<task::JoinHandle<_>> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() == MetricsEndpoint::MAX_CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let connection = time::timeout(MetricsEndpoint::TIME_LIMIT, answer(client, text.clone()));
                open.push_back(task::spawn(connection));
            }
            // For example, out of file descriptors: trying again at once would fail as well.
            Err(_) => time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(client: TcpStream, text: PrometheusText) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let response = respond(&request, &text);
        async move { Ok::<_, Infallible>(response) }
    });
    // The smallest that the library allows.
    let header_bytes = 8 << 10;
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(header_bytes)
        .serve_connection(TokioIo::new(client), service)
        .await
}

fn respond(request: &Request<Incoming>, text: &PrometheusText) -> Response<String> {
    let mut response = Response::default();
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if request.method() != Method::GET {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    } else {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PrometheusText::CONTENT_TYPE));
        *response.body_mut() = text.render();
    }
    response
}
