//! `ExportUser`: everything that is held about a user, as one JSON document in parts.

use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use super::Handlers;
use crate::api::Context;
use crate::api::deadline::end_of;
use crate::api::errors::{ApiError, internal, status};
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pb::{self, ErrorReason};
use crate::api::responses::time;
use crate::api::tokens::newest_position;
use crate::api::watch::{Messages, QUEUED_MESSAGES, Sent, credentials_ended, open};
use crate::engine::Submission;
use crate::engine::query::query;
use crate::read::{At, Freshness, PurchaseFilter, RedemptionFilter};
use crate::store::{RecordedEvent, in_time, log, personal};
use domain::decide::Command;
use domain::{
    Participant, ParticipantId, ProgramId, Purchase, PurchaseEvent, Refusal, Stream, StreamKey,
    User, UserId, each, load,
};

/// The size at which a part of the document is sent, in bytes. One more line can be added, so parts are longer.
const PART_BYTES: usize = 64 * 1024;
/// How many events or purchases are read at once.
const READ_ROWS: i64 = 500;
/// How long a part may wait for a client that does not read.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);

impl Handlers {
    pub(in crate::api) async fn export_user(
        &self,
        call: Call<pb::ExportUserRequest>,
    ) -> Result<Messages<pb::ExportUserResponse>, ApiError> {
        let opening = open(&self.0, &call)?;
        let request = &call.message;
        let mut fields = Fields::of(request);
        let user_id = fields.id("user_id", &request.user_id, UserId::parse);
        let user_id = fields.finish(user_id)?;
        newest_position(&self.0, &request.consistency_token).await?;
        let position = log::head(self.0.database.pool()).await?;
        let participants = participants(&self.0, &user_id).await?;
        let command = Command::ExportUser { user_id: user_id.clone() };
        let submission = Submission::new(command, call.principal.actor(), call.door());
        // Recorded first, whether or not the caller reads to the end, so that the document shows it, too.
        self.0.engine.execute(submission).await?;
        let (messages, answer) = mpsc::channel(QUEUED_MESSAGES);
        let (context, deadline) = (self.0.clone(), call.deadline);
        tokio::spawn(async move {
            // One slot stays reserved for the final status, so that a client that is behind gets it too.
            let Ok(last_word) = messages.clone().reserve_owned().await else { return };
            let stopping = context.stopping.clone();
            let document = Document { text: String::new(), position, messages };
            let export = Export { context, user_id, position, deadline, document };
            let status = tokio::select! {
                written = export.write(&participants) => written.err(),
                deadline = end_of(opening.deadline) => {
                    Some(deadline.passed("the deadline of the call has passed; ask again", &[]))
                }
                () = opening.credential_ended() => Some(credentials_ended(&[])),
                () = stopping.cancelled() => {
                    let message = "the server is stopping; ask again";
                    Some(status(ErrorReason::ShuttingDown, message, &[]))
                }
            };
            if let Some(status) = status {
                last_word.send(Box::new(Err(status)));
            }
        });
        Ok(Messages::new(answer))
    }
}

/// The user's participants, each with what it is in its program.
async fn participants(
    context: &Context,
    user_id: &UserId,
) -> Result<Vec<(ProgramId, Arc<Participant>)>, ApiError> {
    let read = query(&context.database, &context.environment, |work| {
        let user = load::<User>(work, user_id)?;
        if !user.exists() {
            return Err(Refusal::UserNotFound(user_id.clone()).into());
        }
        let mut participants = Vec::new();
        each(user.programs(), |program_id| {
            let id = ParticipantId::new(program_id, user_id);
            participants.push((program_id.clone(), load::<Participant>(work, &id)?));
            Ok(())
        })?;
        Ok(participants)
    });
    Ok(read.await?)
}

/// An export in progress.
struct Export {
    context: Context,
    user_id: UserId,
    position: i64,
    deadline: Instant,
    document: Document,
}

impl Export {
    async fn write(mut self, participants: &[(ProgramId, Arc<Participant>)]) -> Result<(), Status> {
        let now = time((self.context.environment.now)()).to_string();
        let user_id = self.user_id.clone();
        self.document.text.push('{');
        self.field("user_id", &json!(user_id.as_str()));
        self.field("export_time", &json!(now));
        self.field("log_position", &json!(self.position));
        for table in personal::TABLES {
            let pool = self.context.database.pool();
            let rows = in_time(personal::rows_of(pool, table, &user_id)).await;
            self.begin_list(table.name);
            for row in rows.map_err(ApiError::from)? {
                self.row(&row).await?;
            }
            self.end_list();
        }
        self.begin_list("account_history");
        let account = StreamKey::of::<User>(&user_id);
        self.events(&account, |_| true).await?;
        self.end_list();
        self.begin_list("programs");
        for (program_id, participant) in participants {
            self.program(&ParticipantId::new(program_id, &user_id), participant).await?;
        }
        self.end_list();
        self.begin_list("purchases");
        self.purchases().await?;
        self.end_list();
        self.begin_list("redemptions");
        self.redemptions().await?;
        self.end_list();
        self.document.text.push_str("\n}\n");
        self.document.send().await
    }

    async fn program(
        &mut self,
        id: &ParticipantId,
        participant: &Participant,
    ) -> Result<(), Status> {
        let (buckets, referrals) = (participant.buckets(), participant.referrals());
        self.next_row();
        self.document.text.push('{');
        self.field("program_id", &json!(id.program_id.as_str()));
        self.field("code", &json!(participant.code()));
        self.field("is_active", &json!(participant.is_active()));
        self.field("tier", &json!(participant.tier()));
        let own = participant.referral().map(|referral| referral.status.as_str());
        self.field("own_referral_status", &json!(own));
        self.field("referral_count", &json!(referrals.counted()));
        let buckets = serde_json::to_value(buckets).map_err(|_| internal())?;
        self.field("balance_in_minor_units", &buckets);
        let stream = StreamKey::of::<Participant>(id);
        self.begin_list("balance_entries");
        self.events(&stream, |fields| fields.contains_key("posting")).await?;
        self.end_list();
        self.begin_list("history");
        self.events(&stream, |fields| !fields.contains_key("posting")).await?;
        self.end_list();
        self.document.text.push('}');
        Ok(())
    }

    /// The events of a stream of the user that are to be shown.
    async fn events(
        &mut self,
        stream: &StreamKey,
        is_shown: fn(&Map<String, Value>) -> bool,
    ) -> Result<(), Status> {
        let mut sequence = 0;
        loop {
            let pool = self.context.database.pool();
            let read = log::read_stream(pool, stream, sequence, self.position, READ_ROWS);
            let events = in_time(read).await.map_err(ApiError::from)?;
            let Some(last) = events.last() else { return Ok(()) };
            sequence = last.sequence;
            for event in &events {
                let fields = self.own_fields(event)?;
                if is_shown(&fields) {
                    self.row(&Value::Object(fields)).await?;
                }
            }
        }
    }

    /// The fields of an event with its time, without the ids of other users.
    fn own_fields(&self, event: &RecordedEvent) -> Result<Map<String, Value>, Status> {
        let mut fields: Map<String, Value> =
            serde_json::from_str(&event.payload).map_err(|_| internal())?;
        let is_own = |value: &Value| value.as_str() == Some(self.user_id.as_str());
        fields.retain(|name, value| !name.ends_with("user_id") || is_own(value));
        fields.insert("time".into(), json!(time(event.recorded_at).to_string()));
        Ok(fields)
    }

    /// The user's own purchases, newest first.
    async fn purchases(&mut self) -> Result<(), Status> {
        let filter = PurchaseFilter {
            buyer_user_id: Some(self.user_id.clone()),
            ..PurchaseFilter::default()
        };
        let mut before = self.position.saturating_add(1);
        loop {
            let freshness = Freshness { position: self.position, deadline: self.deadline };
            let reads = self.context.reads.clone();
            let read = reads.purchases(&filter, before, READ_ROWS, freshness).await;
            let At { found, .. } = read.map_err(ApiError::from)?;
            let Some(last) = found.purchases.last().and_then(|events| events.first()) else {
                return Ok(());
            };
            before = last.position;
            for event in found.purchases.iter().flatten() {
                self.purchase(event).await?;
            }
        }
    }

    /// What the user redeemed in stores, newest first.
    async fn redemptions(&mut self) -> Result<(), Status> {
        let filter =
            RedemptionFilter { user_id: Some(self.user_id.clone()), ..RedemptionFilter::default() };
        let mut before = self.position.saturating_add(1);
        loop {
            let freshness = Freshness { position: self.position, deadline: self.deadline };
            let reads = self.context.reads.clone();
            let read = reads.redemptions(&filter, before, READ_ROWS, freshness).await;
            let At { found, .. } = read.map_err(ApiError::from)?;
            let Some(last) = found.last() else { return Ok(()) };
            before = last.made_position;
            for redemption in &found {
                let row = json!({
                    "program_id": redemption.id.program_id.as_str(),
                    "redemption_id": redemption.id.redemption_id.as_str(),
                    "item_id": redemption.item_id,
                    "cost_minor": redemption.cost_minor,
                    "unit": redemption.unit,
                    "state": redemption.state.as_str(),
                    "redeem_time": time(redemption.redeem_time).to_string(),
                    "end_time": redemption.end_time.map(|ended| time(ended).to_string()),
                });
                self.row(&row).await?;
            }
        }
    }

    /// A purchase, if the event records one.
    async fn purchase(&mut self, event: &RecordedEvent) -> Result<(), Status> {
        let any = event.read().map_err(ApiError::from)?;
        let Some(PurchaseEvent::PurchaseRecorded(recorded)) = Purchase::event(any) else {
            return Ok(());
        };
        let row = json!({
            "purchase_id": &*event.stream.id,
            "amount_minor": recorded.amount_minor,
            "currency_code": recorded.currency_code,
            "purchase_time": time(recorded.purchase_time_us).to_string(),
            "time": time(event.recorded_at).to_string(),
        });
        self.row(&row).await
    }

    fn field(&mut self, name: &str, value: &Value) {
        self.name(name);
        self.document.text.push_str(&value.to_string());
    }

    fn name(&mut self, name: &str) {
        let separator = if self.document.text.ends_with('{') { "" } else { "," };
        self.document.text.extend([separator, "\n\"", name, "\": "]);
    }

    fn begin_list(&mut self, name: &str) {
        self.name(name);
        self.document.text.push('[');
    }

    fn end_list(&mut self) {
        self.document.text.push(']');
    }

    fn next_row(&mut self) {
        let separator = if self.document.text.ends_with('[') { "\n" } else { ",\n" };
        self.document.text.push_str(separator);
    }

    async fn row(&mut self, row: &Value) -> Result<(), Status> {
        self.next_row();
        self.document.text.push_str(&row.to_string());
        self.document.send_if_long().await
    }
}

/// A document that is sent in parts.
struct Document {
    /// What has not been sent yet.
    text: String,
    position: i64,
    messages: mpsc::Sender<Sent<pb::ExportUserResponse>>,
}

impl Document {
    async fn send_if_long(&mut self) -> Result<(), Status> {
        if self.text.len() < PART_BYTES {
            return Ok(());
        }
        // What comes next depends on the last character.
        let last = self.text.pop();
        self.send().await?;
        self.text.extend(last);
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Status> {
        let json_part = std::mem::take(&mut self.text);
        let message = pb::ExportUserResponse { json_part, position: self.position };
        let sent = self.messages.send(Box::new(Ok(message)));
        if let Ok(Ok(())) = tokio::time::timeout(SEND_TIMEOUT, sent).await {
            return Ok(());
        }
        let message = "nothing was read for a minute; ask again";
        Err(status(ErrorReason::SlowConsumer, message, &[]))
    }
}
