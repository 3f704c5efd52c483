//! Where people sign up from: how many did so of late, from one address, for one program.

use std::fmt;
use std::sync::Arc;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::fraud::SignUpsPerAddress;
use super::ledger::Posting;
use super::registry::{Posts, State};
use super::{ProgramId, Refusal, Timestamp};

/// The largest number of sign-ups that a program can allow from one address, and so of times that are remembered.
pub const MAX_SIGN_UPS_PER_ADDRESS: u32 = 1_000;

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
    /// Counts a sign-up, unless the check refuses it.
    Count { program_id: ProgramId, check: SignUpsPerAddress, now: Timestamp },
}

/// An address: the times of the latest sign-ups from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SignUpOrigin {
    /// In ascending order, at most [`MAX_SIGN_UPS_PER_ADDRESS`].
    latest: Vec<Timestamp>,
}

impl SignUpOrigin {
    /// The times of the sign-ups within so many hours, at most [`MAX_SIGN_UPS_PER_ADDRESS`].
    #[must_use]
    pub fn sign_ups_within(&self, hours: u32, now: Timestamp) -> &[Timestamp] {
        let since = self.not_before_the_last(now).plus_seconds(-seconds(hours));
        &self.latest[self.latest.partition_point(|time| *time <= since)..]
    }

    /// The time of a decision. Servers follow the log's clock only approximately.
    fn not_before_the_last(&self, now: Timestamp) -> Timestamp {
        self.latest.last().map_or(now, |last| now.max(*last))
    }
}

fn seconds(hours: u32) -> i64 {
    i64::from(hours) * 60 * 60
}

impl Aggregate for SignUpOrigin {
    const TYPE: &'static str = "SignUpOrigin";
    type Command = SignUpOriginCommand;
    type Event = SignUpOriginEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        SignUpOriginCommand::Count { program_id, check, now }: SignUpOriginCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let now = self.not_before_the_last(now);
        let counted = self.sign_ups_within(check.window_hours, now);
        let count = u32::try_from(counted.len()).unwrap_or(u32::MAX);
        if check.refuses(count) {
            let limit = check.max_sign_ups;
            // There is room when fewer than the limit are within the window.
            let leaving = counted.get((count - limit) as usize).copied().unwrap_or(now);
            let free = leaving.plus_seconds(seconds(check.window_hours));
            let left_us = u64::try_from(free.0.saturating_sub(now.0)).unwrap_or_default();
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
