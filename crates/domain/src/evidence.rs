//! The rows in which the client of a sign-up, the evidence of a fraud flag and the notes of its reviewers stand,
//! outside the log: they are personal data.

use std::fmt;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::fraud::counted_network;
use crate::{Personal, Timestamp, UserId};

/// From where a user signed up.
#[derive(Clone, PartialEq, Eq)]
pub struct SignUpClient {
    /// The user.
    pub user_id: UserId,
    /// The address on the network.
    pub client_ip: Option<IpAddr>,
    /// A keyed hash of the fingerprint of a device or a means of payment.
    pub fingerprint_key: Option<String>,
    /// When.
    pub sign_up_time: Timestamp,
}

/// What was found when a flag was raised. A second row for the same flag only counts as a repetition.
#[derive(Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct FraudEvidence {
    pub flag_id: String,
    /// Who is flagged; absent if a sign-up was refused.
    pub user_id: Option<UserId>,
    /// With whom they share something.
    pub other_user_id: Option<UserId>,
    pub address: Option<Personal>,
    pub other_address: Option<Personal>,
    /// The address on the network from which the request came.
    pub client_ip: Option<IpAddr>,
    /// A keyed hash of the fingerprint of a device or a means of payment.
    pub fingerprint_key: Option<String>,
    /// What each check found, the gravest first, as a JSON array.
    pub findings: Value,
    /// How many people had signed up from the client's address in the window of the check.
    pub sign_up_count: Option<u32>,
    pub found_time: Timestamp,
}

/// What a reviewer wrote with a decision about a flag.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct FraudNote {
    pub flag_id: String,
    /// The number of the decision: 1 for the first about the flag.
    pub number: u32,
    /// Who is flagged; absent if a sign-up was refused.
    pub user_id: Option<UserId>,
    /// Who refers them.
    pub referrer_user_id: Option<UserId>,
    /// With whom they share something.
    pub other_user_id: Option<UserId>,
    pub note: Personal,
    pub note_time: Timestamp,
}

impl fmt::Debug for FraudEvidence {
    /// Prints the flag only: personal data stays out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FraudEvidence")
            .field("flag_id", &self.flag_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FraudNote {
    /// Prints the flag only: personal data stays out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FraudNote").field("flag_id", &self.flag_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for SignUpClient {
    /// Prints the user only: personal data stays out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SignUpClient")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

impl SignUpClient {
    /// The values of the row by column name.
    pub(crate) fn content(&self) -> Value {
        json!({
            "user_id": self.user_id,
            "client_address": self.client_ip.map(|address| address.to_canonical().to_string()),
            "network": self.client_ip.map(counted_network),
            "fingerprint_key": self.fingerprint_key,
            "sign_up_time_us": self.sign_up_time,
        })
    }
}

impl FraudEvidence {
    /// The values of the row by column name.
    pub(crate) fn content(&self) -> Value {
        json!({
            "flag_id": self.flag_id,
            "user_id": self.user_id,
            "other_user_id": self.other_user_id,
            "address": text(self.address.as_ref()),
            "other_address": text(self.other_address.as_ref()),
            "client_address": self.client_ip.map(|address| address.to_canonical().to_string()),
            "network": self.client_ip.map(counted_network),
            "fingerprint_key": self.fingerprint_key,
            "findings": self.findings,
            "sign_up_count": self.sign_up_count,
            "found_time_us": self.found_time,
        })
    }
}

impl FraudNote {
    /// The values of the row by column name.
    pub(crate) fn content(&self) -> Value {
        json!({
            "flag_id": self.flag_id,
            "number": self.number,
            "user_id": self.user_id,
            "referrer_user_id": self.referrer_user_id,
            "other_user_id": self.other_user_id,
            "note": self.note.0,
            "note_time_us": self.note_time,
        })
    }
}

fn text(personal: Option<&Personal>) -> Option<&str> {
    personal.map(|personal| personal.0.as_str())
}
