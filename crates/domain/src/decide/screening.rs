//! Screening: the fraud checks of a program are made where a referral is, and raise at most one flag.
//!
//! What the checks compare with is read as any other part of a decision, so that sign-ups at once see each other. A
//! flag has an id that follows from what it is about: the same is not flagged twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::decide::evidence::{self, FirstOwners};
use crate::decide::standing;
use crate::fraud::{
    Address, BURST_WINDOW_HOURS, EXACT_BPS, Finding, Flag, FlagKind, FraudChecks, FraudPolicy,
    Mailbox, Occasion, SignUpsPerAddress, Signals, judge,
};
use crate::rules::ProgramRules;
use crate::{
    FlagAgainst, FraudEvidence, FraudFlag, FraudFlagCommand, FraudFlagId, FraudFlagRaised, Halt,
    LatestReferee, MAX_EVIDENCE_USERS, MAX_FLAGS_AGAINST, Participant, ParticipantId, Personal,
    ProgramId, Referral, ReferralStatus, SideRow, SignUpClient, Timestamp, User, UserId, Work,
    each, load, peek_new, tell,
};

/// A user as the checks see them, with what the caller said of the client.
#[derive(Debug, Default)]
pub(super) struct Subject {
    /// The user's address.
    address: Option<Address>,
    /// Who had the user's mailbox before.
    owners: FirstOwners,
    /// Who came with the same fingerprint before.
    fingerprint_owner: Option<UserId>,
    /// From where the user signs up.
    client_ip: Option<IpAddr>,
    /// A keyed hash of the fingerprint.
    fingerprint_key: Option<String>,
}

impl Subject {
    /// Somebody who signs up. Every user claims what can be compared, whatever the programs check, so that a program
    /// which begins to check compares with all users.
    pub(super) fn signing_up(
        work: &mut dyn Work,
        user_id: &UserId,
        mailbox: Option<&Mailbox>,
        client_ip: Option<IpAddr>,
        fingerprint_key: Option<&str>,
    ) -> Result<Self, Halt> {
        // Both are tried before either halts, so that they are looked up together.
        let owners = mailbox.map(|of| evidence::share_mailbox(work, user_id, of));
        let fingerprint_owner =
            fingerprint_key.map(|of| evidence::share_fingerprint(work, user_id, of)).transpose();
        Ok(Self {
            owners: owners.transpose()?.unwrap_or_default(),
            address: mailbox.map(|mailbox| mailbox.address.clone()),
            fingerprint_owner: fingerprint_owner?.flatten(),
            client_ip,
            fingerprint_key: fingerprint_key.map(Into::into),
        })
    }

    /// From where the user signs up, as it is kept; `None` if nothing is known.
    pub(super) fn client(&self, user_id: &UserId, sign_up_time: Timestamp) -> Option<SignUpClient> {
        let is_known = self.client_ip.is_some() || self.fingerprint_key.is_some();
        is_known.then(|| SignUpClient {
            user_id: user_id.clone(),
            client_ip: self.client_ip,
            fingerprint_key: self.fingerprint_key.clone(),
            sign_up_time,
        })
    }

    /// A user who has signed up before, as far as the checks need to know. The sign-up counts for the address from
    /// which it came as long as the window of the check lasts.
    pub(super) fn known(
        work: &mut dyn Work,
        user_id: &UserId,
        checks: &FraudChecks,
    ) -> Result<Self, Halt> {
        if checks.are_off() {
            return Ok(Self::default());
        }
        let (of_client, now) = (checks.sign_ups_per_address, work.now());
        // Both are tried before either halts, so that they are looked up together.
        let address = work.address_of(user_id);
        let needs_client = of_client.is_some() || checks.fingerprint.is_some();
        let client = if needs_client { work.sign_up_client(user_id) } else { Ok(None) };
        let (address, client) = (address?, client?);
        let address = address.and_then(|address| Address::of_comparable(&address.0));
        let mailbox = address.map(Mailbox::of);
        let owners = mailbox.as_ref().map(|of| evidence::share_mailbox(work, user_id, of));
        let fingerprint_key = client.as_ref().and_then(|of| of.fingerprint_key.clone());
        let fingerprint_owner = fingerprint_key
            .as_ref()
            .map(|key| evidence::share_fingerprint(work, user_id, key))
            .transpose();
        let is_recent = |of: &SignUpClient| {
            of_client.is_some_and(|check| of.sign_up_time > check.window_start(now))
        };
        Ok(Self {
            owners: owners.transpose()?.unwrap_or_default(),
            address: mailbox.map(|mailbox| mailbox.address),
            fingerprint_owner: fingerprint_owner?.flatten(),
            client_ip: client.filter(is_recent).and_then(|of| of.client_ip),
            fingerprint_key,
        })
    }

    /// A user whose address is another one from now on.
    pub(super) fn with_new_address(address: Address, owners: FirstOwners) -> Self {
        Self { address: Some(address), owners, ..Self::default() }
    }
}

/// Counts a sign-up for a program. Returns how many from the same address went before within the window; `None` if that
/// is not checked or the address is unknown. Refuses the sign-up if there were too many and the program says so.
pub(super) fn count_sign_up(
    work: &mut dyn Work,
    rules: &ProgramRules,
    id: &ParticipantId,
    subject: &Subject,
) -> Result<Option<u32>, Halt> {
    let check = rules.fraud_checks.sign_ups_per_address.zip(subject.client_ip);
    check
        .map(|(check, client_ip)| evidence::count_sign_up(work, &id.program_id, client_ip, check))
        .transpose()
}

/// Counts the enrolment of somebody who signed up of late, as [`count_sign_up`] counts a sign-up; but it is never
/// refused.
pub(super) fn count_enrolment(
    work: &mut dyn Work,
    rules: &ProgramRules,
    id: &ParticipantId,
    subject: &Subject,
) -> Result<Option<u32>, Halt> {
    let check = rules.fraud_checks.sign_ups_per_address.zip(subject.client_ip);
    let Some((check, client_ip)) = check else { return Ok(None) };
    let check = SignUpsPerAddress { policy: FraudPolicy::Flag, ..check };
    evidence::count_sign_up(work, &id.program_id, client_ip, check).map(Some)
}

/// Makes the checks of a program for a referral that is about to be made, and raises a flag if they find something.
/// Returns the flag if it is against the referral.
pub(super) fn screen_referral(
    work: &mut dyn Work,
    rules: &ProgramRules,
    referee: &ParticipantId,
    referrer_user_id: &UserId,
    subject: &Subject,
    sign_ups_from_address: Option<u32>,
) -> Result<Option<FlagAgainst>, Halt> {
    let case = Case { referee, referrer_user_id, subject, sign_ups_from_address };
    let Some(flag) = case.examine(work, &rules.fraud_checks, Occasion::Referral)? else {
        return Ok(None);
    };
    // A participant is referred once.
    let flag_id = flag_id(work, &referral_flag(referee))?;
    case.raise(work, &flag_id, &flag, Occasion::Referral)?;
    let rejects = flag.consequence == FraudPolicy::Reject;
    Ok((flag.consequence > FraudPolicy::Flag).then_some(FlagAgainst {
        flag_id,
        rejects,
        takes_back: false,
    }))
}

/// Makes the checks for a referral of somebody who is enrolled.
pub(super) fn screen_known(
    work: &mut dyn Work,
    rules: &ProgramRules,
    referee: &ParticipantId,
    referrer_user_id: &UserId,
) -> Result<Option<FlagAgainst>, Halt> {
    let checks = &rules.fraud_checks;
    let subject = Subject::known(work, &referee.user_id, checks)?;
    let count = checks.sign_ups_per_address.zip(subject.client_ip).map(|(check, client_ip)| {
        let all = evidence::sign_ups_from(work, &referee.program_id, client_ip, check);
        // Their own enrolment is among them.
        all.map(|all| all.saturating_sub(1))
    });
    screen_referral(work, rules, referee, referrer_user_id, &subject, count.transpose()?)
}

/// Makes the checks again for the referrals of a user with a new address, to flag them.
pub(super) fn screen_new_address(
    work: &mut dyn Work,
    user_id: &UserId,
    subject: &Subject,
) -> Result<(), Halt> {
    let user = load::<User>(work, user_id)?;
    let version = user.profile().version();
    each(user.programs(), |program_id| {
        let referee = ParticipantId::new(program_id, user_id);
        let Some((checks, referral)) = checked_referral(work, &referee)? else { return Ok(()) };
        let referrer_user_id = &referral.referrer_user_id;
        let case =
            Case { referee: &referee, referrer_user_id, subject, sign_ups_from_address: None };
        let Some(flag) = case.examine(work, &checks, Occasion::AddressChange)? else {
            return Ok(());
        };
        let flag_id = flag_id(work, &format!("address {referee} {version}"))?;
        case.raise(work, &flag_id, &flag, Occasion::AddressChange)
    })
}

/// Looks who came with the fingerprint of a purchase before. If somebody else did, the buyer's referrals are flagged in
/// the programs that check fingerprints, and the referrals that the buyer has made of that user.
pub(super) fn screen_purchase(
    work: &mut dyn Work,
    buyer_user_id: &UserId,
    fingerprint_key: &str,
    programs: &[ProgramId],
) -> Result<(), Halt> {
    let owner = evidence::share_fingerprint(work, buyer_user_id, fingerprint_key)?;
    let Some(owner) = owner else { return Ok(()) };
    let subject = Subject { fingerprint_key: Some(fingerprint_key.into()), ..Subject::default() };
    each(programs, |program_id| {
        // Whoever shares it may be the one whom the buyer has referred.
        let [buyer_id, owner_id] =
            [buyer_user_id, &owner].map(|user_id| ParticipantId::new(program_id, user_id));
        let referral = load::<Participant>(work, &owner_id)?.referral().cloned();
        let is_of_buyer = referral.is_some_and(|of| of.referrer_user_id == *buyer_user_id);
        let of_owner = is_of_buyer.then_some((&owner_id, buyer_user_id));
        each([(&buyer_id, &owner)].into_iter().chain(of_owner), |(referee, other)| {
            flag_shared_fingerprint(work, referee, other, &subject)
        })
    })
}

/// Flags the referral of somebody who shares a fingerprint with another user, once for the two. One that has not earned
/// anything yet is also held, if the program says so.
fn flag_shared_fingerprint(
    work: &mut dyn Work,
    referee: &ParticipantId,
    other: &UserId,
    subject: &Subject,
) -> Result<(), Halt> {
    let Some((checks, referral)) = checked_referral(work, referee)? else { return Ok(()) };
    let is_cleared = load::<User>(work, &referee.user_id)?.cleared().contains(other);
    let Some(check) = checks.fingerprint.filter(|_| !is_cleared) else { return Ok(()) };
    // When the referral was made, the two may have been flagged for it already.
    let first_id = flag_id(work, &referral_flag(referee))?;
    let flag_id = flag_id(work, &format!("fingerprint {referee} {other}"))?;
    let first = load::<FraudFlag>(work, &first_id);
    let is_flagged = peek_new::<FraudFlag>(work, &flag_id)?.raised().is_some();
    if is_flagged || first?.raised().is_some_and(|of| of.names(FlagKind::Fingerprint, other)) {
        return Ok(());
    }
    let holds = check.policy > FraudPolicy::Flag
        && matches!(referral.status, ReferralStatus::Pending | ReferralStatus::Held)
        && referral.flags.len() < MAX_FLAGS_AGAINST;
    let gravest = Finding {
        kind: FlagKind::Fingerprint,
        score_bps: EXACT_BPS,
        other_user_id: Some(other.clone()),
        policy: check.policy,
    };
    let consequence = if holds { FraudPolicy::Hold } else { FraudPolicy::Flag };
    let flag = Flag { gravest, consequence, evidence: Vec::new() };
    let case = Case {
        referee,
        referrer_user_id: &referral.referrer_user_id,
        subject,
        sign_ups_from_address: None,
    };
    case.raise(work, &flag_id, &flag, Occasion::Purchase)?;
    let against = FlagAgainst { flag_id: flag_id.clone(), rejects: false, takes_back: false };
    if holds { standing::weigh(work, referee, &flag_id, Some(against)) } else { Ok(()) }
}

/// The checks of a program by its present rules, with the participant's referral; `None` if there is nothing to check.
fn checked_referral(
    work: &mut dyn Work,
    referee: &ParticipantId,
) -> Result<Option<(FraudChecks, Referral)>, Halt> {
    let program = load::<crate::Program>(work, &referee.program_id)?;
    let checks = program.current().map(|version| &version.rules.fraud_checks);
    let Some(checks) = checks.filter(|checks| !checks.are_off()) else { return Ok(None) };
    let referral = load::<Participant>(work, referee)?.referral().cloned();
    let counts = |of: &Referral| of.status != ReferralStatus::Rejected;
    Ok(referral.filter(counts).map(|referral| (checks.clone(), referral)))
}

/// What the flag of a referral is about, of which its id is the keyed hash for the purpose `fraud_flag`.
#[must_use]
pub fn referral_flag(referee: &ParticipantId) -> String {
    format!("referral {referee}")
}

/// Tries to look up what the checks of a referral need of its referrer, so that it is loaded together with the
/// referrer.
pub(super) fn look_ahead(work: &mut dyn Work, rules: &ProgramRules, referrer: &ParticipantId) {
    let (address, latest) = look_up(work, &rules.fraud_checks, referrer);
    // Whoever needs them asks again.
    drop((address, latest));
}

/// The address of a user, and whom a participant has referred last.
type LookedUp = (Result<Option<Personal>, Halt>, Result<Vec<Arc<LatestReferee>>, Halt>);

/// The address of a referrer and the latest referees, as far as the checks need them.
fn look_up(work: &mut dyn Work, checks: &FraudChecks, referrer: &ParticipantId) -> LookedUp {
    let is_about_addresses = checks.similar_address.is_some();
    let address = if is_about_addresses { work.address_of(&referrer.user_id) } else { Ok(None) };
    let needs_latest = is_about_addresses || checks.referral_burst.is_some();
    let latest = if needs_latest { work.latest_referees(referrer) } else { Ok(Vec::new()) };
    (address, latest)
}

/// The id of the flag about something. Users have long ids; a hash is short.
pub(super) fn flag_id(work: &dyn Work, about: &str) -> Result<FraudFlagId, Halt> {
    let hash = work.keyed_hash("fraud_flag", about);
    FraudFlagId::parse(&hash).map_err(|_| Halt::Broken("a hash that cannot be an id"))
}

/// A referral that is looked at.
struct Case<'a> {
    referee: &'a ParticipantId,
    referrer_user_id: &'a UserId,
    subject: &'a Subject,
    sign_ups_from_address: Option<u32>,
}

impl Case<'_> {
    /// Finds out what the checks need, and judges it.
    fn examine(
        &self,
        work: &mut dyn Work,
        checks: &FraudChecks,
        occasion: Occasion,
    ) -> Result<Option<Flag>, Halt> {
        if checks.are_off() {
            return Ok(None);
        }
        let Self { referee, referrer_user_id, subject, .. } = *self;
        let referrer = ParticipantId::new(&referee.program_id, referrer_user_id);
        // All are tried before any of them halts, so that they are looked up together.
        let (referrer_address, latest) = look_up(work, checks, &referrer);
        // Nothing but the address is another one when it changes.
        let is_new = occasion == Occasion::Referral;
        let is_mutual = checks.mutual_referral.filter(|_| is_new).map(|_| self.is_mutual(work));
        let cleared = load::<User>(work, &referee.user_id);
        let (referrer_address, latest) = (referrer_address?, latest?);
        let cleared: BTreeSet<UserId> = cleared?.cleared().iter().cloned().collect();
        let since = work.now().plus_seconds(-i64::from(BURST_WINDOW_HOURS) * 60 * 60);
        let within_hour = latest.iter().filter(|of| is_new && of.refer_time > since).count();
        let has_disposable_domain = checks.disposable_domain.is_some()
            && subject.address.as_ref().is_some_and(|of| work.is_disposable(of.domain()));
        let signals = Signals {
            referee_user_id: &referee.user_id,
            address: subject.address.as_ref(),
            referrer_user_id,
            referrer_address: referrer_address.as_ref(),
            latest_referees: &latest,
            mailbox_owner: subject.owners.mailbox.as_ref(),
            look_alike_owner: subject.owners.look_alike.as_ref(),
            fingerprint_owners: subject.fingerprint_owner.as_slice(),
            is_mutual: is_mutual.transpose()?.unwrap_or_default(),
            referrals_within_hour: u32::try_from(within_hour).unwrap_or(u32::MAX),
            sign_ups_from_address: self.sign_ups_from_address,
            has_disposable_domain,
            cleared: &cleared,
        };
        Ok(judge(checks, &signals, occasion))
    }

    /// Whether the referee refers the referrer in another program.
    fn is_mutual(&self, work: &mut dyn Work) -> Result<bool, Halt> {
        let referee = load::<User>(work, &self.referee.user_id)?;
        let mut is_mutual = false;
        let others = referee.programs().iter().filter(|other| **other != self.referee.program_id);
        each(others, |program_id| {
            let referrer = ParticipantId::new(program_id, self.referrer_user_id);
            let participant = load::<Participant>(work, &referrer)?;
            is_mutual |= participant.referral().is_some_and(|of| {
                of.referrer_user_id == self.referee.user_id && of.status != ReferralStatus::Rejected
            });
            Ok(())
        })?;
        Ok(is_mutual)
    }

    fn raise(
        &self,
        work: &mut dyn Work,
        flag_id: &FraudFlagId,
        flag: &Flag,
        occasion: Occasion,
    ) -> Result<(), Halt> {
        let Flag { gravest, consequence, evidence } = flag;
        let mut kinds: Vec<FlagKind> = evidence.iter().map(|finding| finding.kind).collect();
        kinds.dedup();
        kinds.retain(|kind| *kind != gravest.kind);
        let mut others = Vec::new();
        for other in evidence.iter().filter_map(|finding| finding.other_user_id.as_ref()) {
            let is_new = !others.contains(other) && gravest.other_user_id.as_ref() != Some(other);
            if is_new && others.len() < MAX_EVIDENCE_USERS {
                others.push(other.clone());
            }
        }
        let raised = FraudFlagRaised {
            kind: gravest.kind,
            score_bps: gravest.score_bps,
            program_id: self.referee.program_id.clone(),
            referee_user_id: Some(self.referee.user_id.clone()),
            referrer_user_id: Some(self.referrer_user_id.clone()),
            other_user_id: gravest.other_user_id.clone(),
            occasion,
            consequence: *consequence,
            evidence: kinds,
            evidence_user_ids: others,
        };
        peek_new::<FraudFlag>(work, flag_id)?;
        let raise = FraudFlagCommand::Raise { flag_id: flag_id.clone(), raised };
        tell::<FraudFlag>(work, flag_id, raise)?;
        let other_address = match &gravest.other_user_id {
            Some(other) => work.address_of(other)?,
            None => None,
        };
        let address = self.subject.address.as_ref();
        let evidence = FraudEvidence {
            flag_id: flag_id.to_string(),
            user_id: Some(self.referee.user_id.clone()),
            other_user_id: gravest.other_user_id.clone(),
            address: address.map(|address| Personal(address.as_str().into())),
            other_address,
            client_ip: self.subject.client_ip,
            fingerprint_key: self.subject.fingerprint_key.clone(),
            findings: findings(flag),
            sign_up_count: self.sign_ups_from_address,
            found_time: work.now(),
        };
        work.write_row(SideRow::FraudEvidence(Box::new(evidence)));
        Ok(())
    }
}

/// How many findings of one kind are kept, the best of them.
const KEPT_FINDINGS: usize = 16;

/// All findings, the gravest first, as they are kept.
fn findings(flag: &Flag) -> Value {
    let mut counts: BTreeMap<FlagKind, usize> = BTreeMap::new();
    let kept = std::iter::once(&flag.gravest).chain(&flag.evidence).filter(|finding| {
        let count = counts.entry(finding.kind).or_default();
        *count += 1;
        *count <= KEPT_FINDINGS
    });
    kept.map(|Finding { kind, score_bps, other_user_id, policy }| {
        json!({
            "kind": kind,
            "score_bps": score_bps,
            "other_user_id": other_user_id,
            "policy": policy,
        })
    })
    .collect()
}
