//! Every order that is written, signed, verified and read comes back.

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_commands::{BreakerName, Order, SendError};
use kasmina_leyline::{
    BlueprintId, SeedId,
    v1::{BlueprintTier, CircuitBreakerState},
};
use proptest::{collection::btree_map, option, prelude::*, sample::select};

use crate::common::{NOW, read_wire, sender};

fn seed() -> impl Strategy<Value = SeedId> {
    "[!-~]{1,128}".prop_map(|text| SeedId::new(text).unwrap())
}

fn scale() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0), (f32::MIN_POSITIVE..f32::MAX).prop_map(f64::from)]
}

fn blend() -> impl Strategy<Value = BlendConfig> {
    let plain = prop_oneof![
        Just(BlendConfig::convex()),
        Just(BlendConfig::residual()),
        prop::collection::vec(0.0..=1.0_f32, 1..=64).prop_map(|alpha_vec| BlendConfig::channel(alpha_vec).unwrap()),
        (0.0..f32::MAX, 0.0..1e-3_f32, 0.0..=1.0_f32, 0.0..=1.0_f32)
            .prop_map(|(k, tau, lo, hi)| BlendConfig::confidence(k, tau, lo, hi).unwrap()),
    ];
    (plain, option::of(".{0,8}")).prop_map(|(config, source)| config.with_source(source))
}

fn schedule() -> impl Strategy<Value = AlphaSchedule> {
    let steps = 1..=AlphaSchedule::MAX_TOTAL_STEPS;
    prop_oneof![
        (steps.clone(), f32::MIN_POSITIVE..f32::MAX)
            .prop_map(|(total_steps, temperature)| AlphaSchedule::Sigmoid { total_steps, temperature }),
        steps.clone().prop_map(|total_steps| AlphaSchedule::Linear { total_steps }),
        steps.prop_map(|total_steps| AlphaSchedule::Cosine { total_steps }),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    let tier = select(vec![BlueprintTier::Safe, BlueprintTier::Experimental, BlueprintTier::HighRisk]);
    let parameters = btree_map("[a-km-z]{0,6}", -1e9..1e9_f32, 0..5);
    let germinate = (seed(), "[!-~]{1,16}", option::of(tier), parameters, scale()).prop_map(
        |(seed, blueprint, tier, parameters, lr_scale)| Order::Germinate {
            seed,
            blueprint: BlueprintId::new(blueprint).unwrap(),
            tier,
            parameters,
            lr_scale,
        },
    );
    let of_seed: [fn(SeedId) -> Order; 8] = [
        |seed| Order::StartTraining { seed },
        |seed| Order::Stabilize { seed },
        |seed| Order::Evaluate { seed },
        |seed| Order::Fossilize { seed },
        |seed| Order::Cull { seed, blend_out_steps: 0 },
        |seed| Order::Cancel { seed },
        |seed| Order::Pause { seed },
        |seed| Order::Resume { seed },
    ];
    let state = select(vec![CircuitBreakerState::CircuitStateClosed, CircuitBreakerState::CircuitStateOpen]);
    let epoch = 0..=1_u64 << 53;
    prop_oneof![
        3 => germinate,
        4 => (seed(), 0..of_seed.len()).prop_map(move |(seed, which)| of_seed[which](seed)),
        3 => (seed(), blend(), schedule())
            .prop_map(|(seed, blend, schedule)| Order::StartGrafting { seed, blend, schedule }),
        1 => (seed(), 0..=1_u32 << 24)
            .prop_map(|(seed, blend_out_steps)| Order::Cull { seed, blend_out_steps }),
        1 => (seed(), 1..=1_u64 << 24).prop_map(|(seed, steps)| Order::FineTune { seed, steps }),
        1 => (seed(), scale()).prop_map(|(seed, lr_scale)| Order::Optimizer { seed, lr_scale }),
        1 => (select(BreakerName::ALL.to_vec()), state)
            .prop_map(|(breaker, state)| Order::CircuitBreaker { breaker, state }),
        1 => any::<bool>().prop_map(|include_teacher| Order::Emergency { include_teacher }),
        1 => epoch.clone().prop_map(|epoch| Order::Rollback { epoch }),
        1 => (seed(), option::of(epoch)).prop_map(|(seed, epoch)| Order::RollBackSeed { seed, epoch }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn written_order_is_read_back(order in order()) {
        let wire = sender().order(&order, NOW).unwrap();
        let command = read_wire(&wire).unwrap();
        prop_assert_eq!(&command.order, &order);
        prop_assert_eq!((command.issued_by.as_str(), command.issued_at), ("tamiyo", NOW));
        prop_assert_eq!(&command.notices, &[]);
        prop_assert_eq!(command.order.seed(), order.seed());
    }

    /// What a sender lets through is read as it was meant, whatever the numbers.
    #[test]
    fn any_numbers_are_written_exactly_or_refused(
        seed in seed(), steps: u64, blend_out_steps: u32, epoch: u64, lr_scale: f64, temperature: f32, parameter: f32,
    ) {
        let blueprint = BlueprintId::new("mlp").unwrap();
        let schedule = AlphaSchedule::Sigmoid { total_steps: steps, temperature };
        let orders = [
            Order::FineTune { seed: seed.clone(), steps },
            Order::Cull { seed: seed.clone(), blend_out_steps },
            Order::Rollback { epoch },
            Order::Optimizer { seed: seed.clone(), lr_scale },
            Order::StartGrafting { seed: seed.clone(), blend: BlendConfig::convex(), schedule },
            Order::Germinate {
                seed,
                blueprint,
                tier: None,
                parameters: [("width".to_owned(), parameter)].into(),
                lr_scale: 1.0,
            },
        ];
        for order in orders {
            match sender().order(&order, NOW) {
                Err(error) => prop_assert!(matches!(error, SendError::Inexact(_) | SendError::Unreadable(_)), "{error}"),
                Ok(wire) => {
                    let read = read_wire(&wire).unwrap().order;
                    if let (Order::Optimizer { lr_scale: read, .. }, Order::Optimizer { lr_scale, .. }) = (&read, &order) {
                        prop_assert_eq!(*read as f32, *lr_scale as f32);
                    } else {
                        prop_assert_eq!(read, order);
                    }
                }
            }
        }
    }

    /// What is stored of an order is the order.
    #[test]
    fn order_survives_serde(order in order()) {
        let bytes = rmp_serde::to_vec(&order).unwrap();
        prop_assert_eq!(rmp_serde::from_slice::<Order>(&bytes).unwrap(), order);
    }
}

#[test]
fn terminate_is_not_sent() {
    let terminate = Order::Terminate { seed: SeedId::new("seed-1").unwrap() };
    assert_eq!(sender().order(&terminate, NOW), Err(SendError::Local("terminate")));
    assert_eq!(terminate.command_type(), None);
}
