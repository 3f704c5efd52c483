//! Who referred whom.

use std::sync::Arc;

use crate::code;
use crate::decide::rewards::{self, Occasion, PurchaseOccasion};
use crate::decide::{screening, standing};
use crate::rules::{AttachPolicy, EarnOn, ProgramRules};
use crate::{
    Halt, Participant, ParticipantCommand, ParticipantId, Program, ProgramId, ProgramVersion,
    PurchaseId, Referral, ReferralConverted, ReferralReward, ReferralStatus, ReferralUpdated,
    Refusal, SideRow, Standing, User, UserId, UserStatus, Work, existing_participant, load, tell,
};

/// A referrer, by user id or by code.
#[derive(Clone, Debug, PartialEq)]
pub enum Referrer {
    /// By user id.
    User(UserId),
    /// By code, as the caller wrote it.
    Code(String),
}

/// A participant gets a referrer after registration.
#[derive(Clone, Debug, PartialEq)]
pub struct ApplyReferral {
    /// The program; may be absent if a code is given, which determines it.
    pub program_id: Option<ProgramId>,
    /// Who is referred.
    pub referee_user_id: UserId,
    /// By whom.
    pub referrer: Referrer,
}

pub(super) fn apply(work: &mut dyn Work, input: &ApplyReferral) -> Result<(), Halt> {
    if let Some(program_id) = &input.program_id {
        existing_program(work, program_id)?;
    }
    active_user(work, &input.referee_user_id)?;
    let (program_id, referrer_user_id) = resolve(work, input)?;
    let program = load::<Program>(work, &program_id)?;
    let version = program.current().ok_or_else(|| Refusal::ProgramNotFound(program_id.clone()))?;
    let referee_id = ParticipantId::new(&program_id, &input.referee_user_id);
    let referrer_id = ParticipantId::new(&program_id, &referrer_user_id);
    check(work, &version.rules, &referee_id, &referrer_id)?;
    let rules = &version.rules;
    let flag = screening::screen_known(work, rules, &referee_id, &referrer_user_id)?;
    let standing = standing::initial(work, rules, &referee_id, flag)?;
    attach(work, version, &referee_id, &referrer_user_id, standing)
}

/// The user, who must exist and take part.
pub(super) fn active_user(work: &mut dyn Work, user_id: &UserId) -> Result<Arc<User>, Halt> {
    let user = load::<User>(work, user_id)?;
    if !user.exists() {
        return Err(Refusal::UserNotFound(user_id.clone()).into());
    }
    if user.status() == UserStatus::Inactive {
        return Err(Refusal::UserInactive(user_id.clone()).into());
    }
    Ok(user)
}

/// Refuses a referral that the rules forbid, for the first reason in the order of [`code::CodeFault`].
fn check(
    work: &mut dyn Work,
    rules: &ProgramRules,
    referee_id: &ParticipantId,
    referrer_id: &ParticipantId,
) -> Result<(), Halt> {
    if referee_id == referrer_id {
        return Err(Refusal::SelfReferral(referrer_id.user_id.clone()).into());
    }
    let referee = existing_participant(work, referee_id)?;
    let referrer = existing_participant(work, referrer_id)?;
    if has_bought(rules, &referee) {
        return Err(Refusal::AlreadyBought(referee_id.clone()).into());
    }
    if referee.referral().is_some() {
        return Err(Refusal::AlreadyReferred(referee_id.clone()).into());
    }
    if load::<User>(work, &referee_id.user_id)?.has_known_address() {
        return Err(Refusal::AddressUsedBefore(referee_id.user_id.clone()).into());
    }
    room(rules, &referrer_id.user_id, &referrer)?;
    if rules.attach == AttachPolicy::RegistrationOnly {
        return Err(Refusal::ReferralTooLate(referee_id.clone()).into());
    }
    // Only a participant who has referred others can be in an upline.
    if referee.has_referred() {
        refuse_cycle(work, referee_id, referrer_id)?;
    }
    Ok(())
}

fn resolve(work: &mut dyn Work, input: &ApplyReferral) -> Result<(ProgramId, UserId), Halt> {
    match &input.referrer {
        Referrer::User(user_id) => {
            // The API refuses a request with neither code nor program.
            let program_id = input.program_id.clone().unwrap_or_default();
            Ok((program_id, user_id.clone()))
        }
        Referrer::Code(text) => {
            let owner = owner_of(work, text, input.program_id.as_ref())?;
            let owner = owner.ok_or_else(|| Refusal::CodeNotFound(code::shown(text)))?;
            Ok((owner.program_id, owner.user_id))
        }
    }
}

/// The participant whom the code in a text belongs to, in one program or in any. Nobody owns a text that cannot
/// be a code, nor the code of somebody who was erased.
pub(super) fn owner_of(
    work: &mut dyn Work,
    text: &str,
    program_id: Option<&ProgramId>,
) -> Result<Option<ParticipantId>, Halt> {
    let Some(code) = code::read(text) else { return Ok(None) };
    let owner = work.code_owner(&code)?;
    let is_in = |owner: &ParticipantId| program_id.is_none_or(|of| owner.program_id == *of);
    let Some(owner) = owner.filter(is_in) else { return Ok(None) };
    let is_erased = load::<Participant>(work, &owner)?.is_erased();
    Ok((!is_erased).then_some(owner))
}

/// Refuses a program that does not exist.
///
/// # Errors
/// A refusal that names the program.
pub fn existing_program(work: &mut dyn Work, program_id: &ProgramId) -> Result<(), Halt> {
    match load::<Program>(work, program_id)?.current() {
        Some(_) => Ok(()),
        None => Err(Refusal::ProgramNotFound(program_id.clone()).into()),
    }
}

/// Whether the participant has already made the purchase for which the program pays once.
pub(super) fn has_bought(rules: &ProgramRules, participant: &Participant) -> bool {
    match rules.earn_on {
        EarnOn::FirstPurchase { used_by } => participant.first_purchase_used(used_by),
        EarnOn::Referral | EarnOn::EveryPurchase => false,
    }
}

/// How many more people the referrer can refer; `None` if there is no limit.
pub(super) fn room(
    rules: &ProgramRules,
    referrer_user_id: &UserId,
    referrer: &Participant,
) -> Result<Option<u32>, Refusal> {
    let left = |limit: Option<u32>| limit.map(|limit| limit.saturating_sub(referrer.uses()));
    let (uses, places) = (left(rules.max_uses_per_code), left(rules.max_direct_referrals));
    match (rules.max_uses_per_code, rules.max_direct_referrals) {
        (Some(limit), _) if uses == Some(0) => {
            Err(Refusal::CodeExhausted { code: referrer.code().into(), limit })
        }
        (_, Some(limit)) if places == Some(0) => {
            Err(Refusal::ReferrerLimitReached { referrer: referrer_user_id.clone(), limit })
        }
        _ => Ok(uses.into_iter().chain(places).min()),
    }
}

/// Refuses a referral that would put a participant into their own upline.
///
/// Recorded referrals never change, so the walk needs no concurrency check. That the participant at its end
/// has no referrer does need one; loading that participant adds the check.
fn refuse_cycle(
    work: &mut dyn Work,
    referee: &ParticipantId,
    referrer: &ParticipantId,
) -> Result<(), Halt> {
    let mut from = referrer.clone();
    loop {
        let walk = work.walk_upline(&from, &referee.user_id)?;
        if walk.met {
            return Err(Refusal::ReferralCycle {
                referee: referee.user_id.clone(),
                referrer: referrer.user_id.clone(),
            }
            .into());
        }
        let root = ParticipantId::new(&referee.program_id, &walk.root);
        match load::<Participant>(work, &root)?.referral() {
            None => return Ok(()),
            // This referral was made after the walk: continue from there.
            Some(referral) if referral.referrer_user_id == referee.user_id => {
                return Err(Refusal::ReferralCycle {
                    referee: referee.user_id.clone(),
                    referrer: referrer.user_id.clone(),
                }
                .into());
            }
            Some(referral) => from.user_id = referral.referrer_user_id.clone(),
        }
    }
}

/// Records the referral and, if it counts, grants the rewards that the referral itself earns. The caller has checked
/// everything that could forbid it and has loaded both participants.
pub(super) fn attach(
    work: &mut dyn Work,
    version: &ProgramVersion,
    referee: &ParticipantId,
    referrer_user_id: &UserId,
    standing: Standing,
) -> Result<(), Halt> {
    let referrer = ParticipantId::new(&referee.program_id, referrer_user_id);
    let referrer_user_id = referrer_user_id.clone();
    let made_while_inactive = !load::<Participant>(work, &referrer)?.is_active();
    let now = work.now();
    let status = standing.status();
    work.write_row(SideRow::Referral {
        referee: referee.clone(),
        referrer: referrer_user_id.clone(),
        refer_time: now,
    });
    standing::ask_for_confirmation(work, referee, &standing);
    tell::<Participant>(
        work,
        referee,
        ParticipantCommand::ApplyReferral {
            id: referee.clone(),
            referrer_user_id,
            standing,
            made_while_inactive,
            now,
        },
    )?;
    let make = ParticipantCommand::MakeReferral {
        user_id: referrer.user_id.clone(),
        referee_user_id: referee.user_id.clone(),
        status,
    };
    tell::<Participant>(work, &referrer, make)?;
    if status == ReferralStatus::Pending { earn(work, version, referee) } else { Ok(()) }
}

/// Grants the rewards that a referral itself earns, where referrals do. The referral has just begun to count.
pub(super) fn earn(
    work: &mut dyn Work,
    version: &ProgramVersion,
    referee: &ParticipantId,
) -> Result<(), Halt> {
    if version.rules.earn_on == EarnOn::Referral {
        let occasion = Occasion { version, source: referee, purchase: None };
        let granted = rewards::grant(work, &occasion)?;
        convert(
            work,
            referee,
            By::Itself { version: version.version, rewards: granted.of_referral },
        )?;
    }
    Ok(())
}

/// What converts a referral.
pub(super) enum By<'a> {
    /// Something that a purchase earned.
    Purchase(&'a PurchaseOccasion<'a>),
    /// A purchase earns again what it earned before; then perhaps while the referrer could not earn.
    PurchaseAgain { purchase_id: &'a PurchaseId, while_inactive: Option<bool> },
    /// What the referral itself earned.
    Itself { version: u32, rewards: Vec<ReferralReward> },
}

/// Converts a participant's own referral, if it is pending: on the participant's stream and on the referrer's.
pub(super) fn convert(
    work: &mut dyn Work,
    referee: &ParticipantId,
    by: By<'_>,
) -> Result<(), Halt> {
    let referral = load::<Participant>(work, referee)?.referral().cloned();
    let Some(Referral { referrer_user_id, status: ReferralStatus::Pending, .. }) = &referral else {
        return Ok(());
    };
    let referrer = ParticipantId::new(&referee.program_id, referrer_user_id);
    let earner = load::<Participant>(work, &referrer)?;
    let is_barred = |dated| earner.bar(dated).is_some();
    let converted = match by {
        By::Purchase(of) => ReferralConverted {
            purchase_id: Some(of.purchase_id.clone()),
            converted_while_inactive: is_barred(of.dated),
            program_version: None,
            rewards: Vec::new(),
        },
        By::PurchaseAgain { purchase_id, while_inactive } => ReferralConverted {
            purchase_id: Some(purchase_id.clone()),
            converted_while_inactive: while_inactive.unwrap_or_else(|| is_barred(None)),
            program_version: None,
            rewards: Vec::new(),
        },
        By::Itself { version, rewards } => ReferralConverted {
            purchase_id: None,
            converted_while_inactive: is_barred(None),
            program_version: Some(version),
            rewards,
        },
    };
    let converted_while_inactive = converted.converted_while_inactive;
    tell::<Participant>(work, referee, ParticipantCommand::Convert(converted))?;
    let updated = ReferralUpdated {
        referee_user_id: referee.user_id.clone(),
        previous_status: ReferralStatus::Pending,
        status: ReferralStatus::Converted,
        made_while_inactive: referral.is_some_and(|referral| referral.made_while_inactive),
        converted_while_inactive,
    };
    tell::<Participant>(work, &referrer, ParticipantCommand::UpdateReferral(updated))?;
    Ok(())
}
