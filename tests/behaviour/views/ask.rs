//! Reads as values: requests that can be sent, can carry a consistency token, and can be paged.

use contract::pb::*;
use tonic::{Status, Streaming};

use testing::Client;

/// A request that can be sent.
pub trait Ask: Sized {
    type Answer;

    async fn ask(self, client: &Client) -> Result<Self::Answer, Status>;
}

/// A request that reads.
pub trait Read: Ask {
    /// The same request, with the consistency token of a write.
    fn after(self, consistency_token: &str) -> Self;

    /// The position that an answer reflects.
    fn position(answer: &Self::Answer) -> i64;
}

/// A request about one participant.
pub trait OfParticipant: Ask {
    fn of(program_id: &str, user_id: &str) -> Self;
}

/// A request about one program.
pub trait OfProgram: Ask {
    fn of_program(program_id: &str) -> Self;
}

/// A request that reads page by page.
pub trait Paged: Read + Clone {
    type Row;

    /// The same request, for one page.
    fn page(self, page_size: i32, page_token: &str) -> Self;

    /// The rows of a page, and the token of the next one.
    fn rows(answer: Self::Answer) -> (Vec<Self::Row>, String);

    /// The rows of the next page of the same size. `None` after the last page.
    async fn next(
        self,
        client: &Client,
        page_size: i32,
        page_token: &mut Option<String>,
    ) -> Vec<Self::Row> {
        let token = page_token.take().unwrap_or_default();
        let answer = self.page(page_size, &token).ask(client).await.unwrap();
        let (rows, next) = Self::rows(answer);
        assert!(rows.len() <= usize::try_from(page_size).unwrap(), "a page is too long");
        *page_token = Some(next).filter(|token| !token.is_empty());
        rows
    }

    /// The rows of all pages.
    async fn all(self, client: &Client, page_size: i32) -> Vec<Self::Row> {
        let mut token = None;
        let mut rows = self.clone().next(client, page_size, &mut token).await;
        while token.is_some() {
            rows.extend(self.clone().next(client, page_size, &mut token).await);
        }
        rows
    }
}

macro_rules! ask {
    ($($service:ident.$method:ident($request:ident) -> $answer:ty;)*) => {$(
        impl Ask for $request {
            type Answer = $answer;

            async fn ask(self, client: &Client) -> Result<Self::Answer, Status> {
                Ok(client.$service().$method(client.request(self)).await?.into_inner())
            }
        }
    )*};
}

macro_rules! read {
    ($($service:ident.$method:ident($request:ident) -> $answer:ident;)*) => {$(
        ask! { $service.$method($request) -> $answer; }

        impl Read for $request {
            fn after(mut self, consistency_token: &str) -> Self {
                self.consistency_token = consistency_token.into();
                self
            }

            fn position(answer: &Self::Answer) -> i64 {
                answer.position
            }
        }
    )*};
}

macro_rules! of_participant {
    ($($request:ident)*) => {$(
        impl OfParticipant for $request {
            fn of(program_id: &str, user_id: &str) -> Self {
                Self {
                    program_id: program_id.into(),
                    user_id: user_id.into(),
                    ..Default::default()
                }
            }
        }
    )*};
}

macro_rules! of_program {
    ($($request:ident)*) => {$(
        impl OfProgram for $request {
            fn of_program(program_id: &str) -> Self {
                Self { program_id: program_id.into(), ..Default::default() }
            }
        }
    )*};
}

macro_rules! paged {
    ($($request:ident: $rows:ident of $row:ident;)*) => {$(
        impl Paged for $request {
            type Row = $row;

            fn page(mut self, page_size: i32, page_token: &str) -> Self {
                self.page_size = page_size;
                self.page_token = page_token.into();
                self
            }

            fn rows(answer: Self::Answer) -> (Vec<Self::Row>, String) {
                (answer.$rows, answer.next_page_token)
            }
        }
    )*};
}

read! {
    accounts.get_user(GetUserRequest) -> GetUserResponse;
    accounts.list_users(ListUsersRequest) -> ListUsersResponse;
    programs.get_program(GetProgramRequest) -> GetProgramResponse;
    programs.list_program_versions(ListProgramVersionsRequest) -> ListProgramVersionsResponse;
    programs.list_programs(ListProgramsRequest) -> ListProgramsResponse;
    purchases.get_purchase(GetPurchaseRequest) -> GetPurchaseResponse;
    purchases.list_purchases(ListPurchasesRequest) -> ListPurchasesResponse;
    referrals.validate_referral_code(ValidateReferralCodeRequest) -> ValidateReferralCodeResponse;
    referrals.get_referral_stats(GetReferralStatsRequest) -> GetReferralStatsResponse;
    referrals.list_referrals(ListReferralsRequest) -> ListReferralsResponse;
    referrals.get_referral_tree(GetReferralTreeRequest) -> GetReferralTreeResponse;
    rewards.get_balances(GetBalancesRequest) -> GetBalancesResponse;
    rewards.list_balance_entries(ListBalanceEntriesRequest) -> ListBalanceEntriesResponse;
    rewards.get_tier(GetTierRequest) -> GetTierResponse;
    rewards.get_earnings(GetEarningsRequest) -> GetEarningsResponse;
    rewards.get_earnings_series(GetEarningsSeriesRequest) -> GetEarningsSeriesResponse;
    rewards.list_rewards(ListRewardsRequest) -> ListRewardsResponse;
    leaderboards.get_leaderboard(GetLeaderboardRequest) -> GetLeaderboardResponse;
    leaderboards.get_rank(GetRankRequest) -> GetRankResponse;
    operators.get_overview(GetOverviewRequest) -> GetOverviewResponse;
    operators.get_conversion_report(GetConversionReportRequest) -> GetConversionReportResponse;
}

ask! {
    rewards.watch_earnings(WatchEarningsRequest) -> Streaming<WatchEarningsResponse>;
    rewards.watch_balances(WatchBalancesRequest) -> Streaming<WatchBalancesResponse>;
    rewards.watch_tier(WatchTierRequest) -> Streaming<WatchTierResponse>;
    rewards.watch_participant(WatchParticipantRequest) -> Streaming<WatchParticipantResponse>;
    leaderboards.watch_leaderboard(WatchLeaderboardRequest) -> Streaming<WatchLeaderboardResponse>;
    operators.read_events(ReadEventsRequest) -> Streaming<ReadEventsResponse>;
    operators.watch_events(WatchEventsRequest) -> Streaming<WatchEventsResponse>;
}

of_participant! {
    GetReferralStatsRequest ListReferralsRequest GetReferralTreeRequest GetBalancesRequest
    ListBalanceEntriesRequest GetTierRequest GetEarningsRequest GetEarningsSeriesRequest ListRewardsRequest
    GetRankRequest
    WatchEarningsRequest WatchBalancesRequest WatchTierRequest WatchParticipantRequest
}

of_program! {
    ListUsersRequest GetProgramRequest ListProgramVersionsRequest ListReferralsRequest GetLeaderboardRequest
    WatchLeaderboardRequest GetOverviewRequest GetConversionReportRequest
}

paged! {
    ListUsersRequest: users of UserDetail;
    ListProgramsRequest: programs of Program;
    ListProgramVersionsRequest: programs of Program;
    ListPurchasesRequest: purchases of PurchaseDetail;
    ListReferralsRequest: referrals of ReferralDetail;
    ListBalanceEntriesRequest: entries of BalanceEntry;
    GetEarningsRequest: rewards of Reward;
    ListRewardsRequest: rewards of Reward;
    GetLeaderboardRequest: entries of LeaderboardEntry;
}
