//! Where people sign up from: how many did so of late, from one address, for one program.

use std::fmt;
use std::sync::Arc;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::ledger::Posting;
use super::registry::{Posts, State};
use super::{ProgramId, Refusal, Timestamp};

/// The largest number of sign-ups that a program can allow from one address, and so of times that are remembered.
pub const MAX_SIGN_UPS_PER_ADDRESS: u32 = 100;

/// An address, as one from which people sign up for a program. Written `program/key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SignUpOriginId {
    /// The program.
    pub program_id: ProgramId,
    /// A keyed hash of the address (of a block of IPv6 addresses): letters, digits, `-` and `_`.
    pub address_key: Arc<str>,
}

impl fmt::Display for SignUpOriginId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.program_id, self.address_key)
    }
}

/// Somebody signed up from the address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SignUpCounted {
    /// When, in microseconds since 1970; never before the one before.
    pub sign_up_time_us: Timestamp,
}

events! {
    /// What can happen at an address.
    SignUpOriginEvent {
        SignUpCounted = "1.0.0",
    }
}

/// The commands of an address.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum SignUpOriginCommand {
    /// Counts a sign-up, if fewer than `limit` were made in the `window_seconds` before it.
    Count { program_id: ProgramId, limit: u32, window_seconds: i64, now: Timestamp },
}

/// An address: the times of the latest sign-ups from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SignUpOrigin {
    /// In ascending order, at most [`MAX_SIGN_UPS_PER_ADDRESS`].
    latest: Vec<Timestamp>,
}

impl SignUpOrigin {
    /// How many people have signed up since a moment, at most [`MAX_SIGN_UPS_PER_ADDRESS`].
    #[must_use]
    pub fn sign_ups_since(&self, since: Timestamp) -> &[Timestamp] {
        &self.latest[self.latest.partition_point(|time| *time <= since)..]
    }
}

impl Aggregate for SignUpOrigin {
    const TYPE: &'static str = "SignUpOrigin";
    type Command = SignUpOriginCommand;
    type Event = SignUpOriginEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        SignUpOriginCommand::Count { program_id, limit, window_seconds, now }: SignUpOriginCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let limit = limit.min(MAX_SIGN_UPS_PER_ADDRESS);
        // Servers follow the log's clock only approximately.
        let now = self.latest.last().map_or(now, |last| now.max(*last));
        let counted = self.sign_ups_since(now.plus_seconds(-window_seconds));
        if let Some(surplus) = counted.len().checked_sub(limit as usize) {
            // There is room when all but `limit - 1` of them are out of the window; with a limit of 0 there never is,
            // and the last of them is as good as any.
            let leaving = counted.get(surplus).or(counted.last()).copied().unwrap_or(now);
            let left_us = leaving.plus_seconds(window_seconds).0.saturating_sub(now.0);
            let left_us = u64::try_from(left_us).unwrap_or_default();
            let retry_seconds = left_us.div_ceil(Timestamp::PER_SECOND.unsigned_abs());
            return Err(Refusal::TooManySignUps { program_id, limit, retry_seconds });
        }
        sink.write(SignUpCounted { sign_up_time_us: now }.into(), self).await;
        Ok(())
    }

    fn apply(&mut self, SignUpOriginEvent::SignUpCounted(counted): SignUpOriginEvent) {
        if self.latest.len() >= MAX_SIGN_UPS_PER_ADDRESS as usize {
            self.latest.remove(0);
        }
        self.latest.push(counted.sign_up_time_us);
    }
}

impl Posts for SignUpOriginEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::SignUpCounted(_) => None,
        }
    }
}

impl State for SignUpOrigin {
    fn user_of(_: &str) -> Option<&str> {
        None
    }
}
