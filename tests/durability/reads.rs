//! Every read that accepts a consistency token, about a user who is in two programs.

use std::time::Duration;

use contract::parse_program;
use contract::pb::*;
use tonic::Status;

use testing::{Client, program};

pub const COMMISSION: &str = "multi-level-commission";
pub const TIERED: &str = "tiered-points";
/// What the owner earns from a purchase of a friend.
pub const SHARE: i64 = 5_000;

/// The reads that read models answer.
pub const FROM_READ_MODELS: [&str; 16] = [
    "GetBalances",
    "ListBalanceEntries",
    "GetEarnings",
    "GetEarningsSeries",
    "ListRewards",
    "GetTier",
    "GetReferralStats",
    "ListReferrals",
    "ListReferrals of two levels",
    "GetReferralTree",
    "GetOverview",
    "GetConversionReport",
    "ListUsers",
    "ListUsers of a program",
    "ListPurchases",
    "ListPurchases of a user",
];

/// The reads that leaderboards answer.
pub const FROM_BOARDS: [&str; 2] = ["GetLeaderboard", "GetRank"];

/// Both.
pub fn all_reads() -> impl Iterator<Item = &'static str> {
    FROM_READ_MODELS.into_iter().chain(FROM_BOARDS)
}

/// Publishes commissions without limits and tiers, and signs up an owner in both and a friend of theirs.
/// Returns the owner's code for tiers.
pub async fn settle(client: &Client) -> String {
    let json = std::fs::read_to_string(program(COMMISSION)).unwrap();
    let mut program = parse_program(&json).unwrap();
    program.max_direct_referrals = None;
    for rule in &mut program.rewards {
        rule.cap_minor = None;
    }
    client.publish(program).await.unwrap();
    client.publish_shipped(TIERED).await;
    let code = client.sign_up(COMMISSION, "owner", "").await.unwrap().code;
    client.sign_up(COMMISSION, "friend", &code).await.unwrap();
    let message = EnrollParticipantRequest {
        program_id: TIERED.into(),
        user_id: "owner".into(),
        ..EnrollParticipantRequest::default()
    };
    let answer = client.programs().enroll_participant(client.request(message)).await.unwrap();
    answer.into_inner().participant.unwrap().code
}

/// Records a purchase of the friend, and returns the token.
pub async fn purchase(client: &Client) -> String {
    client.buy("", "friend", "INR", 100_000).await.unwrap().consistency_token
}

/// Sends a read about a user, with a token and optionally a deadline, and returns the position that the
/// answer reflects.
pub async fn position(
    client: &Client,
    read: &str,
    user_id: &str,
    token: &str,
    deadline: Option<Duration>,
) -> Result<i64, Status> {
    macro_rules! ask {
        ($service:ident.$rpc:ident($message:ident { $($field:ident: $value:expr),* })) => {{
            #[allow(clippy::needless_update, reason = "some messages have no other fields")]
            let message = $message {
                consistency_token: token.into(),
                $($field: $value.into(),)*
                ..$message::default()
            };
            let mut request = client.request(message);
            if let Some(deadline) = deadline {
                request.set_timeout(deadline);
            }
            client.$service().$rpc(request).await?.into_inner().position
        }};
    }
    macro_rules! ask_of_owner {
        ($service:ident.$rpc:ident($message:ident { $($field:ident: $value:expr),* })) => {
            ask!($service.$rpc($message {
                program_id: COMMISSION, user_id: user_id $(, $field: $value)*
            }))
        };
    }
    Ok(match read {
        "GetBalances" => ask_of_owner!(rewards.get_balances(GetBalancesRequest {})),
        "ListBalanceEntries" => {
            ask_of_owner!(rewards.list_balance_entries(ListBalanceEntriesRequest {}))
        }
        "GetEarnings" => ask_of_owner!(rewards.get_earnings(GetEarningsRequest {})),
        "GetEarningsSeries" => {
            ask_of_owner!(rewards.get_earnings_series(GetEarningsSeriesRequest {}))
        }
        "ListRewards" => ask_of_owner!(rewards.list_rewards(ListRewardsRequest {})),
        "GetTier" => {
            ask!(rewards.get_tier(GetTierRequest { program_id: TIERED, user_id: user_id }))
        }
        "GetReferralStats" => {
            ask_of_owner!(referrals.get_referral_stats(GetReferralStatsRequest {}))
        }
        "ListReferrals" => ask_of_owner!(referrals.list_referrals(ListReferralsRequest {})),
        "ListReferrals of two levels" => {
            ask_of_owner!(referrals.list_referrals(ListReferralsRequest { max_level: 2 }))
        }
        "GetReferralTree" => ask_of_owner!(referrals.get_referral_tree(GetReferralTreeRequest {})),
        "GetOverview" => {
            ask!(operators.get_overview(GetOverviewRequest { program_id: COMMISSION }))
        }
        "GetConversionReport" => ask!(
            operators.get_conversion_report(GetConversionReportRequest { program_id: COMMISSION })
        ),
        "ListUsers" => ask!(accounts.list_users(ListUsersRequest {})),
        "ListUsers of a program" => {
            ask!(accounts.list_users(ListUsersRequest { program_id: TIERED }))
        }
        "ListPurchases" => ask!(purchases.list_purchases(ListPurchasesRequest {})),
        "ListPurchases of a user" => {
            ask!(purchases.list_purchases(ListPurchasesRequest { buyer_user_id: "friend" }))
        }
        "GetLeaderboard" => {
            ask!(leaderboards.get_leaderboard(GetLeaderboardRequest { program_id: COMMISSION }))
        }
        "GetRank" => ask_of_owner!(leaderboards.get_rank(GetRankRequest {})),
        unknown => panic!("{unknown}"),
    })
}
