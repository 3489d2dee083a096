//! A manager that grows nothing, for tests of policies and trainers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use burn::{
    optim::{GradientsParams, Optimizer},
    tensor::{ElementConversion, Tensor},
};
use kasmina_blending::{BlendConfig, GraftBackend};
use kasmina_commands::{Order, ReadSettings};
use kasmina_grown::{Grown, HostModule};
use kasmina_isolation::{Grafts, Statistics};
use kasmina_leyline::{CommandId, Monotonic, SeedId, TrainingRunId, v1::SeedState};
use kasmina_lifecycle::Transition;
use kasmina_security::{Rejection, Verifier, doubles::AcceptAll};

use crate::{
    error::{CommandError, Refusal, StepError},
    manager::Receipt,
    ports::{CommandPort, TrainPort},
    report::StepReport,
};

/// Trains the model alone, in plain Burn, and answers orders as its [`FakeHandle`] says.
///
/// It takes signed commands without a look at their signatures, each once. What nobody has scripted is carried out without
/// effect, unless it is about a seed that it does not have.
pub struct FakeManager {
    state: Arc<Mutex<State>>,
    verifier: AcceptAll,
    reading: ReadSettings,
}

/// Scripts a [`FakeManager`] that somebody else owns, and shows what it was asked.
#[derive(Clone)]
pub struct FakeHandle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    seeds: BTreeMap<String, SeedState>,
    answers: VecDeque<Result<Vec<Transition>, Refusal>>,
    step_errors: VecDeque<StepError>,
    orders: Vec<(Option<CommandId>, Order)>,
    ids: BTreeSet<CommandId>,
    steps: u64,
    epochs: u64,
    rollback: Option<u64>,
}

impl FakeManager {
    /// The manager of a run without seeds, and its handle.
    #[must_use]
    pub fn pair(run: TrainingRunId) -> (Self, FakeHandle) {
        let state = Arc::default();
        let reading = ReadSettings {
            run,
            max_alpha_vec: BlendConfig::DEFAULT_MAX_ALPHA_VEC,
            default_total_steps: 1000,
            degraded_below: 0.7,
        };
        (Self { state: Arc::clone(&state), verifier: AcceptAll::default(), reading }, FakeHandle(state))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl FakeHandle {
    /// It has this seed from now on, in this state.
    pub fn set_seed(&self, seed: SeedState) {
        lock(&self.0).seeds.insert(seed.seed_id.clone(), seed);
    }

    /// The next order that has no answer yet is answered with this. Seeds that it moves are in their new stage.
    pub fn answer(&self, answer: Result<Vec<Transition>, Refusal>) {
        lock(&self.0).answers.push_back(answer);
    }

    /// The next step that has no error yet is not taken.
    pub fn fail_step(&self, error: StepError) {
        lock(&self.0).step_errors.push_back(error);
    }

    /// The epoch of a rollback that must be done before the next batch.
    pub fn command_rollback(&self, epoch: Option<u64>) {
        lock(&self.0).rollback = epoch;
    }

    /// What was ordered since the last call, oldest first, refused or not. Signed commands come with their ids.
    #[must_use]
    pub fn take_orders(&self) -> Vec<(Option<CommandId>, Order)> {
        std::mem::take(&mut lock(&self.0).orders)
    }

    /// Steps that were taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        lock(&self.0).steps
    }

    /// Epochs that were ended.
    #[must_use]
    pub fn epochs(&self) -> u64 {
        lock(&self.0).epochs
    }
}

impl State {
    fn answer(&mut self, command: Option<CommandId>, order: Order) -> Result<Vec<Transition>, Refusal> {
        let stranger: Option<SeedId> = order.seed().filter(|seed| !self.seeds.contains_key(seed.as_str())).cloned();
        self.orders.push((command, order));
        let answer = match (self.answers.pop_front(), stranger) {
            (Some(scripted), _) => scripted?,
            (None, Some(stranger)) => return Err(kasmina_engine::Refusal::UnknownSeed(stranger).into()),
            (None, None) => Vec::new(),
        };
        for moved in &answer {
            if let Some(seed) = self.seeds.get_mut(moved.seed_id.as_str()) {
                seed.stage = moved.to.into();
            }
        }
        Ok(answer)
    }
}

impl CommandPort for FakeManager {
    fn submit(&mut self, wire: &[u8]) -> Result<Receipt, CommandError> {
        let issued_at = kasmina_leyline::UnixTime::from_millis(0);
        let verified = self.verifier.verify(wire, issued_at, Monotonic::ORIGIN)?.decode()?;
        let id = verified.id().clone();
        if !self.state().ids.insert(id.clone()) {
            return Err(Rejection::NonceReplayed { id }.into());
        }
        let answer = match kasmina_commands::read(&verified, &self.reading, verified.issued_at()) {
            Ok(read) => self.state().answer(Some(id.clone()), read.order),
            Err(unreadable) => Err(Refusal::Unreadable(unreadable)),
        };
        match answer {
            Ok(transitions) => Ok(Receipt { command: id, transitions }),
            Err(refusal) => {
                Err(CommandError::Refused { command: id, refusal: Box::new(refusal), transitions: Vec::new() })
            }
        }
    }

    fn order(&mut self, order: Order) -> Result<Vec<Transition>, Refusal> {
        self.state().answer(None, order)
    }

    fn seed_states(&self) -> Vec<SeedState> {
        self.state().seeds.values().cloned().collect()
    }
}

impl<B: GraftBackend, H: HostModule<B>> TrainPort<B, H> for FakeManager {
    fn train_batch<O: Optimizer<Grown<B, H>, B>>(
        &mut self,
        model: &mut Grown<B, H>,
        optimizer: &mut O,
        learning_rate: f64,
        forward: impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
    ) -> Result<StepReport, StepError> {
        let (scripted, rollback, step) = {
            let mut state = self.state();
            (state.step_errors.pop_front(), state.rollback, state.steps + 1)
        };
        if let Some(error) = scripted.or_else(|| rollback.map(|epoch| StepError::RollbackPending { epoch })) {
            return Err(error);
        }
        // Running statistics move in the pass itself: a step that is not taken must not leave them moved.
        let statistics = Statistics::of(model);
        let loss = forward(&model.host, &mut model.grafts());
        if loss.dims() != [1] {
            statistics.restore(model);
            return Err(StepError::LossShape { got: loss.dims().into() });
        }
        let value: f32 = loss.clone().into_scalar().elem();
        if !value.is_finite() {
            statistics.restore(model);
            return Err(StepError::NonFiniteLoss { loss: value, step });
        }
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        *model = optimizer.step(learning_rate, model.clone(), gradients);
        self.state().steps = step;
        Ok(StepReport { step, loss: value, ..StepReport::default() })
    }

    fn end_epoch(&mut self) {
        self.state().epochs += 1;
    }

    fn rollback_commanded(&self) -> Option<u64> {
        self.state().rollback
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
