//! Who may call what: one row per RPC. A call of an RPC without a row is turned away.

use super::pb::ErrorReason;
use crate::metrics::Rpc;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody without a key.
    Anonymous,
    /// The holder of an admin key.
    Admin,
}

impl Caller {
    /// Separates the request ids of one caller from those of another.
    #[must_use]
    pub fn scope(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Admin => "admin",
        }
    }

    /// Whether the caller acts for a back end, and so for its users.
    #[must_use]
    pub fn is_back_end(self) -> bool {
        self == Self::Admin
    }
}

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Anybody, with or without a key.
    Anyone,
    /// Whoever has a key; what they see and change is theirs alone.
    KeyHolders,
    /// Back ends acting for their users, and admins.
    BackEnds,
    /// Admins.
    Admins,
}

impl Audience {
    /// Whether the caller belongs to the audience, and why not.
    ///
    /// # Errors
    /// The reason for turning the call away.
    pub fn admit(self, caller: Caller) -> Result<(), ErrorReason> {
        match (self, caller) {
            (Self::Anyone, _) | (_, Caller::Admin) => Ok(()),
            (_, Caller::Anonymous) => Err(ErrorReason::MissingCredentials),
        }
    }
}

/// Every RPC with those who may call it, as `(service, RPC, audience)`.
pub const AUDIENCES: &[(&str, &str, Audience)] = &[
    ("AccountService", "RegisterUser", Audience::Anyone),
    ("AccountService", "GetUser", Audience::KeyHolders),
    ("AccountService", "ListUsers", Audience::BackEnds),
    ("AccountService", "DeactivateUser", Audience::BackEnds),
    ("AccountService", "ReactivateUser", Audience::BackEnds),
    ("ProgramService", "PublishProgram", Audience::Admins),
    ("ProgramService", "GetProgram", Audience::KeyHolders),
    ("ProgramService", "ListPrograms", Audience::KeyHolders),
    ("ProgramService", "EnrollParticipant", Audience::KeyHolders),
    ("ReferralService", "ApplyReferral", Audience::KeyHolders),
    ("ReferralService", "ValidateReferralCode", Audience::Anyone),
    ("ReferralService", "GetReferralStats", Audience::KeyHolders),
    ("ReferralService", "ListReferrals", Audience::KeyHolders),
    ("ReferralService", "GetReferralTree", Audience::KeyHolders),
    ("PurchaseService", "RecordPurchase", Audience::BackEnds),
    ("PurchaseService", "GetPurchase", Audience::KeyHolders),
    ("PurchaseService", "ListPurchases", Audience::KeyHolders),
    ("RewardService", "GetBalances", Audience::KeyHolders),
    ("RewardService", "ListBalanceEntries", Audience::KeyHolders),
    ("RewardService", "GetTier", Audience::KeyHolders),
    ("RewardService", "GetEarnings", Audience::KeyHolders),
    ("RewardService", "ListRewards", Audience::KeyHolders),
    ("RewardService", "WatchEarnings", Audience::KeyHolders),
    ("RewardService", "WatchBalances", Audience::KeyHolders),
    ("RewardService", "WatchTier", Audience::KeyHolders),
    ("LeaderboardService", "GetLeaderboard", Audience::KeyHolders),
    ("LeaderboardService", "GetRank", Audience::KeyHolders),
    ("LeaderboardService", "WatchLeaderboard", Audience::KeyHolders),
    ("OperatorService", "GetOverview", Audience::Admins),
    ("OperatorService", "GetConversionReport", Audience::Admins),
    ("OperatorService", "ReadEvents", Audience::Admins),
    ("OperatorService", "WatchEvents", Audience::Admins),
    ("OperatorService", "ListJobs", Audience::Admins),
    ("OperatorService", "RetryJob", Audience::Admins),
];

/// The services whose health can be asked for; the empty name stands for the server as a whole.
pub const SERVICES: &[&str] = &[
    "",
    "tributary.v1.AccountService",
    "tributary.v1.ProgramService",
    "tributary.v1.ReferralService",
    "tributary.v1.PurchaseService",
    "tributary.v1.RewardService",
    "tributary.v1.LeaderboardService",
    "tributary.v1.OperatorService",
];

/// Services outside of the contract that anybody may call.
const OPEN_SERVICES: &[&str] = &[
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The audience of a path such as `/tributary.v1.AccountService/GetUser`; `None` if there is no such
/// RPC.
#[must_use]
pub fn audience_of(path: &str) -> Option<Audience> {
    let (service, rpc) = path.strip_prefix('/')?.split_once('/')?;
    if OPEN_SERVICES.contains(&service) {
        return Some(Audience::Anyone);
    }
    let service = service.strip_prefix("tributary.v1.")?;
    AUDIENCES.iter().find(|row| row.0 == service && row.1 == rpc).map(|row| row.2)
}

/// The RPC of a path such as `/tributary.v1.AccountService/GetUser`; `None` if it is none of ours.
#[must_use]
pub fn rpc_of(path: &str) -> Option<Rpc> {
    let (service, rpc) = path.strip_prefix("/tributary.v1.")?.split_once('/')?;
    let row = AUDIENCES.iter().find(|row| row.0 == service && row.1 == rpc)?;
    Some(Rpc { service: row.0, rpc: row.1 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use prost::Message;

    use super::*;

    #[test]
    fn every_rpc_of_the_contract_has_exactly_one_audience_and_no_other_has() {
        let descriptors = prost_types::FileDescriptorSet::decode(contract::DESCRIPTORS).unwrap();
        let mut rpcs: Vec<(String, String)> = descriptors
            .file
            .iter()
            .filter(|file| file.package() == "tributary.v1")
            .flat_map(|file| &file.service)
            .flat_map(|service| {
                service.method.iter().map(|rpc| (service.name().into(), rpc.name().into()))
            })
            .collect();
        let mut declared: Vec<(String, String)> =
            AUDIENCES.iter().map(|row| (row.0.into(), row.1.into())).collect();
        rpcs.sort();
        declared.sort();
        assert_eq!(declared, rpcs);
    }

    #[test]
    fn an_unknown_rpc_has_no_audience() {
        assert_eq!(audience_of("/tributary.v1.AccountService/DropEverything"), None);
        assert_eq!(audience_of("/other.v1.AccountService/GetUser"), None);
        assert_eq!(audience_of("/tributary.v1.AccountService/GetUser"), Some(Audience::KeyHolders));
    }
}
