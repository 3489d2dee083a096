//! What a sender writes.

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_commands::{CommandSender, Order, ReadError, SendError};
use kasmina_leyline::v1::{SeedOperation, adaptation_command::Payload};

use crate::common::{NOW, decoded, read_wire, secret, seed, sender};

#[test]
fn sender_name_that_makes_no_id_is_refused() {
    for name in ["two words", "é", &"x".repeat(120)] {
        assert!(CommandSender::new(&secret(), name).is_err(), "{name}");
    }
    assert!(CommandSender::new(&secret(), "tamiyo").is_ok());
}

#[test]
fn two_commands_have_two_ids() {
    let mut sender = sender();
    let wires = [
        sender.order(&Order::Cull { seed: seed(), blend_out_steps: 0 }, NOW),
        sender.order(&Order::Cull { seed: seed(), blend_out_steps: 0 }, NOW),
    ];
    let [a, b] = wires.map(|wire| decoded(&wire.unwrap()).command_id);
    assert_ne!(a, b);
}

/// Receivers that do not know the typed field read the annotations.
#[test]
fn blend_is_written_typed_and_as_annotations() {
    let blend = BlendConfig::confidence(2.0, 0.5, 0.1, 0.9).unwrap().with_source(Some("tamiyo".into()));
    let schedule = AlphaSchedule::Cosine { total_steps: 500 };
    let order = Order::StartGrafting { seed: seed(), blend: blend.clone(), schedule };
    let command = decoded(&sender().order(&order, NOW).unwrap());
    assert_eq!(BlendConfig::from_annotations(&command.annotations, 64), Ok(blend.clone()));
    let Some(Payload::SeedOperation(operation)) = command.payload else { panic!("a seed operation") };
    assert_eq!(operation.blend, Some(blend.to_typed()));
}

#[test]
fn order_that_no_receiver_would_obey_is_not_signed() {
    let steps = Order::FineTune { seed: seed(), steps: 0 };
    assert!(matches!(sender().order(&steps, NOW), Err(SendError::Unreadable(ReadError::Malformed { .. }))));
    let rounded = Order::FineTune { seed: seed(), steps: (1 << 24) + 1 };
    assert_eq!(sender().order(&rounded, NOW), Err(SendError::Inexact("fine_tune")));
    let contradicted = sender().order_with(&Order::Pause { seed: seed() }, [("resume", "true")], NOW);
    assert_eq!(contradicted, Err(SendError::Inexact("pause")));
}

#[test]
fn deadline_of_the_sender_is_in_its_orders() {
    let deadline = |mut sender: CommandSender| {
        decoded(&sender.order(&Order::Cull { seed: seed(), blend_out_steps: 0 }, NOW).unwrap()).execution_deadline_ms
    };
    assert_eq!((deadline(sender()), deadline(sender().with_deadline_ms(50))), (0, 50));
}

#[test]
fn plain_helpers_write_the_same_orders() {
    let mut sender = sender();
    let wires = [
        (sender.pause(&seed(), false, NOW), Order::Pause { seed: seed() }),
        (sender.pause(&seed(), true, NOW), Order::Resume { seed: seed() }),
        (sender.roll_back(3, NOW), Order::Rollback { epoch: 3 }),
        (sender.roll_back_seed(&seed(), None, NOW), Order::RollBackSeed { seed: seed(), epoch: None }),
        (
            sender.operate(&seed(), SeedOperation::SeedOpCull, [], [], NOW),
            Order::Cull { seed: seed(), blend_out_steps: 0 },
        ),
        (
            sender.operate(&seed(), SeedOperation::SeedOpFineTune, [("steps", 5.0)], [], NOW),
            Order::FineTune { seed: seed(), steps: 5 },
        ),
    ];
    for (wire, order) in wires {
        assert_eq!(read_wire(&wire.unwrap()).unwrap().order, order);
    }
}
