//! Reads and writes objects of an object store. What is asynchronous about that stays on one thread with its own
//! runtime.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ::object_store::{Error, ObjectStore, ObjectStoreExt as _, PutPayload, path::Path};
use crossbeam::channel::{self, Sender};
use futures_util::StreamExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use url::Url;

use crate::LibraryError;
use crate::container::excerpt;

/// A folder of an object store. Its methods block; many threads can call them at the same time.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// The folder's path in the store.
    folder: Path,
    tasks: Option<UnboundedSender<Task>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Task {
    Get { path: Path, limit: usize, reply: Sender<Result<Vec<u8>, LibraryError>> },
    Put { path: Path, bytes: Vec<u8>, reply: Sender<Result<(), LibraryError>> },
}

impl Bucket {
    /// Opens the folder that `url` names. Every call takes at most `timeout`.
    ///
    /// # Errors
    /// [`LibraryError::Unavailable`] if the URL or an option is malformed, or no thread can be started.
    pub(crate) fn open(
        url: &str,
        options: impl IntoIterator<Item = (String, String)>,
        timeout: Duration,
    ) -> Result<Self, LibraryError> {
        let url = Url::parse(url).map_err(|error| unavailable(&error))?;
        let (store, folder) = ::object_store::parse_url_opts(&url, options).map_err(|error| unavailable(&error))?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| unavailable(&error))?;
        let (tasks, receiver) = unbounded_channel();
        let store: Arc<dyn ObjectStore> = Arc::from(store);
        let serve = move || {
            runtime.block_on(serve(&store, receiver, timeout));
            // A store that hangs must not hold up whoever drops the bucket.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("kasmina-object-store".into()).spawn(serve);
        let thread = thread.map_err(|error| unavailable(&error))?;
        Ok(Self { folder, tasks: Some(tasks), thread: Some(thread) })
    }

    /// The content of an object.
    ///
    /// # Errors
    /// [`LibraryError::Missing`]; [`LibraryError::TooLarge`] if there are more than `limit` bytes, which were not read;
    /// [`LibraryError::Unavailable`] if the store does not answer or refuses.
    pub(crate) fn get(&self, name: &str, limit: usize) -> Result<Vec<u8>, LibraryError> {
        self.run(|reply| Task::Get { path: self.path(name), limit, reply })
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// [`LibraryError::Unavailable`] if the store does not answer or refuses.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), LibraryError> {
        self.run(|reply| Task::Put { path: self.path(name), bytes, reply })
    }

    /// The path of an object, for errors.
    pub(crate) fn full_name(&self, name: &str) -> PathBuf {
        PathBuf::from(self.path(name).to_string())
    }

    fn path(&self, name: &str) -> Path {
        self.folder.clone().join(name)
    }

    fn run<R>(&self, task: impl FnOnce(Sender<Result<R, LibraryError>>) -> Task) -> Result<R, LibraryError> {
        let (reply, answer) = channel::bounded(1);
        // If the thread has ended, the task is dropped, and the reply with it.
        let _ = self.tasks.as_ref().map(|tasks| tasks.send(task(reply)));
        answer.recv().unwrap_or_else(|_| Err(LibraryError::Unavailable { detail: "its thread has ended".into() }))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.tasks = None;
        // It does nothing but what it was asked for, and nobody asks any more.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(store: &Arc<dyn ObjectStore>, mut tasks: UnboundedReceiver<Task>, timeout: Duration) {
    while let Some(task) = tasks.recv().await {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            // Whoever asked waits for the reply.
            match task {
                Task::Get { path, limit, reply } => {
                    let _ = reply.send(in_time(timeout, get(&*store, &path, limit)).await);
                }
                Task::Put { path, bytes, reply } => {
                    let put = async { store.put(&path, PutPayload::from(bytes)).await.map_err(refused) };
                    let _ = reply.send(in_time(timeout, put).await.map(drop));
                }
            }
        });
    }
}

async fn in_time<R>(timeout: Duration, work: impl Future<Output = Result<R, LibraryError>>) -> Result<R, LibraryError> {
    let late = |_| Err(LibraryError::Unavailable { detail: format!("it did not answer within {timeout:?}") });
    tokio::time::timeout(timeout, work).await.unwrap_or_else(late)
}

async fn get(store: &dyn ObjectStore, path: &Path, limit: usize) -> Result<Vec<u8>, LibraryError> {
    let too_large = || LibraryError::TooLarge { path: PathBuf::from(path.to_string()), limit };
    let found = store.get(path).await.map_err(refused)?;
    let size = usize::try_from(found.meta.size).ok().filter(|size| *size <= limit).ok_or_else(too_large)?;
    let mut bytes = Vec::with_capacity(size);
    let mut chunks = found.into_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(refused)?;
        if chunk.len() > limit - bytes.len() {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn refused(error: Error) -> LibraryError {
    if let Error::NotFound { path, .. } = error {
        return LibraryError::Missing { path: PathBuf::from(path) };
    }
    unavailable(&error)
}

fn unavailable(error: &dyn std::error::Error) -> LibraryError {
    // A server's answer can be long, and the first part of it says what it is.
    LibraryError::Unavailable { detail: excerpt(&error.to_string()) }
}
