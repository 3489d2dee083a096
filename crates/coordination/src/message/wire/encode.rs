//! Writing messages.

use prost::Message as _;

use super::{
    ACCEPT, COMMIT, GROUP_BYTES, LOCK, PREPARE, PROPOSE, QUERY, VERSION, VOTE, WireCertificate, WireMessage, WireOrder,
    WirePlan, WirePromise, WireReport, WireRollback,
};
use crate::{
    Certificate, Membership, Message, Order, Plan, Promise, Proven, Report, Rollback, Round, Signed, SignedPromise,
    WorkerId,
};

/// The bytes of a plan alone.
pub(in crate::message) fn encode_plan(plan: &Plan) -> Vec<u8> {
    plan_to_wire(plan).encode_to_vec()
}

pub(in crate::message) fn encode(message: &Message, membership: &Membership) -> Vec<u8> {
    let round = message.round();
    let mut wire = WireMessage {
        version: VERSION,
        group: membership.group()[..GROUP_BYTES].to_vec(),
        era: round.era,
        step: round.step,
        ..WireMessage::default()
    };
    if let Some(signed) = message.signed() {
        wire.token = signed.statement.token;
        wire.worker = signed.statement.worker.0.into();
        wire.signature = signed.signature.to_vec();
    }
    match message {
        Message::Propose(proposal) => {
            wire.kind = PROPOSE;
            wire.promise = Some(promise_to_wire(&proposal.promise.promise, None));
            wire.report = Some(report_to_wire(&proposal.report));
            if let Some(proven) = &proposal.locked {
                put_proven(&mut wire, proven);
            }
        }
        Message::Prepare(prepare) => {
            wire.kind = PREPARE;
            wire.plan = Some(plan_to_wire(&prepare.plan));
            let of = |it: &SignedPromise| promise_to_wire(&it.promise, Some(&it.signed));
            wire.promises = prepare.promises.iter().map(of).collect();
            wire.certificate = prepare.locked.as_ref().map(certificate_to_wire);
        }
        Message::Vote(signed) => (wire.kind, wire.hash) = (VOTE, signed.statement.hash.to_vec()),
        Message::Accept(signed) => (wire.kind, wire.hash) = (ACCEPT, signed.statement.hash.to_vec()),
        Message::Lock(proven) => {
            wire.kind = LOCK;
            put_proven(&mut wire, proven);
        }
        Message::Commit(proven) => {
            wire.kind = COMMIT;
            put_proven(&mut wire, proven);
        }
        Message::Query(_) => wire.kind = QUERY,
    }
    wire.encode_to_vec()
}

fn put_proven(wire: &mut WireMessage, proven: &Proven) {
    wire.plan = Some(plan_to_wire(&proven.plan));
    wire.certificate = Some(certificate_to_wire(&proven.certificate));
}

fn promise_to_wire(promise: &Promise, signed: Option<&Signed>) -> WirePromise {
    let (token, hash) = promise.locked.map_or((0, Vec::new()), |(token, hash)| (token, hash.to_vec()));
    WirePromise {
        worker: signed.map_or(0, |it| it.statement.worker.0.into()),
        signature: signed.map_or_else(Vec::new, |it| it.signature.to_vec()),
        holder: promise.holder.0.into(),
        report: promise.report.to_vec(),
        at_ns: promise.at.as_nanos(),
        checkpoints: promise.checkpoints.clone(),
        locked_token: token,
        locked_hash: hash,
        present: promise.present,
    }
}

fn report_to_wire(report: &Report) -> WireReport {
    WireReport {
        state: report.digest.state.to_vec(),
        parameters: report.digest.parameters.to_vec(),
        sketch: report.digest.sketch.clone(),
        pending: report.pending.iter().map(order_to_wire).collect(),
    }
}

fn order_to_wire(order: &Order) -> WireOrder {
    WireOrder {
        id: order.id.as_str().to_owned(),
        issued_at_ns: order.issued_at.as_nanos(),
        bytes: order.bytes.clone(),
        rollback_to: order.rollback_to,
    }
}

fn plan_to_wire(plan: &Plan) -> WirePlan {
    let (round, hash) = plan.previous.map_or((Round::default(), Vec::new()), |(round, hash)| (round, hash.to_vec()));
    WirePlan {
        previous_era: round.era,
        previous_step: round.step,
        previous_hash: hash,
        orders: plan.orders.iter().map(order_to_wire).collect(),
        rollback: plan.rollback.as_ref().map(rollback_to_wire),
        apply_at: plan.apply_at,
        at_ns: plan.at.as_nanos(),
    }
}

fn rollback_to_wire(rollback: &Rollback) -> WireRollback {
    let numbers = |workers: &[WorkerId]| workers.iter().map(|it| it.0.into()).collect();
    match rollback {
        Rollback::Go { id, epoch } => {
            WireRollback { id: id.as_str().to_owned(), epoch: *epoch, ..WireRollback::default() }
        }
        Rollback::Refused { id, epoch, missing, without } => WireRollback {
            id: id.as_str().to_owned(),
            epoch: *epoch,
            refused: true,
            missing: numbers(missing),
            without: numbers(without),
        },
    }
}

fn certificate_to_wire(certificate: &Certificate) -> WireCertificate {
    WireCertificate {
        phase: certificate.phase as u32,
        token: certificate.token,
        hash: certificate.hash.to_vec(),
        workers: certificate.signatures.iter().map(|(worker, _)| worker.0.into()).collect(),
        signatures: certificate.signatures.iter().flat_map(|(_, signature)| *signature).collect(),
    }
}
