//! Whether a holder's plan follows from the promises that it shows.

use kasmina_leyline::UnixTime;

use crate::{
    Certificate, Membership, Order, Phase, Plan, Prepare, Rollback, Round, Settings, SignedPromise, WorkerId,
    ledger::Ledger, plan::sorted, report::Promise,
};

/// What is wrong with a holder's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfounded {
    /// Fewer promises than a quorum's, or too few of workers that could apply it.
    PromisesMissing,
    /// Promises to another holder, or under another token.
    PromisesOfAnother,
    /// A promise that its worker has not signed.
    PromisesForged,
    /// A plan that was accepted is named, and the votes for it are missing or wrong.
    AcceptedUnproven,
    /// A plan that was accepted is not repeated.
    AcceptedIgnored,
    /// The orders are not sorted, not different, or too many.
    OrdersUnsorted,
    /// Its time is not the median of the promises.
    TimeInvented,
    /// It would be applied at another step than its round says.
    WrongStep,
    /// It goes back although not all hold the checkpoint, or says nothing of an order to go back.
    RollbackUnfounded,
}

impl Unfounded {
    /// The machine-readable reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::PromisesMissing => "promises_missing",
            Self::PromisesOfAnother => "promises_of_another_holder",
            Self::PromisesForged => "promises_forged",
            Self::AcceptedUnproven => "accepted_plan_unproven",
            Self::AcceptedIgnored => "accepted_plan_ignored",
            Self::OrdersUnsorted => "orders_unsorted",
            Self::TimeInvented => "time_invented",
            Self::WrongStep => "step_of_another_round",
            Self::RollbackUnfounded => "rollback_unfounded",
        }
    }
}

/// The median of the clocks of those that are there: not before the earliest and not after the latest honest one.
fn median(promises: &[SignedPromise]) -> UnixTime {
    let mut clocks: Vec<_> = promises.iter().filter(|it| it.promise.present).map(|it| it.promise.at).collect();
    clocks.sort_unstable();
    clocks.get(clocks.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// Workers whose promise is missing, and workers without the checkpoint.
fn absent(promises: &[SignedPromise], epoch: u64, membership: &Membership) -> (Vec<WorkerId>, Vec<WorkerId>) {
    let of = |worker| promises.iter().find(|it| it.worker() == worker);
    let missing = membership.ids().filter(|it| of(*it).is_none()).collect();
    let holds = |it: &&SignedPromise| it.promise.checkpoints.contains(&epoch);
    let without = promises.iter().filter(|it| !holds(it)).map(SignedPromise::worker).collect();
    (missing, without)
}

/// The plan that a holder makes of these promises and the orders that came with them, if none of them has accepted one.
pub(crate) fn fresh(
    round: Round,
    promises: &[SignedPromise],
    orders: Vec<Order>,
    ledger: &Ledger,
    membership: &Membership,
    settings: &Settings,
) -> Plan {
    let mut orders: Vec<_> = sorted(orders).into_iter().filter(|order| ledger.admits(order)).collect();
    let at = median(promises);
    let rollback = first_rollback(&orders).map(|(order, epoch)| (order.clone(), epoch));
    let (apply_at, previous) = (round.step.saturating_add(settings.lead), ledger.tip());
    let Some((order, epoch)) = rollback else {
        orders.truncate(settings.limits.fit(&orders));
        return Plan { orders, rollback: None, previous, apply_at, at };
    };
    let id = order.id.clone();
    let (missing, without) = absent(promises, epoch, membership);
    if missing.is_empty() && without.is_empty() {
        let rollback = Some(Rollback::Go { id, epoch });
        return Plan { orders: vec![order], rollback, previous, apply_at: round.step, at };
    }
    // One refusal a round: the other orders to go back wait.
    orders.retain(|other| other.rollback_to.is_none() || other.id == id);
    orders.truncate(settings.limits.fit(&orders));
    let is_there = orders.iter().any(|other| other.id == id);
    let rollback = is_there.then_some(Rollback::Refused { id, epoch, missing, without });
    Plan { orders, rollback, previous, apply_at, at }
}

/// The first order to go back, and the epoch.
pub(crate) fn first_rollback(orders: &[Order]) -> Option<(&Order, u64)> {
    orders.iter().find_map(|order| Some((order, order.rollback_to?)))
}

/// Whether a quorum could apply a new plan.
pub(crate) fn is_attended(promises: &[SignedPromise], membership: &Membership) -> bool {
    promises.iter().filter(|it| it.promise.present).count() >= membership.quorum()
}

/// The promises' accepted plan of the highest token.
pub(crate) fn highest_lock<'a>(promises: impl Iterator<Item = &'a Promise>) -> Option<(u64, [u8; 32])> {
    promises.filter_map(|promise| promise.locked).max_by_key(|(token, _)| *token)
}

/// Checks everything that a holder could have got wrong but the signature of the message itself. `genuine` says whether
/// a promise's signature is.
///
/// # Errors
/// [`Unfounded`].
pub(crate) fn check(
    prepare: &Prepare,
    membership: &Membership,
    settings: &Settings,
    genuine: impl Fn(&SignedPromise) -> bool,
) -> Result<(), Unfounded> {
    let Prepare { signed, plan, promises, locked } = prepare;
    let statement = &signed.statement;
    if promises.len() < membership.quorum() {
        return Err(Unfounded::PromisesMissing);
    }
    let fits =
        |it: &SignedPromise| it.promise.holder == statement.worker && it.signed.statement.token == statement.token;
    if !promises.iter().all(fits) {
        return Err(Unfounded::PromisesOfAnother);
    }
    if !promises.iter().all(genuine) {
        return Err(Unfounded::PromisesForged);
    }
    match (highest_lock(promises.iter().map(|it| &it.promise)), locked) {
        (None, _) => check_fresh(prepare, membership, settings),
        (Some((token, hash)), Some(certificate)) => {
            let Certificate { phase, round, .. } = certificate;
            let fits = (*phase, *round) == (Phase::Vote, statement.round)
                && (certificate.token, certificate.hash) == (token, hash)
                && token < statement.token
                && certificate.is_genuine(membership);
            if !fits {
                Err(Unfounded::AcceptedUnproven)
            } else if plan.hash() != hash {
                Err(Unfounded::AcceptedIgnored)
            } else {
                Ok(())
            }
        }
        (Some(_), None) => Err(Unfounded::AcceptedUnproven),
    }
}

fn check_fresh(prepare: &Prepare, membership: &Membership, settings: &Settings) -> Result<(), Unfounded> {
    let (plan, promises) = (&prepare.plan, &prepare.promises);
    if !is_attended(promises, membership) {
        return Err(Unfounded::PromisesMissing);
    }
    let round = prepare.signed.statement.round;
    if !plan.is_in_order(&settings.limits) {
        return Err(Unfounded::OrdersUnsorted);
    }
    if plan.at != median(promises) {
        return Err(Unfounded::TimeInvented);
    }
    let goes_back = matches!(plan.rollback, Some(Rollback::Go { .. }));
    let lead = if goes_back { 0 } else { settings.lead };
    if plan.apply_at != round.step.saturating_add(lead) {
        return Err(Unfounded::WrongStep);
    }
    let is_told = match &plan.rollback {
        None => first_rollback(&plan.orders).is_none(),
        Some(Rollback::Go { id, epoch }) => {
            let is_alone =
                matches!(plan.orders.as_slice(), [order] if order.id == *id && order.rollback_to == Some(*epoch));
            let (missing, without) = absent(promises, *epoch, membership);
            is_alone && missing.is_empty() && without.is_empty()
        }
        Some(Rollback::Refused { id, epoch, .. }) => {
            let mut of = plan.orders.iter().filter(|order| order.rollback_to.is_some());
            of.next().is_some_and(|order| order.id == *id && order.rollback_to == Some(*epoch)) && of.next().is_none()
        }
    };
    if is_told { Ok(()) } else { Err(Unfounded::RollbackUnfounded) }
}
