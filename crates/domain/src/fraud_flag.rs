//! A fraud flag: why a referral, or a refused sign-up, is to be looked at, and what an operator decided. Evidence is
//! personal and stored outside the log; the events name users by id and findings by kind.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::fraud::{FlagKind, FraudPolicy, Occasion};
use super::ids::{LONG, identifier};
use super::ledger::Posting;
use super::registry::{Posts, State};
use super::{ProgramId, Refusal, UserId};

identifier!(
    /// A fraud flag.
    FraudFlagId, LONG
);

/// What an operator decided about a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FraudDecision {
    /// The referral is in order.
    Released,
    /// The referral is rejected.
    Rejected,
    /// The referral is rejected, and the referee deactivated.
    RejectedAndDeactivated,
}

/// A flag was raised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FraudFlagRaised {
    /// The kind of the gravest finding.
    pub kind: FlagKind,
    /// Its score, in ten-thousandths.
    pub score_bps: u32,
    /// The program.
    pub program_id: ProgramId,
    /// Who is referred; absent for a sign-up that was refused, because it made no account.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub referee_user_id: Option<UserId>,
    /// Who refers; absent for a refused sign-up without a referrer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub referrer_user_id: Option<UserId>,
    /// With whom the gravest finding was; absent if nobody else is concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub other_user_id: Option<UserId>,
    /// What the checks were made for.
    pub occasion: Occasion,
    /// What followed.
    pub consequence: FraudPolicy,
    /// The kinds of the other findings, the gravest first, each once.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub evidence: Vec<FlagKind>,
    /// With whom else there were findings, each once, at most [`MAX_EVIDENCE_USERS`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub evidence_user_ids: Vec<UserId>,
}

/// The largest number of further users that a flag names.
pub const MAX_EVIDENCE_USERS: usize = 16;

/// What a flag is about has happened again and again. Not every repetition has an event: the count has doubled at
/// least since the last one, so that nobody can fill the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FraudFlagRepeated {
    /// The program.
    pub program_id: ProgramId,
    /// How often it has happened, the first time included.
    pub count: u32,
}

/// An operator decided about a flag, or changed the decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FraudFlagResolved {
    /// The program.
    pub program_id: ProgramId,
    /// The decision.
    pub decision: FraudDecision,
    /// Whether what was granted because of the referral is taken back.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub reverses_rewards: bool,
    /// The decision that it replaces; absent for the first one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous_decision: Option<FraudDecision>,
}

events! {
    /// What can happen to a fraud flag.
    FraudFlagEvent {
        FraudFlagRaised = "1.0.0",
        FraudFlagRepeated = "1.0.0",
        FraudFlagResolved = "1.0.0",
    }
}

/// The commands of a fraud flag.
#[derive(Clone, Debug)]
pub enum FraudFlagCommand {
    /// Raises the flag.
    Raise {
        /// The flag.
        flag_id: FraudFlagId,
        /// What is known about it.
        raised: FraudFlagRaised,
    },
    /// Tells how often it has happened by now.
    Repeat {
        /// The flag.
        flag_id: FraudFlagId,
        /// How often, the first time included.
        count: u32,
    },
    /// Decides. The decision that holds already changes nothing.
    Resolve {
        /// The flag.
        flag_id: FraudFlagId,
        /// The decision.
        decision: FraudDecision,
        /// Whether what was granted because of the referral is taken back.
        reverses_rewards: bool,
    },
}

/// A fraud flag.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FraudFlag {
    raised: Option<FraudFlagRaised>,
    recorded_count: u32,
    decision: Option<FraudDecision>,
    reverses_rewards: bool,
    decision_count: u32,
}

impl FraudFlagRaised {
    /// Whether it has a finding of this kind, and one with this user.
    #[must_use]
    pub fn names(&self, kind: FlagKind, user_id: &UserId) -> bool {
        let has_kind = self.kind == kind || self.evidence.contains(&kind);
        has_kind && self.others().any(|other| other == user_id)
    }

    /// Everybody with whom there were findings.
    pub fn others(&self) -> impl Iterator<Item = &UserId> {
        self.other_user_id.iter().chain(&self.evidence_user_ids)
    }
}

impl FraudDecision {
    /// Whether the referral is rejected.
    #[must_use]
    pub fn rejects(self) -> bool {
        matches!(self, Self::Rejected | Self::RejectedAndDeactivated)
    }
}

impl FraudFlag {
    /// What the flag was raised as; `None` if there is no such flag.
    #[must_use]
    pub fn raised(&self) -> Option<&FraudFlagRaised> {
        self.raised.as_ref()
    }

    /// The decision that holds; `None` while the flag is open.
    #[must_use]
    pub fn decision(&self) -> Option<FraudDecision> {
        self.decision
    }

    /// Whether that decision takes back what was granted because of the referral.
    #[must_use]
    pub fn reverses_rewards(&self) -> bool {
        self.reverses_rewards
    }

    /// How often the flag was decided about.
    #[must_use]
    pub fn decision_count(&self) -> u32 {
        self.decision_count
    }

    /// How often it has happened, as far as events say.
    #[must_use]
    pub fn recorded_count(&self) -> u32 {
        self.recorded_count
    }

    /// The program of the flag, which must exist.
    fn existing(&self, flag_id: FraudFlagId) -> Result<ProgramId, Refusal> {
        let raised = self.raised.as_ref().ok_or(Refusal::FraudFlagNotFound(flag_id))?;
        Ok(raised.program_id.clone())
    }
}

impl Aggregate for FraudFlag {
    const TYPE: &'static str = "FraudFlag";
    type Command = FraudFlagCommand;
    type Event = FraudFlagEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: FraudFlagCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: FraudFlagEvent = match command {
            FraudFlagCommand::Raise { flag_id, .. } if self.raised.is_some() => {
                return Err(Refusal::FraudFlagIdTaken(flag_id));
            }
            FraudFlagCommand::Raise { raised, .. } => raised.into(),
            FraudFlagCommand::Repeat { flag_id, count } => {
                let program_id = self.existing(flag_id)?;
                if count < self.recorded_count.saturating_mul(2) {
                    return Ok(());
                }
                FraudFlagRepeated { program_id, count }.into()
            }
            FraudFlagCommand::Resolve { flag_id, decision, reverses_rewards } => {
                let program_id = self.existing(flag_id)?;
                if (self.decision, self.reverses_rewards) == (Some(decision), reverses_rewards) {
                    return Ok(());
                }
                let previous_decision = self.decision;
                FraudFlagResolved { program_id, decision, reverses_rewards, previous_decision }
                    .into()
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: FraudFlagEvent) {
        match event {
            FraudFlagEvent::FraudFlagRaised(raised) => {
                self.raised = Some(raised);
                self.recorded_count = 1;
            }
            // What was decided was decided about fewer: somebody has to look again.
            FraudFlagEvent::FraudFlagRepeated(repeated) => {
                self.recorded_count = repeated.count;
                self.decision = None;
                self.reverses_rewards = false;
            }
            FraudFlagEvent::FraudFlagResolved(resolved) => {
                self.decision = Some(resolved.decision);
                self.reverses_rewards = resolved.reverses_rewards;
                self.decision_count = self.decision_count.saturating_add(1);
            }
        }
    }
}

impl Posts for FraudFlagEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::FraudFlagRaised(_) | Self::FraudFlagRepeated(_) | Self::FraudFlagResolved(_) => {
                None
            }
        }
    }
}

impl State for FraudFlag {
    /// A flag is about several users, whom its event names.
    fn user_of(_: &str) -> Option<&str> {
        None
    }
}
