//! How far the read models are behind the log, and how long they take to catch up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::LoadError;
use super::connections::Connections;
use super::log;
use contract::pb::account_service_client::AccountServiceClient;
use contract::pb::leaderboard_service_client::LeaderboardServiceClient;
use contract::pb::operator_service_client::OperatorServiceClient;
use contract::pb::{GetLeaderboardRequest, GetOverviewRequest, ListUsersRequest};

/// How often the lag is sampled during a run.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How often to check whether the read models have caught up.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How long to wait for the read models to catch up.
const CATCH_UP_PATIENCE: Duration = Duration::from_mins(2);

/// The lowest position of three reads that use different tables: totals, participants and leaderboards. The
/// reads carry no consistency token, so the server answers them without waiting.
async fn read_models(connections: &Connections, program_id: &str) -> Result<i64, LoadError> {
    let failed = LoadError::call("read without a token");
    let program_id = || program_id.to_owned();
    let channel = connections.channel(0);
    let overview = GetOverviewRequest { program_id: program_id(), ..Default::default() };
    let users = ListUsersRequest { program_id: program_id(), page_size: 1, ..Default::default() };
    let board =
        GetLeaderboardRequest { program_id: program_id(), page_size: 1, ..Default::default() };
    let mut operators = OperatorServiceClient::new(channel.clone());
    let mut accounts = AccountServiceClient::new(channel.clone());
    let mut leaderboards = LeaderboardServiceClient::new(channel);
    let (overview, users, board) = tokio::try_join!(
        operators.get_overview(connections.request(overview)),
        accounts.list_users(connections.request(users)),
        leaderboards.get_leaderboard(connections.request(board)),
    )
    .map_err(failed)?;
    let positions =
        [overview.get_ref().position, users.get_ref().position, board.get_ref().position];
    Ok(positions.into_iter().min().unwrap_or_default())
}

/// How many events the read models are behind the log. The number may be too high, as the end of the log is
/// read after them.
async fn behind(connections: &Connections, program_id: &str) -> Result<i64, LoadError> {
    let position = read_models(connections, program_id).await?;
    Ok(log::end(connections, position).await? - position)
}

/// Samples the lag every second until told to stop, and returns the greatest.
pub(super) async fn sample(
    connections: Connections,
    program_id: Arc<str>,
    mut stop: watch::Receiver<bool>,
) -> i64 {
    let mut greatest = 0;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => return greatest,
            () = tokio::time::sleep(SAMPLE_INTERVAL) => {}
        }
        // A server that is too busy to answer is not asked again at once.
        if let Ok(events) = behind(&connections, &program_id).await {
            greatest = greatest.max(events);
        }
    }
}

/// Waits until the read models reflect everything that is in the log now. Returns how many events they were
/// behind, and how long it took.
pub(super) async fn catch_up(
    connections: &Connections,
    program_id: &str,
) -> Result<(i64, Duration), LoadError> {
    let begun = Instant::now();
    let (mut first, mut end) = (None, None);
    loop {
        // Right after a storm, reads of a large program can take longer than a call may.
        let failed = match read_models(connections, program_id).await {
            Ok(position) => {
                let first = *first.get_or_insert(position);
                let end = match end {
                    Some(end) => end,
                    None => *end.insert(log::end(connections, position).await?),
                };
                if position >= end {
                    return Ok((end - first, begun.elapsed()));
                }
                None
            }
            Err(error) => Some(error),
        };
        if begun.elapsed() > CATCH_UP_PATIENCE {
            let reason = format!("they have not after {} s", CATCH_UP_PATIENCE.as_secs());
            let late = LoadError::Call { what: "wait for the read models to catch up", reason };
            return Err(failed.unwrap_or(late));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
