//! Decisions of operators about fraud flags, and flags of sign-ups that were refused.

use std::net::IpAddr;

use serde_json::json;

use crate::decide::{account, evidence, screening, standing};
use crate::fraud::{EXACT_BPS, FlagKind, FraudPolicy, Occasion};
use crate::{
    FlagAgainst, FraudDecision, FraudEvidence, FraudFlag, FraudFlagCommand, FraudFlagId,
    FraudFlagRaised, FraudNote, Halt, ParticipantId, Personal, Program, ProgramId, Refusal,
    SideRow, User, UserCommand, UserId, UserRole, UserStatus, Work, each, load, peek_new, tell,
};

/// An operator decides about a flag.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct ResolveFraudFlag {
    pub flag_id: FraudFlagId,
    pub decision: FraudDecision,
    /// Whether what was granted because of the referral is taken back; of a decision that rejects only.
    pub reverses_rewards: bool,
    /// Why, in the operator's words.
    pub note: Option<Personal>,
    /// Whether whoever decides may deactivate operators and admins.
    pub may_deactivate_staff: bool,
}

/// A sign-up was refused, because there were too many from its address.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct FlagRefusedSignUp {
    pub program_id: ProgramId,
    pub client_ip: IpAddr,
    /// How often the same was refused in the window of the check, this time included, if it was counted before.
    pub count: u32,
}

/// Decides about a flag. The decision that holds already changes nothing.
pub(super) fn resolve(work: &mut dyn Work, input: &ResolveFraudFlag) -> Result<(), Halt> {
    let ResolveFraudFlag { flag_id, decision, reverses_rewards, note, may_deactivate_staff } =
        input;
    let flag = load::<FraudFlag>(work, flag_id)?;
    let raised = flag.raised().ok_or_else(|| Refusal::FraudFlagNotFound(flag_id.clone()))?;
    let reverses_rewards = *reverses_rewards && decision.rejects();
    if (flag.decision(), flag.reverses_rewards()) == (Some(*decision), reverses_rewards) {
        return Ok(());
    }
    if *decision == FraudDecision::RejectedAndDeactivated {
        let referee = raised.referee_user_id.as_ref();
        let referee = referee.ok_or_else(|| Refusal::FraudFlagWithoutUser(flag_id.clone()))?;
        let is_staff = load::<User>(work, referee)?.role() != UserRole::Participant;
        if is_staff && !may_deactivate_staff {
            return Err(Refusal::StaffAccount(referee.clone()).into());
        }
    }
    let (resolved_id, decision) = (flag_id.clone(), *decision);
    let resolve = FraudFlagCommand::Resolve { flag_id: resolved_id, decision, reverses_rewards };
    tell::<FraudFlag>(work, flag_id, resolve)?;
    if let Some(note) = note
        && !names_erased(work, raised)?
    {
        work.write_row(SideRow::FraudNote(Box::new(FraudNote {
            flag_id: flag_id.to_string(),
            number: flag.decision_count().saturating_add(1),
            user_id: raised.referee_user_id.clone(),
            referrer_user_id: raised.referrer_user_id.clone(),
            other_user_id: raised.other_user_id.clone(),
            note: note.clone(),
            note_time: work.now(),
        })));
    }
    let Some(referee_user_id) = &raised.referee_user_id else { return Ok(()) };
    let is_cleared = decision == FraudDecision::Released;
    each(raised.others(), |other| review_pair(work, referee_user_id, other, is_cleared))?;
    let referee = ParticipantId::new(&raised.program_id, referee_user_id);
    let against = decision.rejects().then(|| FlagAgainst {
        flag_id: flag_id.clone(),
        rejects: true,
        takes_back: reverses_rewards,
    });
    standing::weigh(work, &referee, flag_id, against)?;
    let user = load::<User>(work, referee_user_id)?;
    if decision == FraudDecision::RejectedAndDeactivated && user.status() == UserStatus::Active {
        account::deactivate(work, referee_user_id)?;
    }
    Ok(())
}

/// Whether a user of the flag was erased. What is written about a flag goes with each of its users, so that nothing may
/// be written afterwards.
fn names_erased(work: &mut dyn Work, raised: &FraudFlagRaised) -> Result<bool, Halt> {
    let users = [&raised.referee_user_id, &raised.referrer_user_id, &raised.other_user_id];
    let mut is_erased = false;
    each(users.into_iter().flatten(), |user_id| {
        is_erased |= !load::<User>(work, user_id)?.exists();
        Ok(())
    })?;
    Ok(is_erased)
}

/// Both users of a pair remember whether they are cleared, unless they were erased.
fn review_pair(
    work: &mut dyn Work,
    one: &UserId,
    other: &UserId,
    is_cleared: bool,
) -> Result<(), Halt> {
    each([(one, other), (other, one)], |(user_id, other)| {
        if !load::<User>(work, user_id)?.exists() {
            return Ok(());
        }
        let review = UserCommand::ReviewPair { other_user_id: other.clone(), is_cleared };
        tell::<User>(work, user_id, review).map(drop)
    })
}

/// The id of the flag of sign-ups that were refused: one for each address and window of the check. `None` if the
/// program does not count sign-ups.
///
/// # Errors
/// [`Halt::Missing`] if the program is not in memory.
pub fn refused_sign_up_flag(
    work: &mut dyn Work,
    program_id: &ProgramId,
    client_ip: IpAddr,
) -> Result<Option<FraudFlagId>, Halt> {
    let program = load::<Program>(work, program_id)?;
    let check = program.current().and_then(|of| of.rules.fraud_checks.sign_ups_per_address);
    let Some(check) = check else { return Ok(None) };
    let window = work.now().0 / 1_000_000 / (i64::from(check.window_hours) * 60 * 60);
    let network = evidence::network_key(work, client_ip);
    screening::flag_id(work, &format!("sign-ups {program_id} {network} {window}")).map(Some)
}

/// Raises the flag of a refused sign-up, or tells how often it has been repeated.
pub(super) fn flag_refused(work: &mut dyn Work, input: &FlagRefusedSignUp) -> Result<(), Halt> {
    let FlagRefusedSignUp { program_id, client_ip, count } = input;
    let flag_id = refused_sign_up_flag(work, program_id, *client_ip)?;
    let Some(flag_id) = flag_id else { return Ok(()) };
    if peek_new::<FraudFlag>(work, &flag_id)?.raised().is_some() {
        let repeat = FraudFlagCommand::Repeat { flag_id: flag_id.clone(), count: *count };
        return tell::<FraudFlag>(work, &flag_id, repeat).map(drop);
    }
    let raised = FraudFlagRaised {
        kind: FlagKind::SignUpsPerAddress,
        score_bps: EXACT_BPS,
        program_id: program_id.clone(),
        referee_user_id: None,
        referrer_user_id: None,
        other_user_id: None,
        occasion: Occasion::RefusedSignUp,
        consequence: FraudPolicy::Reject,
        evidence: Vec::new(),
        evidence_user_ids: Vec::new(),
    };
    let raise = FraudFlagCommand::Raise { flag_id: flag_id.clone(), raised };
    tell::<FraudFlag>(work, &flag_id, raise)?;
    let check = load::<Program>(work, program_id)?
        .current()
        .and_then(|version| version.rules.fraud_checks.sign_ups_per_address);
    let sign_up_count = check
        .map(|check| evidence::sign_ups_from(work, program_id, *client_ip, check))
        .transpose()?;
    let finding = json!([{
        "kind": FlagKind::SignUpsPerAddress,
        "score_bps": EXACT_BPS,
        "policy": FraudPolicy::Reject,
    }]);
    work.write_row(SideRow::FraudEvidence(Box::new(FraudEvidence {
        flag_id: flag_id.to_string(),
        user_id: None,
        other_user_id: None,
        address: None,
        other_address: None,
        client_ip: Some(*client_ip),
        fingerprint_key: None,
        findings: finding,
        sign_up_count,
        found_time: work.now(),
    })));
    Ok(())
}
