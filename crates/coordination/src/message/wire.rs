//! The bytes of a message: protobuf, version 1.
//!
//! Hashes that follow from the content are not sent, so that no message can name a wrong one.

use kasmina_leyline::{CommandId, UnixTime};
use prost::Message as _;

use super::{Message, Prepare, Proposal, Proven, Unreadable};
use crate::{
    Certificate, Digest, Membership, Order, Phase, Plan, Promise, Report, Rollback, Round, Signed, SignedPromise,
    Statement, WorkerId, limits::Limits, statement::Hash,
};

const VERSION: u32 = 1;
const GROUP_BYTES: usize = 8;

#[derive(Clone, PartialEq, prost::Message)]
struct WireMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// The first bytes of the group's hash.
    #[prost(bytes = "vec", tag = "2")]
    group: Vec<u8>,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(uint64, tag = "4")]
    era: u64,
    #[prost(uint64, tag = "5")]
    step: u64,
    #[prost(uint64, tag = "6")]
    token: u64,
    #[prost(uint32, tag = "7")]
    worker: u32,
    #[prost(bytes = "vec", tag = "8")]
    hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    signature: Vec<u8>,
    #[prost(message, optional, tag = "10")]
    promise: Option<WirePromise>,
    #[prost(message, optional, tag = "11")]
    report: Option<WireReport>,
    #[prost(message, optional, tag = "12")]
    plan: Option<WirePlan>,
    #[prost(message, repeated, tag = "13")]
    promises: Vec<WirePromise>,
    #[prost(message, optional, tag = "14")]
    certificate: Option<WireCertificate>,
}

/// A promise. Within a list it has its worker and signature; on its own the message has them.
#[derive(Clone, PartialEq, prost::Message)]
struct WirePromise {
    #[prost(uint32, tag = "1")]
    worker: u32,
    #[prost(bytes = "vec", tag = "2")]
    signature: Vec<u8>,
    #[prost(uint32, tag = "3")]
    holder: u32,
    #[prost(bytes = "vec", tag = "4")]
    report: Vec<u8>,
    #[prost(sfixed64, tag = "5")]
    at_ns: i64,
    #[prost(uint64, repeated, tag = "6")]
    checkpoints: Vec<u64>,
    #[prost(uint64, tag = "7")]
    locked_token: u64,
    #[prost(bytes = "vec", tag = "8")]
    locked_hash: Vec<u8>,
    #[prost(bool, tag = "9")]
    present: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireReport {
    #[prost(bytes = "vec", tag = "1")]
    state: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    parameters: Vec<u8>,
    #[prost(float, repeated, tag = "3")]
    sketch: Vec<f32>,
    #[prost(message, repeated, tag = "4")]
    pending: Vec<WireOrder>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireOrder {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(sfixed64, tag = "2")]
    issued_at_ns: i64,
    #[prost(bytes = "vec", tag = "3")]
    bytes: Vec<u8>,
    #[prost(uint64, optional, tag = "4")]
    rollback_to: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WirePlan {
    #[prost(message, repeated, tag = "1")]
    orders: Vec<WireOrder>,
    #[prost(message, optional, tag = "2")]
    rollback: Option<WireRollback>,
    #[prost(uint64, tag = "3")]
    apply_at: u64,
    #[prost(sfixed64, tag = "4")]
    at_ns: i64,
    #[prost(uint64, tag = "5")]
    previous_era: u64,
    #[prost(uint64, tag = "6")]
    previous_step: u64,
    #[prost(bytes = "vec", tag = "7")]
    previous_hash: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRollback {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(bool, tag = "3")]
    refused: bool,
    #[prost(uint32, repeated, tag = "4")]
    missing: Vec<u32>,
    #[prost(uint32, repeated, tag = "5")]
    without: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireCertificate {
    #[prost(uint32, tag = "1")]
    phase: u32,
    #[prost(uint64, tag = "2")]
    token: u64,
    #[prost(bytes = "vec", tag = "3")]
    hash: Vec<u8>,
    #[prost(uint32, repeated, tag = "4")]
    workers: Vec<u32>,
    /// 64 bytes for each of the workers.
    #[prost(bytes = "vec", tag = "5")]
    signatures: Vec<u8>,
}

const PROPOSE: u32 = 1;
const PREPARE: u32 = 2;
const VOTE: u32 = 3;
const LOCK: u32 = 4;
const ACCEPT: u32 = 5;
const COMMIT: u32 = 6;
const QUERY: u32 = 7;

pub(super) fn encode(message: &Message, membership: &Membership) -> Vec<u8> {
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

pub(super) fn decode(bytes: &[u8], membership: &Membership, limits: &Limits) -> Result<Message, Unreadable> {
    if bytes.len() > limits.message_bytes {
        return Err(Unreadable::TooLong { got: bytes.len(), limit: limits.message_bytes });
    }
    let malformed = |error: prost::DecodeError| Unreadable::Malformed { detail: error.to_string() };
    let wire = WireMessage::decode(bytes).map_err(malformed)?;
    if wire.version != VERSION {
        return Err(Unreadable::Version { got: wire.version, known: VERSION });
    }
    if membership.group()[..GROUP_BYTES] != wire.group {
        return Err(Unreadable::OtherGroup);
    }
    let reader = Reader { membership: Some(membership), limits, round: Round { era: wire.era, step: wire.step } };
    match wire.kind {
        PROPOSE => reader.proposal(wire),
        PREPARE => reader.prepare(wire),
        VOTE => Ok(Message::Vote(reader.sentence(&wire, Phase::Vote)?)),
        LOCK => Ok(Message::Lock(Box::new(reader.proven(wire, Phase::Vote)?))),
        ACCEPT => Ok(Message::Accept(reader.sentence(&wire, Phase::Accept)?)),
        COMMIT => Ok(Message::Commit(Box::new(reader.proven(wire, Phase::Accept)?))),
        QUERY => Ok(Message::Query(reader.signed(Phase::Ask, 0, [0; 32], wire.worker, &wire.signature)?)),
        _ => Err(Unreadable::Field { field: "kind" }),
    }
}

/// The bytes of a plan alone.
pub(super) fn encode_plan(plan: &Plan) -> Vec<u8> {
    plan_to_wire(plan).encode_to_vec()
}

/// Reads them. Whether the workers that it names are members is not checked.
pub(super) fn decode_plan(bytes: &[u8], limits: &Limits) -> Result<Plan, Unreadable> {
    let malformed = |error: prost::DecodeError| Unreadable::Malformed { detail: error.to_string() };
    let wire = WirePlan::decode(bytes).map_err(malformed)?;
    Reader { membership: None, limits, round: Round::default() }.plan(wire)
}

struct Reader<'a> {
    membership: Option<&'a Membership>,
    limits: &'a Limits,
    round: Round,
}

impl Reader<'_> {
    fn worker(&self, number: u32) -> Result<WorkerId, Unreadable> {
        let worker = u16::try_from(number).ok().map(WorkerId);
        let worker = worker.filter(|it| self.membership.is_none_or(|members| members.has(*it)));
        worker.ok_or(Unreadable::Field { field: "worker" })
    }

    fn workers_at_most(&self) -> usize {
        self.membership.map_or(crate::MAX_WORKERS, Membership::workers)
    }

    fn workers(&self, field: &'static str, numbers: &[u32]) -> Result<Vec<WorkerId>, Unreadable> {
        limit(field, numbers.len(), self.workers_at_most())?;
        numbers.iter().map(|number| self.worker(*number)).collect()
    }

    fn signed(&self, phase: Phase, token: u64, hash: Hash, from: u32, by: &[u8]) -> Result<Signed, Unreadable> {
        let statement = Statement { phase, round: self.round, token, hash, worker: self.worker(from)? };
        Ok(Signed { statement, signature: array("signature", by)? })
    }

    fn sentence(&self, wire: &WireMessage, phase: Phase) -> Result<Signed, Unreadable> {
        self.signed(phase, wire.token, array("hash", &wire.hash)?, wire.worker, &wire.signature)
    }

    fn proposal(&self, mut wire: WireMessage) -> Result<Message, Unreadable> {
        let promise = wire.promise.take().ok_or(Unreadable::Field { field: "promise" })?;
        let promise = self.promise(promise, wire.token, Some((wire.worker, &wire.signature)))?;
        let report = wire.report.take().ok_or(Unreadable::Field { field: "report" })?;
        let report = self.report(report, &promise.promise)?;
        if report.hash() != promise.promise.report {
            return Err(Unreadable::Field { field: "report" });
        }
        let locked = match promise.promise.locked {
            None => None,
            Some((token, hash)) => {
                let proven = self.proven(wire, Phase::Vote)?;
                if (proven.certificate.token, proven.certificate.hash) != (token, hash) {
                    return Err(Unreadable::Field { field: "locked" });
                }
                Some(proven)
            }
        };
        Ok(Message::Propose(Box::new(Proposal { promise, report, locked })))
    }

    fn prepare(&self, wire: WireMessage) -> Result<Message, Unreadable> {
        let plan = self.plan(wire.plan.ok_or(Unreadable::Field { field: "plan" })?)?;
        let signed = self.signed(Phase::Prepare, wire.token, plan.hash(), wire.worker, &wire.signature)?;
        limit("promises", wire.promises.len(), self.workers_at_most())?;
        let promises = wire.promises.into_iter().map(|it| self.promise(it, wire.token, None));
        let promises = promises.collect::<Result<Vec<_>, _>>()?;
        if !promises.windows(2).all(|pair| pair[0].worker() < pair[1].worker()) {
            return Err(Unreadable::Field { field: "promises" });
        }
        let locked = wire.certificate.map(|it| self.certificate(it, Phase::Vote)).transpose()?;
        Ok(Message::Prepare(Box::new(Prepare { signed, plan, promises, locked })))
    }

    fn promise(&self, wire: WirePromise, token: u64, by: Option<(u32, &[u8])>) -> Result<SignedPromise, Unreadable> {
        limit("checkpoints", wire.checkpoints.len(), self.limits.checkpoints)?;
        let locked = match (wire.locked_token, wire.locked_hash.as_slice()) {
            (0, []) => None,
            (token, hash) => Some((token, array("locked_hash", hash)?)),
        };
        let promise = Promise {
            holder: self.worker(wire.holder)?,
            report: array("report", &wire.report)?,
            at: UnixTime::from_nanos(wire.at_ns),
            checkpoints: wire.checkpoints,
            present: wire.present,
            locked,
        };
        let (worker, signature) = by.unwrap_or((wire.worker, &wire.signature));
        let signed = self.signed(Phase::Propose, token, promise.hash(), worker, signature)?;
        Ok(SignedPromise { promise, signed })
    }

    fn report(&self, wire: WireReport, promise: &Promise) -> Result<Report, Unreadable> {
        limit("sketch", wire.sketch.len(), self.limits.sketch)?;
        let digest = Digest {
            state: array("state", &wire.state)?,
            parameters: array("parameters", &wire.parameters)?,
            sketch: wire.sketch,
        };
        let (pending, checkpoints) = (self.orders(wire.pending)?, promise.checkpoints.clone());
        Ok(Report { digest, pending, checkpoints, at: promise.at })
    }

    fn orders(&self, wire: Vec<WireOrder>) -> Result<Vec<Order>, Unreadable> {
        limit("orders", wire.len(), self.limits.orders)?;
        let orders = wire.into_iter().map(order).collect::<Result<Vec<_>, _>>()?;
        limit("orders", orders.len(), self.limits.fit(&orders))?;
        Ok(orders)
    }

    fn plan(&self, wire: WirePlan) -> Result<Plan, Unreadable> {
        let rollback = match wire.rollback {
            None => None,
            Some(wire) => {
                let (id, epoch) = (id(&wire.id)?, wire.epoch);
                let missing = self.workers("missing", &wire.missing)?;
                let without = self.workers("without", &wire.without)?;
                Some(if wire.refused {
                    Rollback::Refused { id, epoch, missing, without }
                } else {
                    Rollback::Go { id, epoch }
                })
            }
        };
        let round = Round { era: wire.previous_era, step: wire.previous_step };
        let previous = match (round, wire.previous_hash.as_slice()) {
            (Round { era: 0, step: 0 }, []) => None,
            (round, hash) => Some((round, array("previous_hash", hash)?)),
        };
        let at = UnixTime::from_nanos(wire.at_ns);
        Ok(Plan { orders: self.orders(wire.orders)?, rollback, previous, apply_at: wire.apply_at, at })
    }

    fn proven(&self, wire: WireMessage, phase: Phase) -> Result<Proven, Unreadable> {
        let plan = self.plan(wire.plan.ok_or(Unreadable::Field { field: "plan" })?)?;
        let certificate = wire.certificate.ok_or(Unreadable::Field { field: "certificate" })?;
        let certificate = self.certificate(certificate, phase)?;
        if certificate.hash != plan.hash() {
            return Err(Unreadable::Field { field: "certificate" });
        }
        Ok(Proven { plan, certificate })
    }

    fn certificate(&self, wire: WireCertificate, phase: Phase) -> Result<Certificate, Unreadable> {
        if Phase::from_number(wire.phase) != Some(phase) {
            return Err(Unreadable::Field { field: "certificate" });
        }
        let workers = self.workers("certificate", &wire.workers)?;
        let (signatures, []) = wire.signatures.as_chunks() else {
            return Err(Unreadable::Field { field: "signatures" });
        };
        if workers.len() != signatures.len() || !workers.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(Unreadable::Field { field: "signatures" });
        }
        let signatures = workers.into_iter().zip(signatures.iter().copied()).collect();
        let (token, hash) = (wire.token, array("hash", &wire.hash)?);
        Ok(Certificate { phase, round: self.round, token, hash, signatures })
    }
}

fn order(wire: WireOrder) -> Result<Order, Unreadable> {
    let (id, issued_at) = (id(&wire.id)?, UnixTime::from_nanos(wire.issued_at_ns));
    Ok(Order { id, issued_at, bytes: wire.bytes, rollback_to: wire.rollback_to })
}

fn id(text: &str) -> Result<CommandId, Unreadable> {
    CommandId::new(text).map_err(|_| Unreadable::Field { field: "id" })
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable::Field { field })
}

const fn limit(field: &'static str, got: usize, limit: usize) -> Result<(), Unreadable> {
    if got > limit { Err(Unreadable::TooMany { field, got, limit }) } else { Ok(()) }
}
