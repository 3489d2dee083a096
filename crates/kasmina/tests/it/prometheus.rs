//! What the manager shows a Prometheus scrape.

use burn::backend::{Autodiff, Flex};
use kasmina::{
    CommandSender, SeedManager,
    leyline::{
        TrainingRunId,
        v1::{AdaptationCommand, CircuitBreakerState, CommandCircuitBreaker, CommandType, adaptation_command::Payload},
    },
    safety::{Clock, SystemClock},
    security::{CommandVerifier, KeyRing, Secret},
    telemetry::PrometheusText,
};

#[test]
fn forced_breakers_show_their_state_in_a_scrape() {
    let text = PrometheusText::default();
    let secret = Secret::new("a shared secret").unwrap();
    type B = Autodiff<Flex>;
    let mut manager: SeedManager<B> = SeedManager::<B>::builder(TrainingRunId::new("run-7").unwrap())
        .verifier(CommandVerifier::new(KeyRing::of("k1", secret.clone())))
        .sink(text.clone())
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
    let body = text.render();
    let states: Vec<_> = body.lines().filter(|line| line.starts_with("kasmina_breaker_state{")).collect();
    let state = |breaker: &str, state: CircuitBreakerState| {
        format!("kasmina_breaker_state{{breaker=\"{breaker}\"}} {}.0", i32::from(state))
    };
    assert_eq!(
        states,
        [
            state("blending", CircuitBreakerState::CircuitStateClosed),
            state("isolation", CircuitBreakerState::CircuitStateHalfOpen),
            state("kernels", CircuitBreakerState::CircuitStateOpen),
            state("telemetry", CircuitBreakerState::CircuitStateClosed),
        ]
    );
}
