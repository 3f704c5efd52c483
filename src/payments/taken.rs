//! What became of an event that was taken in.

use std::fmt;

use super::reasons::{Reason, words};

/// The most reasons that one answer names. `ListUnmatchedPayments` shows all.
const MAX_REASONS: usize = 3;

/// What became of an event. Its text is the answer to the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All that is due of its payments is recorded.
    Recorded,
    /// Something of these payments waits, for these reasons.
    Parked(Vec<(String, Reason)>),
    /// Nothing says yet which payment it is about.
    Waiting,
    /// It is of a type that is not read, and not kept.
    Ignored,
    /// It is about another account, and not kept.
    OtherAccount,
    /// It is of the other mode than the key of this server, and not kept.
    OtherMode,
}

impl Taken {
    /// How every text begins, and all of the text if everything is recorded.
    pub const RECEIVED: &str = "received";
    /// How the text begins if something waits for an operator.
    pub const PARKED: &str = "received; parked:";

    /// The name under which it is counted.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Parked(_) => "parked",
            Self::Waiting => "waiting",
            Self::Ignored => "ignored",
            Self::OtherAccount => "other_account",
            Self::OtherMode => "other_mode",
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let and = match self {
            Self::Recorded => return formatter.write_str(Self::RECEIVED),
            Self::Parked(parked) => {
                formatter.write_str(Self::PARKED)?;
                for (index, (payment_id, reason)) in parked.iter().take(MAX_REASONS).enumerate() {
                    let separator = if index == 0 { "" } else { ";" };
                    write!(formatter, "{separator} payment {payment_id}: {}", words(reason))?;
                }
                let more = parked.len().saturating_sub(MAX_REASONS);
                return if more == 0 { Ok(()) } else { write!(formatter, "; and {more} more") };
            }
            Self::Waiting => "kept until an event says which payment it is about",
            Self::Ignored => "not kept: events of this type are not read",
            Self::OtherAccount => "not kept: it is about another account",
            Self::OtherMode => {
                "not kept: STRIPE_SECRET_KEY of this server is of the other mode (live or test)"
            }
        };
        write!(formatter, "{}; {and}", Self::RECEIVED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_waits_and_how_much_more() {
        let parked = |count: usize| {
            let reason = |number: usize| {
                let refusal = format!("reason {number}");
                ("pi_1".to_owned(), Reason::Refused { refusal, object_ids: Vec::new() })
            };
            Taken::Parked((1..=count).map(reason).collect()).to_string()
        };
        assert_eq!(parked(1), "received; parked: payment pi_1: reason 1");
        let three = "received; parked: payment pi_1: reason 1; payment pi_1: reason 2; payment pi_1: reason 3";
        assert_eq!(parked(3), three);
        assert_eq!(parked(40), format!("{three}; and 37 more"));
        assert_eq!(Taken::Recorded.to_string(), Taken::RECEIVED);
        assert!(Taken::Ignored.to_string().starts_with("received; not kept"));
    }
}
