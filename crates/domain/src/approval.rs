//! What operators ask for and, above a limit, somebody else has to approve before it is done: an adjustment of a
//! balance, the confirmation of a payout or of one of its lines.
//!
//! Whoever asks may choose the id. The stream is therefore also the receipt of the command that asks.

use std::fmt;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::ids::{SHORT, identifier};
use super::ledger::Posting;
use super::registry::{Posts, State};
use super::{ApiKeyId, ParticipantId, PayoutId, ProgramId, ProviderReference, Refusal, UserId};

identifier!(
    /// An adjustment of a participant's balance, as whoever asks for it names it. Unique for the participant.
    AdjustmentId, SHORT
);

/// What comes before the id of an adjustment in the id of its approval.
const ADJUSTMENT: &str = "adjustment:";
/// What comes before the id of a payout in the id of an approval.
const PAYOUT: &str = "payout:";

/// What is to be approved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ApprovalSubject {
    /// An adjustment of a participant's balance.
    Adjustment {
        /// Whose balance.
        participant: ParticipantId,
        /// The adjustment.
        adjustment_id: AdjustmentId,
    },
    /// The confirmation of a payout.
    Payout {
        /// The program.
        program_id: ProgramId,
        /// Whose line; `None` for the whole payout.
        user_id: Option<UserId>,
        /// The payout.
        payout_id: PayoutId,
        /// 1 for the first time that this is asked for, and one more after each time that it was declined.
        number: u32,
    },
}

/// An approval. Written `program/user/adjustment:ID`, or `program/user/payout:ID~NUMBER`, where the user is empty for a
/// whole payout. The first `/` ends the program and the last one the user, because the other ids have none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApprovalId(pub ApprovalSubject);

impl ApprovalId {
    /// The approval of an adjustment.
    #[must_use]
    pub fn adjustment(participant: ParticipantId, adjustment_id: AdjustmentId) -> Self {
        Self(ApprovalSubject::Adjustment { participant, adjustment_id })
    }

    /// Reads an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (participant, id) = text.rsplit_once('/')?;
        if let Some(id) = id.strip_prefix(ADJUSTMENT) {
            let adjustment_id = AdjustmentId::parse(id).ok()?;
            return Some(Self::adjustment(ParticipantId::parse(participant)?, adjustment_id));
        }
        let (payout_id, number) = id.strip_prefix(PAYOUT)?.split_once('~')?;
        let (program_id, user_id) = participant.split_once('/')?;
        let parsed = Self(ApprovalSubject::Payout {
            program_id: ProgramId::parse(program_id).ok()?,
            user_id: match user_id {
                "" => None,
                user_id => Some(UserId::parse(user_id).ok()?),
            },
            payout_id: PayoutId::parse(payout_id).ok()?,
            number: number.parse().ok()?,
        });
        // A number has one form.
        (parsed.to_string() == text).then_some(parsed)
    }

    /// The program.
    #[must_use]
    pub fn program_id(&self) -> &ProgramId {
        match &self.0 {
            ApprovalSubject::Adjustment { participant, .. } => &participant.program_id,
            ApprovalSubject::Payout { program_id, .. } => program_id,
        }
    }

    /// The user whom it is about; `None` if it is about many.
    #[must_use]
    pub fn user_id(&self) -> Option<&UserId> {
        match &self.0 {
            ApprovalSubject::Adjustment { participant, .. } => Some(&participant.user_id),
            ApprovalSubject::Payout { user_id, .. } => user_id.as_ref(),
        }
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ApprovalSubject::Adjustment { participant, adjustment_id } => {
                write!(formatter, "{participant}/{ADJUSTMENT}{adjustment_id}")
            }
            ApprovalSubject::Payout { program_id, user_id, payout_id, number } => {
                let user_id = user_id.as_ref().map_or("", UserId::as_str);
                write!(formatter, "{program_id}/{user_id}/{PAYOUT}{payout_id}~{number}")
            }
        }
    }
}

/// Who asks or decides: a person who has logged in, or the holder of a key. The key of the settings has no id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staff {
    /// The person.
    pub user_id: Option<UserId>,
    /// The key.
    pub key_id: Option<ApiKeyId>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Asked {
    /// To adjust a balance.
    Adjustment {
        /// The signed amount, in minor units.
        amount_minor: i64,
        /// The program's unit.
        unit: String,
        /// Why.
        reason_code: String,
    },
    /// To confirm a payout, or a line of one.
    Payout {
        /// What is paid by it, in minor units.
        amount_minor: i64,
        /// The program's unit.
        unit: String,
        /// What the provider calls the transfer.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        provider_reference: Option<ProviderReference>,
    },
}

/// Something was asked for, and somebody else has to approve it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApprovalRequested {
    /// What.
    pub asked: Asked,
    /// The person who asks; absent if a key does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub asked_by_user_id: Option<UserId>,
    /// The key that asks; absent if a person does, and for the key of the settings.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub asked_by_key_id: Option<ApiKeyId>,
}

/// Something was asked for that nobody else has to approve: it is done in the same command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApprovalWaived {
    /// What.
    pub asked: Asked,
}

/// Somebody else approved: what was asked for is done in the same command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApprovalGranted {
    /// The person who approved; absent if a key did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approved_by_user_id: Option<UserId>,
    /// The key that approved; absent if a person did, and for the key of the settings.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approved_by_key_id: Option<ApiKeyId>,
}

/// What was asked for is not done. Whoever asked can decline, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApprovalDeclined {
    /// The person who declined; absent if a key did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub declined_by_user_id: Option<UserId>,
    /// The key that declined; absent if a person did, and for the key of the settings.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub declined_by_key_id: Option<ApiKeyId>,
}

events! {
    /// What can happen to an approval.
    ApprovalEvent {
        ApprovalRequested = "1.0.0",
        ApprovalWaived = "1.0.0",
        ApprovalGranted = "1.0.0",
        ApprovalDeclined = "1.0.0",
    }
}

/// The commands of an approval.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum ApprovalCommand {
    Request { approval_id: ApprovalId, asked: Asked, asked_by: Staff },
    Waive { approval_id: ApprovalId, asked: Asked },
    Grant { approval_id: ApprovalId, by: Staff },
    Decline { approval_id: ApprovalId, by: Staff },
}

/// How an approval stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody has decided yet.
    #[default]
    Pending,
    /// Nobody has to decide.
    Waived,
    /// Approved.
    Approved,
    /// Declined.
    Declined,
}

impl ApprovalState {
    /// Those of which lists are.
    pub const LISTED: [Self; 3] = [Self::Pending, Self::Approved, Self::Declined];

    /// The name used in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waived => "waived",
            Self::Approved => "approved",
            Self::Declined => "declined",
        }
    }
}

/// An approval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Approval {
    asked: Option<Asked>,
    asked_by_user_id: Option<UserId>,
    asked_by_key_id: Option<ApiKeyId>,
    state: ApprovalState,
}

impl Approval {
    /// What is asked for; `None` if nothing was.
    #[must_use]
    pub fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
    }

    /// Who asks. Of what needs no approval that is not known.
    #[must_use]
    pub fn asked_by(&self) -> Staff {
        Staff { user_id: self.asked_by_user_id.clone(), key_id: self.asked_by_key_id.clone() }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> ApprovalState {
        self.state
    }

    /// Checks that somebody can decide about it.
    fn check_open(&self, approval_id: ApprovalId) -> Result<(), Refusal> {
        match (&self.asked, self.state) {
            (None, _) | (_, ApprovalState::Waived) => Err(Refusal::ApprovalNotFound(approval_id)),
            (_, ApprovalState::Pending) => Ok(()),
            (_, state @ (ApprovalState::Approved | ApprovalState::Declined)) => {
                Err(Refusal::ApprovalDecided { approval_id, state })
            }
        }
    }
}

impl Aggregate for Approval {
    const TYPE: &'static str = "Approval";
    type Command = ApprovalCommand;
    type Event = ApprovalEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: ApprovalCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let event: ApprovalEvent = match command {
            ApprovalCommand::Request { approval_id, .. }
            | ApprovalCommand::Waive { approval_id, .. }
                if self.asked.is_some() =>
            {
                return Err(Refusal::AdjustmentIdReused(approval_id));
            }
            ApprovalCommand::Request { asked, asked_by: Staff { user_id, key_id }, .. } => {
                let (asked_by_user_id, asked_by_key_id) = (user_id, key_id);
                ApprovalRequested { asked, asked_by_user_id, asked_by_key_id }.into()
            }
            ApprovalCommand::Waive { asked, .. } => ApprovalWaived { asked }.into(),
            ApprovalCommand::Grant { approval_id, by: Staff { user_id, key_id } } => {
                self.check_open(approval_id)?;
                ApprovalGranted { approved_by_user_id: user_id, approved_by_key_id: key_id }.into()
            }
            ApprovalCommand::Decline { approval_id, by: Staff { user_id, key_id } } => {
                self.check_open(approval_id)?;
                ApprovalDeclined { declined_by_user_id: user_id, declined_by_key_id: key_id }.into()
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: ApprovalEvent) {
        match event {
            ApprovalEvent::ApprovalRequested(requested) => {
                self.asked = Some(requested.asked);
                self.asked_by_user_id = requested.asked_by_user_id;
                self.asked_by_key_id = requested.asked_by_key_id;
            }
            ApprovalEvent::ApprovalWaived(waived) => {
                self.asked = Some(waived.asked);
                self.state = ApprovalState::Waived;
            }
            ApprovalEvent::ApprovalGranted(_) => self.state = ApprovalState::Approved,
            ApprovalEvent::ApprovalDeclined(_) => self.state = ApprovalState::Declined,
        }
    }
}

impl Posts for ApprovalEvent {
    /// What is done is on the stream of the participant.
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::ApprovalRequested(_)
            | Self::ApprovalWaived(_)
            | Self::ApprovalGranted(_)
            | Self::ApprovalDeclined(_) => None,
        }
    }
}

impl State for Approval {
    fn user_of(id: &str) -> Option<&str> {
        let (participant, _) = id.rsplit_once('/')?;
        let (_, user_id) = participant.split_once('/')?;
        Some(user_id).filter(|user_id| !user_id.is_empty())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn an_id_names_the_participant_and_the_adjustment() {
        let text = "spring/gid://shop/Customer/7/adjustment:ticket-7";
        let id = ApprovalId::parse(text).unwrap();
        assert_eq!(id.program_id().as_str(), "spring");
        assert_eq!(id.user_id().unwrap().as_str(), "gid://shop/Customer/7");
        let ApprovalSubject::Adjustment { adjustment_id, .. } = &id.0 else { panic!("{id}") };
        assert_eq!(adjustment_id.as_str(), "ticket-7");
        assert_eq!(id.to_string(), text);
        assert_eq!(Approval::user_of(text), Some("gid://shop/Customer/7"));
        for text in ["", "spring/ada", "spring/adjustment:7", "spring/ada/7", "spring/ada/payout:7"]
        {
            assert_eq!(ApprovalId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_id_names_the_payout_and_perhaps_the_user_of_a_line() {
        for (text, user_id) in [
            ("spring//payout:may~1", None),
            ("spring/gid://shop/Customer/7/payout:may~12", Some("gid://shop/Customer/7")),
        ] {
            let id = ApprovalId::parse(text).unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(id.program_id().as_str(), "spring");
            assert_eq!(id.user_id().map(UserId::as_str), user_id);
            assert_eq!(Approval::user_of(text), user_id);
        }
        for text in ["spring/payout:may~1", "spring//payout:may~01", "spring//payout:may~"] {
            assert_eq!(ApprovalId::parse(text), None, "{text}");
        }
    }
}
