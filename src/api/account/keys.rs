//! `CreateApiKey`, `ListApiKeys` and `RevokeApiKey`.

use super::Handlers;
use crate::access::Principal;
use crate::access::key_text::FreshKey;
use crate::api::errors::{ApiError, internal, status};
use crate::api::fields::Fields;
use crate::api::guard::{Call, denied};
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason};
use crate::api::permissions::{Denied, is_rpc_limit};
use crate::api::responses::time;
use crate::api::writes::{carry_out, command_fields};
use crate::store::api_keys::{self, KeyPlace, KnownKey};
use crate::store::in_time;
use domain::decide::Command;
use domain::{ApiKeyId, KeyRole, MAX_KEY_LIMITS, NewApiKey, ProgramId, Refusal, Timestamp, UserId};

/// How many valid keys one user can have.
const MAX_KEYS_PER_USER: i64 = 100;
/// What the key is called that a sign-up creates.
const SIGN_UP_KEY: &str = "sign-up";

impl Handlers {
    pub(in crate::api) async fn create_api_key(
        &self,
        call: Call<pb::CreateApiKeyRequest>,
    ) -> Result<pb::CreateApiKeyResponse, ApiError> {
        let FreshKey { key_id, text, hash } = self.fresh_key()?;
        let key = NewApiKey { key_id: key_id.clone(), hash, ..self.read_key(&call)? };
        let key =
            NewApiKey { expire_time: self.end_of(&call.principal, key.expire_time).await?, ..key };
        if let Some(user_id) = &key.user_id {
            self.check_room(user_id).await?;
        }
        let command = Command::CreateApiKey(Box::new(key));
        let written = carry_out(&self.0, &call, command).await?;
        // A repetition has the key of the first time, which is not known any more.
        let created = written.events.first().map(|event| event.stream.id.clone());
        let created = created.and_then(|id| ApiKeyId::parse(&id).ok()).ok_or_else(internal)?;
        let api_key = if created == key_id { text } else { String::new() };
        let key = self.key(&created).await?;
        Ok(pb::CreateApiKeyResponse {
            key: Some(key),
            api_key,
            consistency_token: written.consistency_token,
        })
    }

    pub(in crate::api) async fn list_api_keys(
        &self,
        call: Call<pb::ListApiKeysRequest>,
    ) -> Result<pb::ListApiKeysResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let user_id = fields.optional_id("user_id", &request.user_id, UserId::parse);
        let before = page.start(&mut fields, &request.page_token, None, |key| place(key).map(Some));
        let before = fields.finish(before)?;
        let pool = self.0.database.pool();
        let listing = api_keys::list(pool, user_id.as_ref(), before.as_ref(), page.rows());
        let mut keys = in_time(listing).await?;
        let next_page_token =
            page.cut(&mut keys, |last| format!("{}.{}", last.create_time.0, last.key_id));
        Ok(pb::ListApiKeysResponse {
            keys: keys.into_iter().map(message).collect(),
            next_page_token,
        })
    }

    pub(in crate::api) async fn revoke_api_key(
        &self,
        call: Call<pb::RevokeApiKeyRequest>,
    ) -> Result<pb::RevokeApiKeyResponse, ApiError> {
        let mut fields = command_fields(&call.message);
        let key_id = fields.id("key_id", &call.message.key_id, ApiKeyId::parse);
        let key_id = fields.finish(key_id)?;
        let command = Command::RevokeApiKey { key_id: key_id.clone() };
        let written = carry_out(&self.0, &call, command).await?;
        self.0.access.learn(&written.events);
        let key = self.key(&key_id).await?;
        Ok(pb::RevokeApiKeyResponse {
            key: Some(key),
            consistency_token: written.consistency_token,
        })
    }

    /// The key of a new user.
    pub(super) fn key_of_sign_up(&self, user_id: &UserId) -> Result<(NewApiKey, String), ApiError> {
        let FreshKey { key_id, text, hash } = self.fresh_key()?;
        let key = NewApiKey {
            key_id,
            hash,
            name: SIGN_UP_KEY.into(),
            role: KeyRole::User,
            user_id: Some(user_id.clone()),
            rpcs: None,
            program_ids: None,
            expire_time: None,
        };
        Ok((key, text))
    }

    fn fresh_key(&self) -> Result<FreshKey, ApiError> {
        Ok(FreshKey::draw(&self.0.environment).ok_or_else(internal)?)
    }

    /// What the request asks for, without the key itself.
    fn read_key(&self, call: &Call<pb::CreateApiKeyRequest>) -> Result<NewApiKey, ApiError> {
        let request = &call.message;
        let is_user = call.principal.user_id().is_some();
        let role = match request.role() {
            pb::ApiKeyRole::Unspecified if is_user => Some(KeyRole::User),
            pb::ApiKeyRole::Unspecified => None,
            pb::ApiKeyRole::Admin => Some(KeyRole::Admin),
            pb::ApiKeyRole::Service => Some(KeyRole::Service),
            pb::ApiKeyRole::User => Some(KeyRole::User),
        };
        if let Some(caller) = call.principal.role().filter(|_| is_user)
            && role.is_some_and(|role| role != KeyRole::User)
        {
            return Err(denied(Denied::Field { role: caller, field: "role" }).into());
        }
        let mut fields = command_fields(request);
        let name = fields.key_name(&request.name);
        if role.is_none() && !fields.has_fault("role") {
            fields.fault("role", ErrorReason::FieldRequired, "is required");
        }
        let user_id = match role {
            Some(KeyRole::User) => fields.id("user_id", &request.user_id, UserId::parse).map(Some),
            _ if request.user_id.is_empty() => Some(None),
            _ => {
                let message = "is for keys of the role API_KEY_ROLE_USER only";
                fields.fault("user_id", ErrorReason::FieldsExclusive, message);
                None
            }
        };
        let rpcs = read_rpcs(&mut fields, &request.rpcs);
        let program_ids = read_programs(&mut fields, &request.program_ids);
        let expire_time = fields.time("expire_time", request.expire_time.as_ref());
        if expire_time.is_some_and(|end| end <= (self.0.environment.now)()) {
            fields.fault("expire_time", ErrorReason::OutOfRange, "must be in the future");
        }
        let read = name.zip(role).zip(user_id);
        let ((name, role), user_id) = fields.finish(read)?;
        let key_id = ApiKeyId::default();
        Ok(NewApiKey { key_id, hash: [0; 32], name, role, user_id, rpcs, program_ids, expire_time })
    }

    /// When the new key ends: what the caller asks for, but no later than the caller's own key. A key that is limited
    /// creates none, as the new one would be without the limit.
    async fn end_of(
        &self,
        caller: &Principal,
        wanted: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, ApiError> {
        let Principal::Key { id: Some(id), role, limits, .. } = caller else { return Ok(wanted) };
        if let Some(limits) = limits {
            let limit = if limits.rpcs.is_some() { "rpcs" } else { "program_ids" };
            return Err(denied(Denied::Limit { role: *role, limit }).into());
        }
        let id = ApiKeyId::parse(id).map_err(|_| internal())?;
        let own = in_time(api_keys::of_id(self.0.database.pool(), &id)).await?;
        let own_end = own.and_then(|key| key.expire_time);
        Ok(wanted.into_iter().chain(own_end).min())
    }

    /// Refuses a key for a user who has many. Two requests at once may both see room for one more; the bound is there
    /// so that nobody fills the database.
    async fn check_room(&self, user_id: &UserId) -> Result<(), ApiError> {
        let now = (self.0.environment.now)();
        let counting = api_keys::count_valid(self.0.database.pool(), user_id, now);
        if in_time(counting).await? < MAX_KEYS_PER_USER {
            return Ok(());
        }
        let message =
            format!("user '{user_id}' has {MAX_KEYS_PER_USER} valid keys; revoke one first");
        let facts: [(&str, &dyn std::fmt::Display); 2] =
            [("user_id", user_id), ("limit", &MAX_KEYS_PER_USER)];
        Err(status(ErrorReason::TooManyApiKeys, message, &facts).into())
    }

    async fn key(&self, key_id: &ApiKeyId) -> Result<pb::ApiKey, ApiError> {
        let found = in_time(api_keys::of_id(self.0.database.pool(), key_id)).await?;
        Ok(message(found.ok_or_else(|| Refusal::ApiKeyNotFound(key_id.clone()))?))
    }
}

/// The RPCs that a key is limited to.
fn read_rpcs(fields: &mut Fields, names: &[String]) -> Option<Vec<String>> {
    check_count(fields, "rpcs", names);
    for (index, name) in names.iter().enumerate().take(MAX_KEY_LIMITS) {
        if !is_rpc_limit(name) {
            let message =
                "must be the name of an RPC, as in RecordPurchase, or read-only or purchases-only";
            fields.fault(format!("rpcs[{index}]"), ErrorReason::UnknownRpc, message);
        }
    }
    (!names.is_empty()).then(|| sorted(names.to_vec()))
}

/// The programs that a key is limited to.
fn read_programs(fields: &mut Fields, ids: &[String]) -> Option<Vec<ProgramId>> {
    check_count(fields, "program_ids", ids);
    let read = ids.iter().enumerate().take(MAX_KEY_LIMITS).filter_map(|(index, id)| {
        fields.id(&format!("program_ids[{index}]"), id, ProgramId::parse)
    });
    let read: Vec<ProgramId> = read.collect();
    (!ids.is_empty()).then(|| sorted(read))
}

fn check_count(fields: &mut Fields, field: &str, given: &[String]) {
    if given.len() > MAX_KEY_LIMITS {
        let message = format!("must be at most {MAX_KEY_LIMITS}");
        fields.fault(field, ErrorReason::OutOfRange, message);
    }
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}

/// The place after which a page begins, read from the key in its token.
fn place(key: &str) -> Option<KeyPlace> {
    let (create_time, key_id) = key.split_once('.')?;
    Some(KeyPlace { create_time: Timestamp(create_time.parse().ok()?), key_id: key_id.into() })
}

fn message(key: KnownKey) -> pb::ApiKey {
    let role = match key.role {
        KeyRole::Admin => pb::ApiKeyRole::Admin,
        KeyRole::Service => pb::ApiKeyRole::Service,
        KeyRole::User => pb::ApiKeyRole::User,
    };
    let program_ids = key.program_ids.unwrap_or_default();
    pb::ApiKey {
        key_id: key.key_id,
        name: key.name,
        role: role.into(),
        user_id: key.user_id.map(|id| id.to_string()).unwrap_or_default(),
        rpcs: key.rpcs.unwrap_or_default(),
        program_ids: program_ids.iter().map(ToString::to_string).collect(),
        create_time: Some(time(key.create_time)),
        expire_time: key.expire_time.map(time),
        revoke_time: key.revoke_time.map(time),
        last_use_time: key.last_use_time.map(time),
    }
}
