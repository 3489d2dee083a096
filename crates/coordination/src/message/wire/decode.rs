//! Reading messages, whatever the bytes are.

use kasmina_leyline::{CommandId, UnixTime};
use prost::Message as _;

use super::{
    ACCEPT, COMMIT, GROUP_BYTES, LOCK, PREPARE, PROPOSE, QUERY, VERSION, VOTE, WireCertificate, WireMessage, WireOrder,
    WirePlan, WirePromise, WireReport,
};
use crate::{
    Certificate, Digest, Membership, Message, Order, Phase, Plan, Prepare, Promise, Proposal, Proven, Report, Rollback,
    Round, Signed, SignedPromise, Statement, Unreadable, WorkerId, limits::Limits, statement::Hash,
};

pub(in crate::message) fn decode(
    bytes: &[u8],
    membership: &Membership,
    limits: &Limits,
) -> Result<Message, Unreadable> {
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

/// Reads them. Whether the workers that it names are members is not checked.
pub(in crate::message) fn decode_plan(bytes: &[u8], limits: &Limits) -> Result<Plan, Unreadable> {
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
