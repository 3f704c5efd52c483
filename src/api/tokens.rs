//! The opaque tokens that clients keep: their positions in the log.
//!
//! A token names the epoch of the database besides the position, because after a restore or a
//! failover the same position may hold another event.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::Context;
use super::errors::{ApiError, status};
use super::fields::Fields;
use super::pb::ErrorReason;
use crate::live::Cursor;
use crate::store::{epoch, log};

/// The first byte of every consistency token, so that one kind of token is not mistaken for another.
const CONSISTENCY: u8 = b'c';
/// The first byte of every resume token.
const RESUME: u8 = b'r';

/// A token that means "at least as new as this position".
#[must_use]
pub fn consistency_token(context: &Context, position: i64) -> String {
    URL_SAFE_NO_PAD.encode(consistency_bytes(context.epoch.number, position))
}

fn consistency_bytes(epoch: i32, position: i64) -> Vec<u8> {
    let mut bytes = vec![CONSISTENCY];
    bytes.extend(epoch.to_be_bytes());
    bytes.extend(position.to_be_bytes());
    bytes
}

/// The position that a consistency token asks for; 0 if there is none.
///
/// # Errors
/// A status if the token is malformed, or names a position that the log does not have.
pub async fn wanted_position(context: &Context, token: &str) -> Result<i64, ApiError> {
    if token.is_empty() {
        return Ok(0);
    }
    let Some((epoch, position)) = read_consistency(token) else {
        return Err(malformed("consistency_token", ErrorReason::InvalidConsistencyToken));
    };
    check_position(context, epoch, position).await?;
    Ok(position)
}

fn read_consistency(token: &str) -> Option<(i32, i64)> {
    decode::<8>(CONSISTENCY, token).map(|(epoch, rest)| (epoch, i64::from_be_bytes(rest)))
}

/// The least position that a read of the newest state reflects. The token is checked, so that a token beyond
/// what the database holds is rejected.
///
/// # Errors
/// As [`wanted_position`].
pub async fn newest_position(context: &Context, token: &str) -> Result<i64, ApiError> {
    wanted_position(context, token).await?;
    Ok(log::head(context.database.pool()).await?)
}

/// Distinguishes the tokens of one stream from those of all others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StreamName([u8; 8]);

impl StreamName {
    /// The name of the stream of an RPC about a topic.
    #[must_use]
    pub fn new(rpc: &str, topic: &str) -> Self {
        let digest =
            Sha256::new().chain_update(rpc).chain_update([0]).chain_update(topic).finalize();
        let mut hash = [0; 8];
        hash.copy_from_slice(&digest[..8]);
        Self(hash)
    }
}

/// A token that means "continue after this".
#[must_use]
pub fn resume_token(context: &Context, name: StreamName, cursor: Cursor) -> String {
    URL_SAFE_NO_PAD.encode(resume_bytes(context.epoch.number, name, cursor))
}

fn resume_bytes(epoch: i32, name: StreamName, cursor: Cursor) -> Vec<u8> {
    let mut bytes = vec![RESUME];
    bytes.extend(epoch.to_be_bytes());
    bytes.extend(cursor.position.to_be_bytes());
    bytes.extend(cursor.sequence.to_be_bytes());
    bytes.extend(name.0);
    bytes
}

/// Reads a resume token of a stream; `None` if there is none.
///
/// # Errors
/// A status if the token is malformed, of another stream, or past the end of the log.
pub async fn resume_cursor(
    context: &Context,
    name: StreamName,
    token: &str,
) -> Result<Option<Cursor>, ApiError> {
    if token.is_empty() {
        return Ok(None);
    }
    let (epoch, rest) = decode::<24>(RESUME, token).ok_or_else(malformed_resume_token)?;
    let (cursor, _) = split_cursor(name, &rest).ok_or_else(malformed_resume_token)?;
    check_position(context, epoch, cursor.position).await?;
    Ok(Some(cursor))
}

/// A rank that a reader was told, or 0 for none, and the position of the log at which it was so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldRank {
    /// 1, 2, 3, ..., or 0.
    pub rank: i64,
    /// In the log.
    pub position: i64,
}

/// A token for "go on after this" of a stream that tells a rank besides events.
#[must_use]
pub fn resume_token_with_rank(
    context: &Context,
    name: StreamName,
    cursor: Cursor,
    told: ToldRank,
) -> String {
    let mut bytes = resume_bytes(context.epoch.number, name, cursor);
    bytes.extend(told.rank.to_be_bytes());
    bytes.extend(told.position.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a token of a stream that tells a rank besides events; `None` if there is none.
///
/// # Errors
/// As [`resume_cursor`].
pub async fn resume_cursor_with_rank(
    context: &Context,
    name: StreamName,
    token: &str,
) -> Result<Option<(Cursor, ToldRank)>, ApiError> {
    if token.is_empty() {
        return Ok(None);
    }
    let (epoch, rest) = decode::<40>(RESUME, token).ok_or_else(malformed_resume_token)?;
    let (cursor, rest) = split_cursor(name, &rest).ok_or_else(malformed_resume_token)?;
    let (rank, rest) = split(rest).ok_or_else(malformed_resume_token)?;
    let (mut position, _) = split(rest).ok_or_else(malformed_resume_token)?;
    if rank < 0 || position < 0 {
        return Err(malformed_resume_token());
    }
    check_position(context, epoch, cursor.position).await?;
    if epoch == context.epoch.number {
        check_position(context, epoch, position).await?;
    } else {
        // The rank is compared with the present one anyway. That the earlier life of the database came
        // further, by events of others, does not make the token a bad one.
        position = 0;
    }
    Ok(Some((cursor, ToldRank { rank, position })))
}

/// The cursor at the beginning of a token's content, and what comes after it; `None` if it makes no sense or
/// is of another stream.
fn split_cursor(name: StreamName, bytes: &[u8]) -> Option<(Cursor, &[u8])> {
    let (position, rest) = split(bytes)?;
    let (sequence, rest) = split(rest)?;
    let rest = rest.strip_prefix(&name.0)?;
    // A sequence in a stream never exceeds the position in the log.
    (0..=position).contains(&sequence).then_some((Cursor { position, sequence }, rest))
}

fn malformed_resume_token() -> ApiError {
    malformed("resume_token", ErrorReason::InvalidResumeToken)
}

fn decode<const REST: usize>(kind: u8, token: &str) -> Option<(i32, [u8; REST])> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let rest = bytes.strip_prefix(&[kind])?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*epoch), rest.try_into().ok()?))
}

fn split(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((i64::from_be_bytes(*number), rest))
}

fn malformed(field: &str, reason: ErrorReason) -> ApiError {
    let mut fields = Fields::default();
    fields.bad_token(field, reason);
    match fields.finish::<()>(None) {
        Err(status) => status.into(),
        Ok(()) => super::errors::internal().into(),
    }
}

/// Checks that the log holds a position of an epoch.
async fn check_position(context: &Context, epoch: i32, position: i64) -> Result<(), ApiError> {
    let pool = context.database.pool();
    if epoch != context.epoch.number {
        let end = epoch::end_of(pool, epoch).await?;
        if end.is_none_or(|end| position > end) {
            return Err(status(
                ErrorReason::TokenOfOldEpoch,
                "the token is of another epoch of the database, and this log does not reach its position in \
                 that epoch; start without a token",
                &[("position", &position), ("epoch_end_position", &end.unwrap_or_default())],
            )
            .into());
        }
        return Ok(());
    }
    if position > context.live.position() {
        let head = log::head(pool).await?;
        if position > head {
            return Err(status(
                ErrorReason::TokenAheadOfLog,
                "the token is ahead of the log: it was issued by another database",
                &[("position", &position), ("head_position", &head)],
            )
            .into());
        }
    }
    Ok(())
}

/// Reads any text as each kind of token, and tokens of these numbers as they were made. For fuzz targets.
#[cfg(test)]
pub(super) fn check_any(text: &str, epoch: i32, position: i64, sequence: i64) {
    let name = StreamName::new("WatchEarnings", text);
    let _ = (read_consistency(text), decode::<24>(RESUME, text));
    let made = URL_SAFE_NO_PAD.encode(consistency_bytes(epoch, position));
    assert_eq!(read_consistency(&made), Some((epoch, position)));
    assert_eq!(decode::<24>(RESUME, &made), None);
    let cursor = Cursor { position, sequence };
    let made = URL_SAFE_NO_PAD.encode(resume_bytes(epoch, name, cursor));
    assert_eq!(read_consistency(&made), None);
    let read = decode::<24>(RESUME, &made);
    assert_eq!(read.map(|(epoch, _)| epoch), Some(epoch));
    let possible = (0..=position).contains(&sequence);
    let found = read.and_then(|(_, rest)| Some(split_cursor(name, &rest)?.0));
    assert_eq!(found, possible.then_some(cursor));
    let other = StreamName::new("WatchBalances", text);
    assert_eq!(read.and_then(|(_, rest)| Some(split_cursor(other, &rest)?.0)), None);
}
