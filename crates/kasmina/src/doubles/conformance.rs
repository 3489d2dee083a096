//! What every manager has to do, as its neighbours see it.

use burn::optim::{AdamW, adaptor::OptimizerAdaptor};
use kasmina_commands::{BreakerName, CommandSender, Order};
use kasmina_grown::Grown;
use kasmina_isolation::Grafts;
use kasmina_leyline::{
    CommandId, UnixTime,
    v1::{AdaptationCommand, CircuitBreakerState},
};
use prost::Message;

use super::{
    hosts::{B, Mlp, RATE, bytes, control_step, determined, loss, optimizer, twin},
    stock::seed,
};
use crate::{
    error::{CommandError, StepError},
    ports::{CommandPort, TrainPort},
};

/// Runs the suite of [`CommandPort`]. `build` gives a port that has the seeds `seed-2` and `seed-1` and takes the sender's commands
/// at the given time.
///
/// # Panics
/// If the port does not do what the trait promises.
pub fn command_port<P: CommandPort>(build: impl FnOnce() -> (P, CommandSender, UnixTime)) {
    let (mut port, mut sender, now) = build();
    let before = port.seed_states();
    let ids: Vec<_> = before.iter().map(|state| state.seed_id.as_str()).collect();
    assert_eq!(ids, ["seed-1", "seed-2"], "the states of all seeds, by id");

    let garbage = port.submit(b"\xff\xff\xff garbage").map_err(|error| error.reason());
    assert_eq!(garbage, Err("malformed"), "garbage");

    let stranger = Order::Cull { seed: seed("nobody"), blend_out_steps: 0 };
    let refused = port.order(stranger.clone()).map_err(|refusal| refusal.reason());
    assert_eq!(refused, Err("unknown_seed"), "an order about a seed that there is not");
    let wire = sender.order(&stranger, now).expect("short");
    let CommandError::Refused { command, refusal, transitions } = port.submit(&wire).expect_err("no such seed") else {
        panic!("an authentic command is refused, not rejected");
    };
    assert_eq!(
        (command, refusal.reason(), transitions),
        (id_of(&wire), "unknown_seed", Vec::new()),
        "the same, signed"
    );

    let breaker = BreakerName::Kernels;
    let close = Order::CircuitBreaker { breaker, state: CircuitBreakerState::CircuitStateClosed };
    assert_eq!(
        port.order(close.clone()).expect("no seed stands against it"),
        Vec::new(),
        "an order that moves nothing"
    );
    let wire = sender.order(&close, now).expect("short");
    let receipt = port.submit(&wire).expect("authentic and new");
    assert_eq!((receipt.command, receipt.transitions), (id_of(&wire), Vec::new()), "a receipt names its command");
    let replayed = port.submit(&wire).map_err(|error| error.reason());
    assert_eq!(replayed, Err("nonce_replayed"), "a command is obeyed once");
    assert_eq!(port.seed_states(), before, "none of it has touched a seed");
}

/// Runs the suite of [`TrainPort`]. `build` gives a port that has no live seed.
///
/// # Panics
/// If the port does not do what the trait promises.
pub fn train_port<P: TrainPort<B, Mlp<B>>>(build: impl FnOnce() -> P) {
    let mut port = build();
    let mut host = Grown::new(determined(Mlp::<B>::init()));
    let mut control = twin(&host);
    let (mut its_optimizer, mut control_optimizer) = (optimizer(), optimizer());
    assert_eq!(port.rollback_commanded(), None, "nobody has ordered a rollback");
    for step in 1..=6 {
        if step == 3 {
            refuses_bad_losses(&mut port, &mut host, &mut its_optimizer, step);
        }
        if step == 5 {
            port.end_epoch();
        }
        let expected: f32 = loss(&control, step, &mut Grafts::none()).into_scalar();
        let report = port.train_batch(&mut host, &mut its_optimizer, RATE, |host, grafts| loss(host, step, grafts));
        let report = report.expect("the loss is finite");
        control_step(&mut control, &mut control_optimizer, step);
        assert_eq!((report.step, report.loss.to_bits()), (step, expected.to_bits()), "the step and the host's loss");
        assert!(bytes(&host) == bytes(&control), "step {step} is what the host would have done alone");
        assert!(report.seeds.is_empty() && report.transitions.is_empty() && report.violations.is_empty());
    }
}

fn refuses_bad_losses<P: TrainPort<B, Mlp<B>>>(
    port: &mut P,
    host: &mut Grown<B, Mlp<B>>,
    optimizer: &mut OptimizerAdaptor<AdamW, Grown<B, Mlp<B>>, B>,
    step: u64,
) {
    let before = bytes(host);
    let nan = port.train_batch(host, optimizer, RATE, |host, grafts| loss(host, step, grafts) * f32::NAN);
    let nan = nan.expect_err("NaN");
    assert!(matches!(nan, StepError::NonFiniteLoss { step: at, .. } if at == step), "a loss that is NaN: {nan}");
    let long = port.train_batch(host, optimizer, RATE, |host, grafts| loss(host, step, grafts).repeat(&[3]));
    assert_eq!(long.expect_err("three numbers"), StepError::LossShape { got: vec![3] }, "a loss of three numbers");
    assert!(bytes(host) == before, "a step that is not taken leaves the host as it was");
}

fn id_of(wire: &[u8]) -> CommandId {
    let command = AdaptationCommand::decode(wire).expect("a command");
    CommandId::new(command.command_id).expect("an id")
}
