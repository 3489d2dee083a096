//! Prometheus's scrapes, over HTTP on loopback.

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
use kasmina_telemetry::PrometheusText;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{self, Runtime},
    sync::oneshot,
    task, time,
};

/// Answers `GET /metrics` on 127.0.0.1 with what a [`PrometheusText`] holds, until it is dropped.
///
/// Other paths get 404, other methods 405. One request a connection. It runs one thread of its own, which serves every client;
/// a training step waits for a scrape no longer than [`PrometheusText::render`] copies. Anyone on this machine can read it.
///
/// A request may have 8 KiB of headers. A connection is cut off after [`TIME_LIMIT`](Self::TIME_LIMIT), and where
/// [`MAX_CONNECTIONS`](Self::MAX_CONNECTIONS) are open, one more cuts off the oldest: clients that never finish keep nobody
/// waiting.
///
/// ```
/// use std::{
///     io::{Read, Write},
///     net::TcpStream,
/// };
///
/// use kasmina::{MetricsEndpoint, telemetry::PrometheusText};
///
/// let text = PrometheusText::default();
/// let sink = text.clone(); // for `SeedManagerBuilder::sink`
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

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
#[error("no metrics at {address}: {source}")]
pub struct MetricsEndpointError {
    /// Where it was to be.
    pub address: SocketAddr,
    /// What the operating system said: the port is taken, say, or not for everyone.
    pub source: io::Error,
}

impl MetricsEndpoint {
    /// How many connections are open at a time.
    pub const MAX_CONNECTIONS: usize = 16;

    /// How long a connection lives at most, whatever its client does; Prometheus itself gives up after 10 s (its default
    /// `scrape_timeout`).
    pub const TIME_LIMIT: Duration = Duration::from_secs(5);

    /// Serves `text` on `port` of 127.0.0.1; 0 takes any that is free, and [`address`](Self::address) says which.
    ///
    /// # Errors
    /// [`MetricsEndpointError`] where the port cannot be had, or no thread.
    pub fn serve(text: PrometheusText, port: u16) -> Result<Self, MetricsEndpointError> {
        let asked = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self::start(text, asked).map_err(|source| MetricsEndpointError { address: asked, source })
    }

    /// Where it listens.
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
            // A panic of the thread was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Until `stopped`. The runtime then drops what still runs, and with it the port and every connection.
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
            // Out of file descriptors, say, which another attempt at once would be as well.
            Err(_) => time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(client: TcpStream, text: PrometheusText) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let response = respond(&request, &text);
        async move { Ok::<_, Infallible>(response) }
    });
    // The least that the library allows.
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
