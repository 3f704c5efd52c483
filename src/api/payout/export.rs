//! `ExportPayout`: the lines of a payout as CSV, for a provider of payments.

use std::fmt::{Display, Write};
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Status;

use super::messages::line_state;
use super::{Handlers, payout_key};
use crate::api::Context;
use crate::api::deadline::end_of;
use crate::api::errors::{ApiError, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::reads::freshness;
use crate::api::watch::{Messages, QUEUED_MESSAGES, Sent, credentials_ended, open};
use crate::read::{At, Freshness, LineFilter, ListedLine};
use crate::store::{in_time, log, payouts};
use domain::currency::amount_text;
use domain::{PayoutKey, PayoutLineState, PayoutState, Refusal};

/// How many lines are in a chunk.
const CHUNK: i64 = 1_000;
/// How long a message may wait for a client that does not read its stream.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);

const HEADER: &str =
    "user_id,method_kind,method_reference,amount,currency,state,provider_reference\r\n";

impl Handlers {
    pub(in crate::api) async fn export_payout(
        &self,
        call: Call<pb::ExportPayoutRequest>,
    ) -> Result<Messages<pb::ExportPayoutResponse>, ApiError> {
        let opening = open(&self.0, &call)?;
        let request = &call.message;
        let mut fields = Fields::of(request);
        let payout = payout_key(&mut fields, &request.program_id, &request.payout_id);
        let state = line_state(request.state());
        if state == Some(PayoutLineState::Skipped) {
            let message = "must be a state of lines with an amount (RESERVED, PAID, FAILED, RETURNED), or absent for \
                           all of these; ListPayoutLines shows who was skipped, with the reason";
            fields.fault("state", ErrorReason::OutOfRange, message);
        }
        let payout = fields.finish(payout)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        // Whatever was decided before the call is not in the file that says what to pay.
        let head = log::head(self.0.database.pool()).await?;
        let freshness = Freshness { position: freshness.position.max(head), ..freshness };
        let At { position, found } = self.found(&payout, freshness).await?;
        refuse_unsettled(&payout, found.state, state)?;
        let (messages, answer) = mpsc::channel(QUEUED_MESSAGES);
        let export = Export {
            context: self.0.clone(),
            payout,
            unit: found.unit,
            filter: LineFilter { state, reason: None },
            // Each page is at least as new as the payout's state.
            freshness: Freshness { position, ..freshness },
            messages: messages.clone(),
        };
        let context = self.0.clone();
        tokio::spawn(async move {
            // One slot stays reserved for the final status, so that a client that is behind gets it too.
            let Ok(last_word) = messages.reserve_owned().await else { return };
            let status = tokio::select! {
                done = export.run() => done.err(),
                deadline = end_of(opening.deadline) => {
                    Some(deadline.passed("the deadline of the call has passed", &[]))
                }
                () = context.stopping.cancelled() => {
                    Some(status(ErrorReason::ShuttingDown, "the server is stopping; begin again", &[]))
                }
                () = opening.credential_ended() => Some(credentials_ended(&[])),
            };
            if let Some(status) = status {
                last_word.send(Box::new(Err(status)));
            }
        });
        Ok(Messages::new(answer))
    }
}

/// Refuses to say what is reserved while that changes: a file of it could have what is paid or available by now.
fn refuse_unsettled(
    payout: &PayoutKey,
    state: PayoutState,
    wanted: Option<PayoutLineState>,
) -> Result<(), ApiError> {
    let has_reserved = wanted.is_none_or(|wanted| wanted == PayoutLineState::Reserved);
    match state {
        PayoutState::Collecting => Err(Refusal::PayoutCollecting(payout.clone()).into()),
        PayoutState::Confirming | PayoutState::Failing if has_reserved => {
            let message = format!(
                "payout '{payout}' is being decided as a whole, so that what is reserved changes: wait until GetPayout \
                 says that it is confirmed or has failed"
            );
            let facts: [(&str, &dyn Display); 3] = [
                ("program_id", &payout.program_id),
                ("payout_id", &payout.payout_id),
                ("state", &state.as_str()),
            ];
            Err(status(ErrorReason::PayoutUnsettled, message, &facts).into())
        }
        PayoutState::Open
        | PayoutState::Confirming
        | PayoutState::Failing
        | PayoutState::Confirmed
        | PayoutState::Failed => Ok(()),
    }
}

/// An export that runs.
struct Export {
    context: Context,
    payout: PayoutKey,
    unit: String,
    filter: LineFilter,
    freshness: Freshness,
    messages: mpsc::Sender<Sent<pb::ExportPayoutResponse>>,
}

impl Export {
    async fn run(self) -> Result<(), Status> {
        let (mut csv, mut after) = (HEADER.to_owned(), String::new());
        loop {
            let reads = &self.context.reads;
            let page = reads
                .payout_lines(&self.payout, self.filter, &after, CHUNK, self.freshness)
                .await
                .map_err(ApiError::from)?;
            let lines = page.found;
            let is_last = i64::try_from(lines.len()).is_ok_and(|count| count < CHUNK);
            if let Some(last) = lines.last() {
                after = last.user_id.to_string();
            }
            self.append(&mut csv, &lines).await?;
            self.send(std::mem::take(&mut csv)).await?;
            if is_last {
                let reads = &self.context.reads;
                let now =
                    reads.payout(&self.payout, self.freshness).await.map_err(ApiError::from)?;
                let state = now.found.map_or(PayoutState::Open, |payout| payout.state);
                return Ok(refuse_unsettled(&self.payout, state, self.filter.state)?);
            }
        }
    }

    async fn append(&self, csv: &mut String, lines: &[ListedLine]) -> Result<(), ApiError> {
        let users: Vec<&str> = lines.iter().map(|line| line.user_id.as_str()).collect();
        let pool = self.context.database.pool();
        let methods = in_time(payouts::methods(pool, &users)).await?;
        for line in lines.iter().filter(|line| line.state != PayoutLineState::Skipped) {
            let method = methods.get(line.user_id.as_str());
            let (kind, reference) =
                method.map_or(("", ""), |(kind, reference)| (&**kind, &**reference));
            let text = amount_text(line.amount_minor, &self.unit);
            let (amount, currency) = text.split_once(' ').unwrap_or((&text, &self.unit));
            let fields = [
                line.user_id.as_str(),
                kind,
                reference,
                amount,
                currency,
                line.state.as_str(),
                line.provider_reference.as_deref().unwrap_or_default(),
            ];
            let fields = fields.map(field);
            // Writing to a string cannot fail.
            let _ = write!(csv, "{}\r\n", fields.join(","));
        }
        Ok(())
    }

    async fn send(&self, csv: String) -> Result<(), Status> {
        let sent = self.messages.send(Box::new(Ok(pb::ExportPayoutResponse { csv })));
        if let Ok(Ok(())) = tokio::time::timeout(SEND_TIMEOUT, sent).await {
            return Ok(());
        }
        let message = "nothing was read for a minute; begin again";
        Err(status(ErrorReason::SlowConsumer, message, &[]))
    }
}

/// A field of a record. A text that a spreadsheet would take for a formula has an apostrophe before it, and one that
/// would end the field is in quotes.
fn field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_not_exported_while_it_changes() {
        let payout = PayoutKey::parse("cash/may").unwrap_or_default();
        let is_refused = |state, wanted| refuse_unsettled(&payout, state, wanted).is_err();
        for wanted in [None, Some(PayoutLineState::Reserved), Some(PayoutLineState::Paid)] {
            let has_reserved = wanted != Some(PayoutLineState::Paid);
            assert!(is_refused(PayoutState::Collecting, wanted));
            for deciding in [PayoutState::Confirming, PayoutState::Failing] {
                assert_eq!(is_refused(deciding, wanted), has_reserved, "{deciding:?} {wanted:?}");
            }
            for settled in [PayoutState::Open, PayoutState::Confirmed, PayoutState::Failed] {
                assert!(!is_refused(settled, wanted), "{settled:?} {wanted:?}");
            }
        }
    }

    #[test]
    fn a_field_ends_where_it_ends_and_is_no_formula() {
        for (text, expected) in [
            ("DE89 3704 0044", "DE89 3704 0044"),
            ("", ""),
            ("Ada, Countess", "\"Ada, Countess\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "'=1+1"),
            ("+4915112345", "'+4915112345"),
            ("@SUM(A1,A2)", "\"'@SUM(A1,A2)\""),
            ("-5", "'-5"),
            ("ada@example.com", "ada@example.com"),
        ] {
            assert_eq!(field(text), expected);
        }
    }
}
