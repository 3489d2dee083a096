//! What the manager and its threads share.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam::channel::{self, Receiver, Sender};
use kasmina_leyline::{BlueprintId, UnixTime};

use super::desk::Desk;
use super::effects::{Effects, Outcome};
use super::flights::{Job, Step};
use super::loads::Loads;
use super::pool::Pool;
use super::source::Source;
use super::wire::Ids;
use super::{Answered, LoadSettings};
use crate::container::excerpt;
use crate::loader::check;
use crate::{ArtifactError, ArtifactLimits, Fetched, LoadError, VerifiedArtifact};

/// The manager's state behind its lock, and what acts on it.
pub(crate) struct Shared {
    desk: Desk<VerifiedArtifact>,
    pub(crate) source: Source,
    pub(crate) ids: Ids,
    pub(crate) pool: Pool<Job>,
    limits: ArtifactLimits,
    /// Holds one token if something may have landed since the last wait.
    landed: (Sender<()>, Receiver<()>),
}

impl Shared {
    pub(crate) fn new(source: Source, settings: &LoadSettings, started: UnixTime) -> Self {
        Self {
            desk: Desk::new(Loads::new(settings, source.by_message())),
            source,
            ids: Ids::new(started),
            pool: Pool::new(settings.threads),
            limits: settings.limits,
            landed: channel::bounded(1),
        }
    }

    /// Looks at the state, or changes it in a way that asks for nothing.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut Loads<VerifiedArtifact>) -> R) -> R {
        self.desk.look(look)
    }

    /// Changes the state, then does what that asks for.
    pub(crate) fn act<R>(self: &Arc<Self>, act: impl FnOnce(&mut Loads<VerifiedArtifact>) -> R) -> R {
        let (result, effects) = self.desk.change(act);
        self.perform(effects);
        result
    }

    pub(crate) const fn landed(&self) -> &Receiver<()> {
        &self.landed.1
    }

    fn perform(self: &Arc<Self>, effects: Effects<VerifiedArtifact>) {
        let mut todo = VecDeque::from([effects]);
        while let Some(Effects { jobs, message, garbage, landed }) = todo.pop_front() {
            for job in jobs {
                let shared = Arc::clone(self);
                if let Err((job, error)) = self.pool.submit(job, move |job| shared.run(job)) {
                    let outcome = Outcome::Failed(LoadError::NoThread { detail: error.to_string() });
                    todo.push_back(self.desk.change(|loads| loads.finish(&job.blueprint, outcome)).1);
                }
            }
            if let Some(outgoing) = message {
                let request = self.ids.message(&outgoing);
                let sent = guarded(|| self.source.request(request).map_err(LoadError::from));
                if let Err(error) = sent {
                    let refuse = |_: &BlueprintId| Step::Check(Err(error));
                    let (_, effects): (Answered, _) = self.desk.change(|loads| loads.answer(outgoing.number, refuse));
                    todo.push_back(effects);
                }
            }
            if landed {
                // If a token is there already, whoever waits will see both.
                let _ = self.landed.0.try_send(());
            }
            // Last, because freeing a large kernel takes a while.
            drop(garbage);
        }
    }

    /// A thread's work.
    fn run(self: &Arc<Self>, job: Job) {
        let blueprint = job.blueprint.clone();
        let outcome = guarded(|| self.load(job)).unwrap_or_else(Outcome::Failed);
        self.act(|loads| loads.finish(&blueprint, outcome));
    }

    fn load(self: &Arc<Self>, job: Job) -> Result<Outcome<VerifiedArtifact>, LoadError> {
        if self.look(|loads| loads.is_closed()) {
            return Err(LoadError::Closed);
        }
        let (blueprint, limit) = (job.blueprint.clone(), job.limit);
        let Fetched::Here(artifact) = self.source.get(job)? else { return Ok(Outcome::Later) };
        let bytes = artifact.bytes.len();
        if bytes > self.limits.max_bytes {
            return Err(ArtifactError::Oversized { limit: self.limits.max_bytes, got: bytes }.into());
        }
        if bytes as u64 > limit {
            return Err(LoadError::OverBudget { limit, bytes: bytes as u64 });
        }
        self.act(|loads| loads.fetched(&blueprint, bytes as u64));
        let verified = check(&blueprint, &artifact, &self.limits)?;
        let bytes = verified.parameters_bytes();
        Ok(Outcome::Ready { artifact: Arc::new(verified), bytes })
    }
}

/// Calls code that is not this crate's. A panic becomes an error.
fn guarded<R>(call: impl FnOnce() -> Result<R, LoadError>) -> Result<R, LoadError> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| Err(LoadError::Panicked { detail: excerpt(message(&*panic)) }))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}
