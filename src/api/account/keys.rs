//! `CreateApiKey`, `ListApiKeys` and `RevokeApiKey`.

use super::Handlers;
use crate::access::key_text::FreshKey;
use crate::access::{Principal, Role};
use crate::api::errors::{ApiError, internal, status};
use crate::api::fields::Fields;
use crate::api::guard::{Call, denied};
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason};
use crate::api::permissions::{Denied, is_rpc_limit};
use crate::api::responses::time;
use crate::api::writes::{carry_out, command_fields};
use crate::store::api_keys::{self, KeyPlace, KnownKey};
use crate::store::{Actor, in_time};
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
        let mut key = NewApiKey { key_id: key_id.clone(), hash, ..self.read_key(&call)? };
        if let Some(own) = self.own_key(&call.principal).await? {
            restrict_created(&mut key, &own)?;
        }
        if let Some(user_id) = &key.user_id {
            self.check_room(user_id).await?;
        }
        let command = Command::CreateApiKey(Box::new(key));
        let written = carry_out(&self.0, &call, command).await?;
        // A repetition has the key of the first time, which is not known any more.
        let created = written.events.first().map(|event| event.stream.id.clone());
        let created = created.and_then(|id| ApiKeyId::parse(&id).ok()).ok_or_else(internal)?;
        let api_key = if created == key_id { text } else { String::new() };
        let key = shown_to(&call.principal, self.key(&created).await?);
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
            keys: keys.into_iter().map(|key| shown_to(&call.principal, key)).collect(),
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
        let key = shown_to(&call.principal, self.key(&key_id).await?);
        Ok(pb::RevokeApiKeyResponse {
            key: Some(key),
            consistency_token: written.consistency_token,
        })
    }

    /// The key of a new user. It may do no more and lasts no longer than the key that it is created with.
    pub(super) async fn key_of_sign_up(
        &self,
        caller: &Principal,
        user_id: &UserId,
    ) -> Result<(NewApiKey, String), ApiError> {
        let FreshKey { key_id, text, hash } = self.fresh_key()?;
        let own = self.own_key(caller).await?;
        let key = NewApiKey {
            key_id,
            hash,
            name: SIGN_UP_KEY.into(),
            role: KeyRole::User,
            user_id: Some(user_id.clone()),
            rpcs: own.as_ref().and_then(|own| own.rpcs.clone()),
            program_ids: own.as_ref().and_then(|own| own.program_ids.clone()),
            expire_time: own.as_ref().and_then(|own| own.expire_time),
            created_by: caller.actor().to_string(),
            creator_user_id: None,
            maker: None,
        };
        Ok((key, text))
    }

    /// The key that the caller calls with; `None` if it is none, or the admin key of the settings.
    async fn own_key(&self, caller: &Principal) -> Result<Option<KnownKey>, ApiError> {
        let Principal::Key { id: Some(id), .. } = caller else { return Ok(None) };
        let id = ApiKeyId::parse(id).map_err(|_| internal())?;
        Ok(in_time(api_keys::of_id(self.0.database.pool(), &id)).await?)
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
        // A key of a user ends with its user, whoever created it.
        let creator = call.principal.person_id().filter(|_| role != KeyRole::User);
        Ok(NewApiKey {
            key_id,
            hash: [0; 32],
            name,
            role,
            user_id,
            rpcs,
            program_ids,
            expire_time,
            created_by: call.principal.actor().to_string(),
            creator_user_id: creator.cloned(),
            maker: call.principal.key_maker(),
        })
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

    async fn key(&self, key_id: &ApiKeyId) -> Result<KnownKey, ApiError> {
        let found = in_time(api_keys::of_id(self.0.database.pool(), key_id)).await?;
        Ok(found.ok_or_else(|| Refusal::ApiKeyNotFound(key_id.clone()))?)
    }
}

/// A key that is created with another one ends with it at the latest, and with the person who created that one. A key
/// that is limited creates none, as the new one would be without the limit.
fn restrict_created(key: &mut NewApiKey, own: &KnownKey) -> Result<(), ApiError> {
    let role = match own.role {
        KeyRole::Admin => Role::Admin,
        KeyRole::Service => Role::Service,
        KeyRole::User => Role::User,
    };
    let limit = match own {
        KnownKey { rpcs: Some(_), .. } => Some("rpcs"),
        KnownKey { program_ids: Some(_), .. } => Some("program_ids"),
        _ => None,
    };
    if let Some(limit) = limit {
        return Err(denied(Denied::Creates { role, limit }).into());
    }
    key.expire_time = key.expire_time.into_iter().chain(own.expire_time).min();
    if key.role != KeyRole::User {
        key.creator_user_id.clone_from(&own.creator_user_id);
    }
    Ok(())
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

/// A key, as a caller may see it: users are not told who else has created a key of theirs.
fn shown_to(caller: &Principal, key: KnownKey) -> pb::ApiKey {
    let mut shown = message(key);
    let is_own = caller.user_id().map(|user_id| Actor::user(user_id).to_string());
    if is_own.is_some_and(|own| own != shown.created_by) {
        shown.created_by.clear();
    }
    shown
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
        refused_calls: key.refused_calls,
        last_refused_time: key.last_refused_time.map(time),
        created_by: key.created_by,
    }
}
