//! `ReferralService`: who referred whom, and which codes can be used.

mod reads;
mod visits;

use crate::api::errors::ApiError;
use crate::api::fields::Fields;
use crate::api::guard::Call;
use crate::api::key_programs::program_of_code;
use crate::api::pb::{self, ErrorReason};
use crate::api::permissions::{Callers, InPrograms, Rule, Subject, row};
use crate::api::responses::{code_invalid_reason, count, joined};
use crate::api::tokens::newest_position;
use crate::api::writes::{carry_out, command_fields};
use crate::api::{Context, program_message};
use crate::engine::query::query;
use crate::store::profile_names;
use domain::decide::{ApplyReferral, CodeFault, Command, Referrer, validate_code};
use domain::{Program, ProgramId, UserId, load};

/// Who may call what of the service, and whose data it is: one row per RPC.
pub(super) const RULES: &[Rule] = {
    use Callers::{Anyone, Operators, SignedIn};
    use Subject::{User, UserIfReadable, UserOrEverybody};
    &[
        // Nobody gives themselves a referrer of their choice: a user needs the referrer's code.
        Rule {
            back_ends_set: Some("referrer_user_id"),
            in_programs: InPrograms::Judged,
            ..row("ReferralService", "ApplyReferral", SignedIn, User("referee_user_id"))
        },
        Rule {
            in_programs: InPrograms::Judged,
            ..row("ReferralService", "ValidateReferralCode", Anyone, UserIfReadable("user_id"))
        },
        row("ReferralService", "GetReferralStats", SignedIn, User("user_id")),
        row("ReferralService", "ListReferrals", SignedIn, UserOrEverybody("user_id", Operators)),
        row("ReferralService", "GetReferralTree", SignedIn, User("user_id")),
        row("ReferralService", "GetVisits", SignedIn, UserOrEverybody("user_id", Operators)),
    ]
};

pub(super) struct Handlers(pub(super) Context);

impl Handlers {
    pub(super) async fn apply_referral(
        &self,
        call: Call<pb::ApplyReferralRequest>,
    ) -> Result<pb::ApplyReferralResponse, ApiError> {
        let mut referral = read_referral(&call.message)?;
        if let Referrer::Code(code) = &referral.referrer {
            let named = referral.program_id.as_ref();
            let of_code = program_of_code(&self.0, &call.principal, named, Some(code)).await?;
            referral.program_id = referral.program_id.or(of_code);
        }
        let command = Command::ApplyReferral(referral);
        let written = carry_out(&self.0, &call, command).await?;
        let joined = joined(&written.events)?;
        Ok(pb::ApplyReferralResponse {
            referral: joined.referral,
            rewards: joined.rewards,
            consistency_token: written.consistency_token,
        })
    }

    pub(super) async fn validate_referral_code(
        &self,
        call: Call<pb::ValidateReferralCodeRequest>,
    ) -> Result<pb::ValidateReferralCodeResponse, ApiError> {
        let request = &call.message;
        let mut fields = Fields::of(request);
        if request.referral_code.trim().is_empty() {
            fields.fault("referral_code", ErrorReason::FieldRequired, "is required");
        }
        let code = fields.referral_code(&request.referral_code);
        let user_id = fields.optional_id("user_id", &request.user_id, UserId::parse);
        let program_id = fields.optional_id("program_id", &request.program_id, ProgramId::parse);
        let code = fields.finish(code)?;
        program_of_code(&self.0, &call.principal, program_id.as_ref(), Some(&code)).await?;
        let position = newest_position(&self.0, &request.consistency_token).await?;
        let (verdict, offer) = query(&self.0.database, &self.0.environment, |work| {
            let verdict = validate_code(work, &code, program_id.as_ref(), user_id.as_ref())?;
            let Some(owner) = &verdict.owner else { return Ok((verdict, None)) };
            let program = load::<Program>(work, &owner.program_id)?;
            let version = program.current();
            let offer =
                version.map(|version| offer(program_message(&owner.program_id, &program, version)));
            Ok((verdict, offer))
        })
        .await?;
        let referrer = match &verdict.owner {
            Some(owner) => profile_names(self.0.database.pool(), &owner.user_id).await?,
            None => None,
        };
        let reason = verdict.fault.map_or(pb::CodeInvalidReason::Unspecified, code_invalid_reason);
        Ok(pb::ValidateReferralCodeResponse {
            valid: verdict.fault.is_none(),
            reason: reason.into(),
            message: verdict.fault.map(explain).unwrap_or_default().into(),
            program_id: verdict.owner.map(|owner| owner.program_id.to_string()).unwrap_or_default(),
            referrer_username: referrer
                .as_ref()
                .and_then(|names| call.principal.sees_username(&names.username))
                .unwrap_or_default(),
            referrer_display_name: referrer.map(|names| names.display_name).unwrap_or_default(),
            remaining_uses: verdict.remaining_uses.map(count),
            position,
            offer,
        })
    }
}

/// What a program says to those who are invited.
fn offer(mut program: pb::Program) -> pb::ProgramOffer {
    program.rewards.retain(|rule| rule.level <= 1);
    pb::ProgramOffer {
        earn_on: program.earn_on,
        display_name: program.display_name,
        unit: program.unit,
        rewards: program.rewards,
        credit_purchases: program.credit_purchases,
    }
}

fn read_referral(request: &pb::ApplyReferralRequest) -> Result<ApplyReferral, ApiError> {
    let mut fields = command_fields(request);
    let code = fields.referral_code(&request.referral_code);
    let user_id = fields.optional_id("referrer_user_id", &request.referrer_user_id, UserId::parse);
    let both = !request.referral_code.trim().is_empty() && !request.referrer_user_id.is_empty();
    let neither = request.referral_code.trim().is_empty() && request.referrer_user_id.is_empty();
    let message = "set exactly one of referrer_user_id and referral_code";
    if both {
        fields.fault("referrer_user_id", ErrorReason::FieldsExclusive, message);
    } else if neither {
        fields.fault("referrer_user_id", ErrorReason::FieldRequired, message);
    }
    let referrer = code.map(Referrer::Code).or(user_id.map(Referrer::User));
    let program_id = match referrer {
        Some(Referrer::Code(_)) => {
            fields.optional_id("program_id", &request.program_id, ProgramId::parse)
        }
        _ => fields.id("program_id", &request.program_id, ProgramId::parse),
    };
    let referee_user_id = fields.id("referee_user_id", &request.referee_user_id, UserId::parse);
    let (referee_user_id, referrer) = fields.finish(referee_user_id.zip(referrer))?;
    Ok(ApplyReferral { program_id, referee_user_id, referrer })
}

fn explain(fault: CodeFault) -> &'static str {
    match fault {
        CodeFault::UserInactive => "your account is deactivated",
        CodeFault::TooManyPrograms => "you are in as many programs as there can be",
        CodeFault::Unknown => "this code does not exist",
        CodeFault::OwnCode => "this is your own code",
        CodeFault::AlreadyBought => "codes are for people who have not bought anything yet",
        CodeFault::AlreadyReferred => "you were already referred, which is possible once",
        CodeFault::AddressUsedBefore => "your address has had an account before",
        CodeFault::Exhausted => "this code has been used as often as it can be",
        CodeFault::TooLate => "codes can be used only when signing up",
        CodeFault::Cycle => "you brought the owner of this code, directly or through others",
        CodeFault::BalanceLimit => "the owner of this code cannot earn any more",
    }
}
