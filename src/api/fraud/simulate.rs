//! `SimulateFraud`: a set of checks on past referrals, against what operators decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Status;

use super::Handlers;
use super::messages::{decision_message, finding_message, kind_message};
use crate::api::Context;
use crate::api::deadline::end_of;
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::program::fraud_checks::{policy_message, read_fraud_checks};
use crate::api::responses::time;
use crate::api::watch::{Messages, QUEUED_MESSAGES, Sent, credentials_ended, open};
use crate::engine::query::query;
use crate::read::{PastFlag, PastReferral, PastSignals};
use crate::store::{in_time, log};
use domain::fraud::{BURST_WINDOW_HOURS, Flag, FlagKind, FraudChecks, Occasion, Signals, judge};
use domain::{FraudDecision, Program, ProgramId, Refusal, Timestamp, load};

/// How many referrals are looked at between two turns at the database.
const EXAMINED_AT_ONCE: usize = 500;
/// How many findings of a referral are sent.
const MAX_FINDINGS: usize = 100;
/// How long a message may wait for a client that does not read its stream.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);

impl Handlers {
    pub(in crate::api) async fn simulate_fraud(
        &self,
        call: Call<pb::SimulateFraudRequest>,
    ) -> Result<Messages<pb::SimulateFraudResponse>, ApiError> {
        let opening = open(&self.0, &call)?;
        let request = &call.message;
        let mut fields = Fields::of(request);
        let program_id = fields.id("program_id", &request.program_id, ProgramId::parse);
        let from = fields.time("from_time", request.from_time.as_ref());
        let to = fields.time("to_time", request.to_time.as_ref());
        if from.zip(to).is_some_and(|(from, to)| to < from) {
            fields.fault("to_time", ErrorReason::InvalidTime, "must not be before from_time");
        }
        let given = request.checks.as_ref().map(|checks| {
            let checks = read_fraud_checks(&mut fields, "checks", Some(checks));
            for fault in checks.faults() {
                let field = fault.field.replacen("fraud_checks", "checks", 1);
                fields.fault(field, ErrorReason::InvalidProgram, fault.message);
            }
            checks
        });
        let program_id = fields.finish(program_id)?;
        let turn = opening.turn(&self.0).await;
        let present = self.present_checks(&program_id).await?;
        let pool = self.0.database.pool();
        let just_before = |time: Timestamp| Timestamp(time.0.saturating_sub(1));
        let end = match to {
            Some(to) => in_time(log::position_at(pool, just_before(to))).await?,
            None => in_time(log::head(pool)).await?,
        };
        let start = match from {
            Some(from) => in_time(log::position_at(pool, just_before(from))).await?,
            None => 0,
        };
        drop(turn);
        let (messages, answer) = mpsc::channel(QUEUED_MESSAGES);
        let simulation = Simulation {
            context: self.0.clone(),
            program_id,
            checks: Arc::new(given.unwrap_or(present)),
            range: (start, end.max(start)),
            examined: 0,
            tally: Tally::default(),
            messages: messages.clone(),
        };
        let context = self.0.clone();
        tokio::spawn(async move {
            // One slot stays reserved for the final status, so that a client that is behind gets it too.
            let Ok(last_word) = messages.reserve_owned().await else { return };
            let status = tokio::select! {
                done = simulation.run(opening.caller()) => done.err(),
                deadline = end_of(opening.deadline) => {
                    Some(deadline.passed("the deadline of the call has passed", &[]))
                }
                () = context.stopping.cancelled() => {
                    Some(status(ErrorReason::ShuttingDown, "the server is stopping; begin again", &[]))
                }
                () = opening.credential_ended() => Some(credentials_ended(&[])),
            };
            if let Some(status) = status {
                last_word.send(Box::new(Err(status)));
            }
        });
        Ok(Messages::new(answer))
    }

    /// The checks of the program's present version.
    async fn present_checks(&self, program_id: &ProgramId) -> Result<FraudChecks, ApiError> {
        let (database, environment) = (&self.0.database, &self.0.environment);
        let checks = query(database, environment, |work| {
            let program = load::<Program>(work, program_id)?;
            let version = program.current();
            let version = version.ok_or_else(|| Refusal::ProgramNotFound(program_id.clone()))?;
            Ok(version.rules.fraud_checks.clone())
        });
        Ok(checks.await?)
    }
}

/// A simulation that runs.
struct Simulation {
    context: Context,
    program_id: ProgramId,
    checks: Arc<FraudChecks>,
    /// The part of the log: after the first position, up to the second.
    range: (i64, i64),
    examined: i64,
    tally: Tally,
    messages: mpsc::Sender<Sent<pb::SimulateFraudResponse>>,
}

impl Simulation {
    async fn run(mut self, caller: &Arc<str>) -> Result<(), Status> {
        let (start, end) = self.range;
        let mut position = start;
        while position < end {
            let turn = self.context.live.turn(caller).await;
            let searched = self
                .context
                .reads
                .past_referrals(&self.program_id, position, end, EXAMINED_AT_ONCE)
                .await
                .map_err(ApiError::from)?;
            position = searched.position;
            let flags = self.examine(&searched.referrals).await?;
            drop(turn);
            for flag in flags {
                self.send(pb::SimulateFraudResponse {
                    flag: Some(flag),
                    ..self.progress(position)
                })
                .await?;
            }
            if position < end {
                self.send(self.progress(position)).await?;
            }
        }
        let summary = self.tally.summary(&self.checks, self.examined);
        let last = pb::SimulateFraudResponse { summary: Some(summary), ..self.progress(end) };
        self.send(last).await
    }

    /// Looks at referrals, and returns those that would have been flagged.
    async fn examine(
        &mut self,
        referrals: &[PastReferral],
    ) -> Result<Vec<pb::SimulatedFraudFlag>, ApiError> {
        if referrals.is_empty() {
            return Ok(Vec::new());
        }
        let screening = self.context.environment.screening.clone();
        let counted = self.checks.sign_ups_per_address;
        let signals =
            self.context.reads.past_signals(&self.program_id, referrals, counted, &screening.keys);
        let signals = signals.await?;
        let real = self.context.reads.past_flags(&self.program_id, referrals).await?;
        let (checks, past) = (self.checks.clone(), referrals.to_vec());
        // Comparing addresses takes its time, and others wait for this thread.
        let judged = tokio::task::spawn_blocking(move || {
            past.iter()
                .zip(&signals)
                .map(|(referral, signals)| {
                    let is_disposable = |domain: &str| screening.disposable.contains(domain);
                    judge_past(&checks, referral, signals, is_disposable)
                })
                .collect::<Vec<_>>()
        });
        let judged = judged.await.map_err(|_| ApiError::from(crate::api::errors::internal()))?;
        let mut flags = Vec::new();
        for (referral, flag) in referrals.iter().zip(judged) {
            self.examined += 1;
            let real = real.get(&referral.user_id).and_then(|flags| telling(flags));
            let decision = real.and_then(|real| real.decision);
            self.tally.add(flag.as_ref(), decision);
            let Some(flag) = flag else { continue };
            let Flag { gravest, consequence, evidence } = flag;
            let findings = std::iter::once(&gravest).chain(&evidence).take(MAX_FINDINGS);
            flags.push(pb::SimulatedFraudFlag {
                referee_user_id: referral.user_id.to_string(),
                referrer_user_id: referral.referrer_user_id.to_string(),
                referral_time: Some(time(referral.refer_time)),
                findings: findings.map(finding_message).collect(),
                consequence: policy_message(consequence).into(),
                flag_id: real.map(|real| real.flag_id.clone()).unwrap_or_default(),
                decision: decision.map_or(pb::FraudDecision::Unspecified, decision_message).into(),
            });
        }
        Ok(flags)
    }

    fn progress(&self, position: i64) -> pb::SimulateFraudResponse {
        let (start, end) = self.range;
        let part = match end - start {
            0 => 10_000,
            whole => (position - start).saturating_mul(10_000) / whole,
        };
        pb::SimulateFraudResponse {
            referrals_examined: self.examined,
            progress_bps: i32::try_from(part).unwrap_or(10_000),
            ..pb::SimulateFraudResponse::default()
        }
    }

    async fn send(&self, message: pb::SimulateFraudResponse) -> Result<(), Status> {
        let sent = self.messages.send(Box::new(Ok(message)));
        if let Ok(Ok(())) = tokio::time::timeout(SEND_TIMEOUT, sent).await {
            return Ok(());
        }
        let message = "nothing was read for a minute; begin again";
        Err(status(ErrorReason::SlowConsumer, message, &[]))
    }
}

/// What checks would have found about a past referral. That operators have cleared users since does not count: a flag
/// that was released is what is to be measured.
fn judge_past(
    checks: &FraudChecks,
    referral: &PastReferral,
    past: &PastSignals,
    is_disposable: impl Fn(&str) -> bool,
) -> Option<Flag> {
    let cleared = BTreeSet::new();
    let since = referral.refer_time.plus_seconds(-i64::from(BURST_WINDOW_HOURS) * 60 * 60);
    let within_hour = past.latest_referees.iter().filter(|of| of.refer_time > since).count();
    let address = past.mailbox.as_ref().map(|mailbox| &mailbox.address);
    let signals = Signals {
        address,
        referrer_address: past.referrer_address.as_ref(),
        latest_referees: &past.latest_referees,
        mailbox_owner: past.mailbox_owner.as_ref(),
        look_alike_owner: past.look_alike_owner.as_ref(),
        fingerprint_owners: past.fingerprint_owner.as_slice(),
        is_mutual: past.is_mutual,
        referrals_within_hour: u32::try_from(within_hour).unwrap_or(u32::MAX),
        sign_ups_from_address: past.sign_ups_from_address,
        has_disposable_domain: address.is_some_and(|of| is_disposable(of.domain())),
        ..Signals::none(&referral.user_id, &referral.referrer_user_id, &cleared)
    };
    judge(checks, &signals, Occasion::Referral)
}

/// The flag that says what was decided about a referral: of several, one that rejects it, else one that was released,
/// else the first.
fn telling(flags: &[PastFlag]) -> Option<&PastFlag> {
    let rank = |flag: &&PastFlag| match flag.decision {
        Some(decision) if decision.rejects() => 0,
        Some(_) => 1,
        None => 2,
    };
    flags.iter().min_by_key(rank)
}

/// What is counted for each check, and for all together (`None`).
#[derive(Default)]
struct Tally {
    counts: BTreeMap<Option<FlagKind>, Counts>,
    /// Referrals that operators have rejected, flagged here or not.
    rejected: i64,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    flagged: i64,
    rejected: i64,
    released: i64,
}

impl Tally {
    fn add(&mut self, flag: Option<&Flag>, decision: Option<FraudDecision>) {
        let is_rejected = decision.is_some_and(FraudDecision::rejects);
        self.rejected += i64::from(is_rejected);
        let Some(flag) = flag else { return };
        let findings = std::iter::once(&flag.gravest).chain(&flag.evidence);
        let kinds: BTreeSet<FlagKind> = findings.map(|finding| finding.kind).collect();
        for kind in kinds.into_iter().map(Some).chain([None]) {
            let counts = self.counts.entry(kind).or_default();
            counts.flagged += 1;
            counts.rejected += i64::from(is_rejected);
            counts.released += i64::from(decision == Some(FraudDecision::Released));
        }
    }

    fn summary(&self, checks: &FraudChecks, examined: i64) -> pb::FraudSimulationSummary {
        let kinds = FlagKind::ALL.into_iter().filter(|kind| checks.finds(*kind));
        let of = |kind| self.counts.get(&kind).copied().unwrap_or_default();
        pb::FraudSimulationSummary {
            referrals_examined: examined,
            flagged: of(None).flagged,
            rejected: self.rejected,
            checks: kinds
                .map(Some)
                .chain([None])
                .map(|kind| quality(kind, of(kind), self.rejected))
                .collect(),
        }
    }
}

fn quality(kind: Option<FlagKind>, counts: Counts, rejected: i64) -> pb::FraudCheckQuality {
    let Counts { flagged, rejected: hits, released } = counts;
    pb::FraudCheckQuality {
        kind: kind.map_or(pb::FraudFlagKind::Unspecified, kind_message).into(),
        flagged,
        rejected: hits,
        released,
        undecided: flagged - hits - released,
        precision_bps: share(hits, hits + released),
        recall_bps: share(hits, rejected),
    }
}

/// A part of a whole in ten-thousandths, rounded half up; `None` of nothing.
fn share(part: i64, whole: i64) -> Option<i32> {
    let doubled =
        part.checked_mul(20_000)?.checked_add(whole)?.checked_div(whole.checked_mul(2)?)?;
    i32::try_from(doubled).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_half_up_and_there_is_none_of_nothing() {
        assert_eq!(share(1, 3), Some(3_333));
        assert_eq!(share(2, 3), Some(6_667));
        assert_eq!(share(0, 5), Some(0));
        assert_eq!(share(0, 0), None);
    }
}
