//! `GetUser` and `ListUsers`.

use super::Handlers;
use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::pages::Page;
use crate::api::pb::{self, ErrorReason};
use crate::api::reads::{Named, Reading, found, freshness};
use crate::api::responses;
use crate::api::tokens::newest_position;
use crate::engine::query::query;
use crate::read::{At, ListedProgram, ListedUser};
use crate::store::{
    ids_of_display_name, in_time, mailed_tokens, mails, profile_email, profile_names,
};
use domain::link::link;
use domain::{
    MailKind, Participant, ParticipantId, Program, ProgramId, Refusal, User, UserId, UserRole,
    each, load,
};

/// How many users a request names at most.
const MAX_NAMED: usize = 1_000;

impl Handlers {
    pub(in crate::api) async fn get_user(
        &self,
        call: Call<pb::GetUserRequest>,
    ) -> Result<pb::GetUserResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let user_id = fields.id("user_id", &request.user_id, UserId::parse);
        let user_id = fields.finish(user_id)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let found = self.find(&user_id).await?;
        let principal = &call.principal;
        let is_own = [principal.person_id(), principal.user_id()].contains(&Some(&user_id));
        let email = if is_own {
            in_time(profile_email(self.0.database.pool(), &user_id)).await?
        } else {
            None
        };
        Ok(pb::GetUserResponse { position, email: email.unwrap_or_default(), ..found })
    }

    pub(in crate::api) async fn list_users(
        &self,
        call: Call<pb::ListUsersRequest>,
    ) -> Result<pb::ListUsersResponse, ApiError> {
        if !call.message.user_ids.is_empty() {
            return self.list_named(&call).await;
        }
        if !call.message.display_name.trim().is_empty() {
            return self.list_by_name(&call).await;
        }
        if call.message.staff_only {
            return self.list_staff(&call).await;
        }
        let request = &call.message;
        let mut fields = Fields::of(request);
        let page = Page::read(&mut fields, &call);
        let program_id = fields.optional_id("program_id", &request.program_id, ProgramId::parse);
        let before = page.before(&mut fields, &request.page_token);
        let before = fields.finish(before)?;
        let freshness = freshness(&self.0, &request.consistency_token, call.deadline).await?;
        let (reads, rows) = (&self.0.reads, page.rows());
        let At { position, found: (program, mut users) } = match &program_id {
            None => reads.users(None, before, rows, freshness).await?,
            Some(program_id) => {
                let read = |freshness| -> Reading<'_, _> {
                    Box::pin(async move {
                        let users = reads.users(Some(program_id), before, rows, freshness);
                        let At { position, found } = users.await?;
                        Ok(At { position, found: found.0.is_some().then_some(found) })
                    })
                };
                found(&self.0, freshness, Named::Program(program_id), read).await?
            }
        };
        let next_page_token = page.cut(&mut users, |last| last.order_position);
        let program = program.unwrap_or_default();
        Ok(pb::ListUsersResponse {
            users: users
                .iter()
                .map(|user| {
                    let role = self.0.access.staff().role_of(&user.user_id);
                    user_detail(&request.program_id, &program, user, role)
                })
                .collect(),
            next_page_token,
            position,
        })
    }

    /// The users that the request names.
    async fn list_named(
        &self,
        call: &Call<pb::ListUsersRequest>,
    ) -> Result<pb::ListUsersResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let others = ["program_id", "page_token", "staff_only", "display_name"];
        exclude(&mut fields, request, "user_ids", &others);
        if request.user_ids.len() > MAX_NAMED {
            let message = format!("must be at most {MAX_NAMED}");
            fields.fault("user_ids", ErrorReason::OutOfRange, message);
        }
        for (index, user_id) in request.user_ids.iter().take(MAX_NAMED).enumerate() {
            fields.id(&format!("user_ids[{index}]"), user_id, UserId::parse);
        }
        fields.finish(Some(()))?;
        self.details(call, &request.user_ids).await
    }

    /// The users with the display name of the request.
    async fn list_by_name(
        &self,
        call: &Call<pb::ListUsersRequest>,
    ) -> Result<pb::ListUsersResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        let others = ["program_id", "page_token", "staff_only"];
        exclude(&mut fields, request, "display_name", &others);
        let name = fields.display_name(&request.display_name);
        let name = fields.finish(Some(name))?;
        let limit = i64::try_from(MAX_NAMED).unwrap_or(i64::MAX);
        let ids = ids_of_display_name(self.0.database.pool(), &name, limit);
        let ids = in_time(ids).await?;
        self.details(call, &ids).await
    }

    /// The users with these ids, in one page.
    async fn details(
        &self,
        call: &Call<pb::ListUsersRequest>,
        user_ids: &[String],
    ) -> Result<pb::ListUsersResponse, ApiError> {
        let freshness = freshness(&self.0, &call.message.consistency_token, call.deadline).await?;
        let At { position, found } = self.0.reads.users_of(user_ids, freshness).await?;
        let users = found.iter().map(|user| {
            let role = self.0.access.staff().role_of(&user.user_id);
            user_detail("", &ListedProgram::default(), user, role)
        });
        Ok(pb::ListUsersResponse {
            users: users.collect(),
            next_page_token: String::new(),
            position,
        })
    }

    /// Operators and admins. There are few, and every server knows them.
    async fn list_staff(
        &self,
        call: &Call<pb::ListUsersRequest>,
    ) -> Result<pb::ListUsersResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        exclude(&mut fields, request, "staff_only", &["program_id"]);
        let page = Page::read(&mut fields, call);
        let first = String::new();
        let token = &request.page_token;
        let after = page.start(&mut fields, token, first, |key| Some(key.to_owned()));
        let after = fields.finish(after)?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let mut ids = self.0.access.staff().after(&after, page.size() + 1);
        let next_page_token = page.cut(&mut ids, UserId::clone);
        let mut users = Vec::with_capacity(ids.len());
        for user_id in &ids {
            let found = self.find_existing(user_id).await?;
            let user = found.and_then(|found| found.user);
            users
                .extend(user.map(|user| pb::UserDetail { user: Some(user), ..Default::default() }));
        }
        Ok(pb::ListUsersResponse { users, next_page_token, position })
    }

    pub(super) async fn find(&self, user_id: &UserId) -> Result<pb::GetUserResponse, ApiError> {
        let found = self.find_existing(user_id).await?;
        found.ok_or_else(|| Refusal::UserNotFound(user_id.clone()).into())
    }

    /// The user; `None` if they do not exist or were erased.
    pub(super) async fn find_existing(
        &self,
        user_id: &UserId,
    ) -> Result<Option<pb::GetUserResponse>, ApiError> {
        let found = query(&self.0.database, &self.0.environment, |work| {
            let user = load::<User>(work, user_id)?;
            if !user.exists() {
                return Ok(None);
            }
            let mut participants = Vec::new();
            each(user.programs(), |program_id| {
                let program = load::<Program>(work, program_id)?;
                let id = ParticipantId::new(program_id, user_id);
                let participant = load::<Participant>(work, &id)?;
                participants.push(participant_message(&id, &program, &participant));
                Ok(())
            })?;
            participants.sort_by(|one, other| one.program_id.cmp(&other.program_id));
            let profile = user.profile().clone();
            let (time, has_method) = (user.register_time(), user.has_payout_method());
            Ok(Some((user.status(), time, user.role(), participants, profile, has_method)))
        })
        .await?;
        let Some((status, create_time, role, participants, profile, has_payout_method)) = found
        else {
            return Ok(None);
        };
        let names = profile_names(self.0.database.pool(), user_id).await?;
        let user = responses::user(user_id.as_str(), names.as_ref(), status, create_time, role);
        let pool = self.0.database.pool();
        let unwanted = in_time(mails::unwanted(pool, user_id)).await?;
        let pending_email = match profile.pending_email_version() {
            Some(version) => in_time(mailed_tokens::pending_email(pool, user_id, version)).await?,
            None => None,
        };
        Ok(Some(pb::GetUserResponse {
            user: Some(user),
            participants,
            position: 0,
            email_confirmed: profile.is_email_confirmed(),
            has_second_factor: profile.has_second_factor(),
            mail_preferences: Some(mail_preferences(&unwanted)),
            pending_email: pending_email.unwrap_or_default(),
            email: String::new(),
            has_payout_method,
        }))
    }
}

/// Adds a fault for each of these fields that is given: it says nothing where users are chosen by `with`.
fn exclude(fields: &mut Fields, request: &pb::ListUsersRequest, with: &str, others: &[&str]) {
    let given = [
        ("program_id", !request.program_id.is_empty()),
        ("page_token", !request.page_token.is_empty()),
        ("staff_only", request.staff_only),
        ("display_name", !request.display_name.is_empty()),
    ];
    for (name, is_given) in given {
        if is_given && others.contains(&name) {
            let message = format!("must be empty with {with}");
            fields.fault(name, ErrorReason::FieldsExclusive, message);
        }
    }
}

/// Which mails somebody wants who does not want these.
fn mail_preferences(unwanted: &[MailKind]) -> pb::MailPreferences {
    let is_wanted = |kind| Some(!unwanted.contains(&kind));
    pb::MailPreferences {
        welcome: is_wanted(MailKind::Welcome),
        referral: is_wanted(MailKind::Referral),
        conversion: is_wanted(MailKind::Conversion),
        tier: is_wanted(MailKind::Tier),
        expiry: is_wanted(MailKind::Expiry),
        reversal: is_wanted(MailKind::Reversal),
        release: is_wanted(MailKind::Release),
    }
}

fn user_detail(
    program_id: &str,
    program: &ListedProgram,
    listed: &ListedUser,
    role: UserRole,
) -> pb::UserDetail {
    let ListedUser { user_id, names, status, register_time, member, referrer, .. } = listed;
    let (referrer_username, referrer_display_name) =
        referrer.clone().map(|names| (names.username, names.display_name)).unwrap_or_default();
    let participant = member.as_ref().map(|member| pb::Participant {
        program_id: program_id.into(),
        user_id: user_id.clone(),
        code: member.code.clone(),
        link: link(&program.base_url, &member.code),
        referrer_user_id: member.referrer_user_id.clone().unwrap_or_default(),
        referral_status: member
            .referral_status
            .map_or(pb::ReferralStatus::Unspecified, responses::referral_status)
            .into(),
        hold_reasons: responses::hold_reasons(&member.hold_reasons),
    });
    pb::UserDetail {
        user: Some(responses::user(user_id, names.as_ref(), *status, *register_time, role)),
        participant,
        balances: member
            .iter()
            .map(|member| responses::money(&program.unit, member.balance_minor))
            .collect(),
        earned: member.as_ref().map(|of| responses::money(&program.unit, of.earned_minor)),
        referrer_username,
        referrer_display_name,
    }
}

fn participant_message(
    ParticipantId { program_id, user_id }: &ParticipantId,
    program: &Program,
    participant: &Participant,
) -> pb::Participant {
    let code = participant.code();
    let referral = participant.referral();
    pb::Participant {
        program_id: program_id.to_string(),
        user_id: user_id.to_string(),
        code: code.into(),
        link: program.current().map(|version| version.rules.link(code)).unwrap_or_default(),
        referrer_user_id: referral
            .map(|referral| referral.referrer_user_id.to_string())
            .unwrap_or_default(),
        referral_status: referral
            .map_or(pb::ReferralStatus::Unspecified, |referral| {
                responses::referral_status(referral.status)
            })
            .into(),
        hold_reasons: referral
            .map(|referral| responses::hold_reasons(&referral.hold_reasons))
            .unwrap_or_default(),
    }
}
