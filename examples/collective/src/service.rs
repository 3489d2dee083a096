//! The tensor service of burn-communication: what a worker exposes by a number, others download.

use std::{
    io,
    sync::{Arc, mpsc::channel},
    time::Duration,
};

use burn::tensor::{TensorData, backend::Backend};
use burn_communication::{
    Address, ProtocolServer,
    data_service::{TensorDataServer, TensorDataService},
    websocket::{WebSocket, WsServer},
};
use kasmina_reduce::ReduceError;
use tokio::{net::TcpStream, runtime::Runtime, task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

/// How long until another try to reach a worker that has not begun yet, or has gone.
const AGAIN: Duration = Duration::from_millis(20);
/// All may download, and as often as they like: [`Service::forget_before`] ends it.
const ANY_NUMBER: u32 = u32::MAX;

/// Where a worker is.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    name: String,
    address: Address,
}

impl Host {
    pub(crate) fn new(name: &str) -> Result<Self, ReduceError> {
        let address = format!("ws://{name}").parse().map_err(ReduceError::Link)?;
        Ok(Self { name: name.to_owned(), address })
    }

    pub(crate) fn port(&self) -> Result<u16, ReduceError> {
        let port = self.name.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        port.ok_or_else(|| ReduceError::Link(format!("{} is not a host with a port", self.name)))
    }
}

/// A worker's service, and its connections to those of the others.
pub(crate) struct Service<B: Backend>(Arc<TensorDataService<B, WebSocket>>);

impl<B: Backend> Clone for Service<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> Service<B> {
    /// A service that listens on the host's port until the runtime ends. Returns once a download from there is what this service exposed.
    pub(crate) fn start(runtime: &Runtime, own: &Host, within: Duration) -> Result<Self, ReduceError> {
        let port = own.port()?;
        let service = Self(Arc::new(TensorDataService::new(CancellationToken::new())));
        runtime.spawn(service.clone().keep_awake());
        let listening = service.clone().listen(own.clone(), port);
        let listening = async move { time::timeout(within, listening).await };
        let elsewhere =
            |_| ReduceError::Link(format!("{} does not lead to this process, or the port is taken", own.name));
        wait(runtime, listening)?.map_err(elsewhere)?;
        Ok(service)
    }

    async fn listen(self, own: Host, port: u16) {
        let greeting: Vec<u8> = format!("{}.{:p}", std::process::id(), Arc::as_ptr(&self.0)).into_bytes();
        self.expose(u64::MAX, &greeting).await;
        loop {
            let server = WsServer::new(port).route_tensor_data_service(Arc::clone(&self.0));
            let server = tokio::spawn(server.serve(std::future::pending()));
            while !server.is_finished() {
                if time::timeout(AGAIN * 10, self.fetch(&own, u64::MAX)).await.is_ok_and(|heard| heard == greeting) {
                    return;
                }
                self.hang_up(&own).await;
                time::sleep(AGAIN).await;
            }
            // The port may be that of an earlier service, which ends by itself.
            time::sleep(AGAIN).await;
        }
    }

    /// The service can miss that something was exposed if a request comes in just then. It looks again whenever it is told so.
    async fn keep_awake(self) {
        loop {
            time::sleep(AGAIN).await;
            self.0.new_tensor_notify.notify_waiters();
        }
    }

    /// Exposes bytes by a number, in place of what was exposed by it.
    pub(crate) async fn expose(&self, id: u64, bytes: &[u8]) {
        let mut whole = id.to_le_bytes().to_vec();
        whole.extend_from_slice(bytes);
        let shape = [whole.len()];
        self.0.expose_data(TensorData::new(whole, shape), ANY_NUMBER, id.into()).await;
    }

    pub(crate) async fn forget(&self, id: u64) {
        self.0.exposed_tensors.lock().await.remove(&id.into());
    }

    /// What a worker exposes by this number. Waits for as long as it takes, over lost connections too.
    pub(crate) async fn fetch(&self, from: &Host, id: u64) -> Vec<u8> {
        loop {
            // The service panics if it cannot connect, so that is tried before.
            let known = self.0.channels.lock().await.contains_key(&from.address);
            if known || TcpStream::connect(&from.name).await.is_ok() {
                if let Some(bytes) = self.download(from, id).await {
                    return bytes;
                }
                self.hang_up(from).await;
            }
            time::sleep(AGAIN).await;
        }
    }

    async fn download(&self, from: &Host, id: u64) -> Option<Vec<u8>> {
        let (service, address) = (Arc::clone(&self.0), from.address.clone());
        let mut download = Aborted(tokio::spawn(async move { service.download_tensor(address, id.into()).await }));
        // It panics if the connection ends, or carries what it does not know.
        let data = (&mut download.0).await.ok()??;
        // An answer to a request that was given up is of another number.
        data.as_bytes().strip_prefix(&id.to_le_bytes()).map(<[u8]>::to_vec)
    }

    /// Waits until a worker exposes this number, or has gone.
    pub(crate) async fn is_there_or_gone(&self, host: &Host, id: u64) {
        if TcpStream::connect(&host.name).await.is_ok() {
            self.download(host, id).await;
        }
    }

    /// Ends all connections as the protocol wants it. Without that, the services at their other ends panic.
    pub(crate) async fn close(&self) {
        self.0.close().await;
    }

    /// Ends the connection to a worker, with the answers that are on their way.
    pub(crate) async fn hang_up(&self, host: &Host) {
        self.0.channels.lock().await.remove(&host.address);
    }
}

/// A task that ends with whoever waits for it.
struct Aborted<T>(JoinHandle<T>);

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs this on the runtime. The caller may be a task of another one, in which a runtime cannot be entered.
pub(crate) fn wait<T: Send + 'static>(
    runtime: &Runtime,
    task: impl Future<Output = T> + Send + 'static,
) -> Result<T, ReduceError> {
    let (done, outcome) = channel();
    runtime.spawn(async move {
        // Whoever asked waits for it.
        let _ = done.send(task.await);
    });
    outcome.recv().map_err(|_| ReduceError::Link("a task of the link has panicked".to_owned()))
}

pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("kasmina-peers").enable_all().build()
}
