//! The HTTP server, on loopback.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    thread::{self, JoinHandle},
    time::Duration,
};

use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{self, Runtime},
    sync::oneshot,
    task, time,
};

use crate::{answer::answer, runs::Follower};

/// Serves the page and the lines of runs on 127.0.0.1, until it is dropped.
///
/// Every process and every user of this machine can read what it serves; other machines cannot, and pages of other sites cannot
/// either: a request has to name the server as `127.0.0.1` or `localhost`, with its port. Only GET is answered.
///
/// All clients share one thread; files are read on others. A request may have 8 KiB of headers, and a connection serves one request
/// and is closed after [`TIME_LIMIT`](Self::TIME_LIMIT). If [`MAX_CONNECTIONS`](Self::MAX_CONNECTIONS) are open, a new one closes the
/// oldest, so clients that never finish do not block the others.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the page at {address}: {source}")]
pub struct ServerError {
    #[allow(missing_docs, reason = "the name says it")]
    pub address: SocketAddr,
    /// The error of the operating system, for example that the port is in use.
    pub source: io::Error,
}

impl Server {
    /// How many connections may be open at a time. Our choice: a browser opens six.
    pub const MAX_CONNECTIONS: usize = 32;

    /// The longest life of a connection, whatever its client does. Our choice: a hundred times what an answer takes.
    pub const TIME_LIMIT: Duration = Duration::from_secs(10);

    /// Serves the runs of `follower` on `port` of 127.0.0.1. Port 0 takes any free port; [`address`](Self::address) returns which.
    ///
    /// # Errors
    /// [`ServerError`] if the port cannot be opened or the thread cannot be started.
    pub fn start(follower: Follower, port: u16) -> Result<Self, ServerError> {
        let asked = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self::listen(follower, asked).map_err(|source| ServerError { address: asked, source })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for as long as the process lives.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }

    fn listen(follower: Follower, asked: SocketAddr) -> io::Result<Self> {
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
            .name("kasmina-watch".to_owned())
            .spawn(move || run(runtime, listener, address, follower, stopped))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs until `stopped`. Then the runtime drops every connection, and the port.
fn run(
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    follower: Follower,
    stopped: oneshot::Receiver<Infallible>,
) {
    runtime.spawn(accept(listener, address, follower));
    let _ = runtime.block_on(stopped);
}

async fn accept(listener: TcpListener, address: SocketAddr, follower: Follower) {
    let mut open: VecDeque<task::JoinHandle<_>> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() == Server::MAX_CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let connection = time::timeout(Server::TIME_LIMIT, serve(client, address, follower.clone()));
                open.push_back(task::spawn(connection));
            }
            // For example, out of file descriptors: trying again at once would fail as well.
            Err(_) => time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(client: TcpStream, address: SocketAddr, follower: Follower) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let follower = follower.clone();
        async move {
            let (request, _body) = request.into_parts();
            // A disk that hangs holds up its own request only.
            let answered = task::spawn_blocking(move || answer(&request, address, &follower)).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|_| {
                let mut response = Response::new(String::new());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }))
        }
    });
    // The smallest that the library allows.
    let header_bytes = 8 << 10;
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(header_bytes)
        .serve_connection(TokioIo::new(client), service)
        .await
}
