//! Referrals that are held, released and rejected. Decisions about flags are input; a confirmation of the address must
//! release those that wait for nothing else.

use domain::{FlagAgainst, ReferralStandingChanged, ReferralStatus};

use super::world::{Awaited, PersonIndex, Tie, UserIndex, Version};
use super::{Finding, Judgement, Oracle, RecordedEvent, reckon, split};

/// A new referral must be held exactly if the rules demand a confirmed address and there is none.
pub(super) fn check_initial(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    referee: PersonIndex,
    version: &Version,
    has_flag: bool,
    flags: &[FlagAgainst],
) {
    let person = oracle.world.person(referee);
    let Some(tie) = person.referral else { return };
    let is_unconfirmed = !oracle.world.user(person.user).is_confirmed;
    let must_wait = version.rules.require_confirmed_email && is_unconfirmed;
    let is_rejected = tie.status == ReferralStatus::Rejected;
    oracle.unless(is_rejected || tie.awaits.confirmation == must_wait, event, || {
        format!("waits for a confirmation: expected {must_wait}, found {}", !must_wait)
    });
    oracle.unless(has_flag || !(is_rejected || tie.awaits.review), event, || {
        format!("expected a fraud flag with a referral that is {:?}, found none", tie.status)
    });
    check_reasons(oracle, event, tie.status, tie.awaits, flags);
}

/// Takes in a change, with what must follow.
pub(super) fn sort(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    changed: &ReferralStandingChanged,
    judgement: &mut Judgement,
) {
    let (program_id, user_id) = split(&event.stream.id);
    let referee = oracle.world.person_index(program_id, user_id);
    let before = oracle.world.person(referee).referral;
    let has_flag = judgement.has_flag;
    let permitted = before.filter(|before| is_permitted(before, changed, has_flag));
    oracle.unless(permitted.is_some(), event, || {
        let now = before.map(|before| (before.status, before.awaits));
        format!("expected no change to {changed:?} of a referral that is {now:?}, found one")
    });
    let Some(before) = before else { return };
    if before.status == ReferralStatus::Converted {
        judgement.is_settlement = true;
        return;
    }
    let awaited = Awaited::of(&changed.hold_reasons);
    check_reasons(oracle, event, changed.status, awaited, &changed.flags);
    let is_released = changed.status == ReferralStatus::Pending;
    let was_inactive = is_released && oracle.world.person(before.referrer).is_inactive;
    oracle.unless(changed.made_while_inactive == was_inactive, event, || {
        format!("made while inactive: expected {was_inactive}, found {}", !was_inactive)
    });
    let released = changed.release_time_us.map(|time| time.0);
    let after = Tie {
        status: changed.status,
        awaits: Awaited::of(&changed.hold_reasons),
        released: released.or(before.released),
        made_while_active: if is_released { !was_inactive } else { before.made_while_active },
        ..before
    };
    oracle.world.replace(referee, &before, after);
    if before.status != after.status {
        // The referrer learns how it counts for tiers from now on, or how it did until now.
        let counted_for_none =
            before.status == ReferralStatus::Pending && !before.made_while_active;
        let for_referrer = if is_released { was_inactive } else { counted_for_none };
        let fields = vec![
            ("referee", user_id.into()),
            ("previous status", format!("{:?}", before.status).as_str().into()),
            ("status", format!("{:?}", after.status).as_str().into()),
            ("made while inactive", for_referrer.into()),
            ("converted while inactive", false.into()),
        ];
        judgement.expected.push(oracle.expect(before.referrer, "ReferralUpdated", fields));
    }
    let program = oracle.world.person(referee).program;
    if let Some(version) = oracle.world.current_version(program).filter(|_| is_released) {
        judgement.expected.extend(reckon::of_referral(&oracle.world, referee, &version));
    }
}

/// What has converted stays. All else changes with a flag in the same command, or by a confirmation of the address.
fn is_permitted(before: &Tie, changed: &ReferralStandingChanged, has_flag: bool) -> bool {
    let awaited = Awaited::of(&changed.hold_reasons);
    let confirmed = Awaited { confirmation: false, ..before.awaits };
    match (before.status, changed.status) {
        (ReferralStatus::Converted, ReferralStatus::Converted) => has_flag,
        (ReferralStatus::Converted, _) | (_, ReferralStatus::Converted) => false,
        _ if has_flag => true,
        (ReferralStatus::Held, ReferralStatus::Held | ReferralStatus::Pending) => {
            before.awaits.confirmation && awaited == confirmed
        }
        _ => false,
    }
}

/// A held referral has a reason, and no other has one. It is rejected if a flag rejects it, and waits for a review if
/// there are flags otherwise.
fn check_reasons(
    oracle: &mut Oracle,
    event: &RecordedEvent,
    status: ReferralStatus,
    awaited: Awaited,
    flags: &[FlagAgainst],
) {
    let is_held = status == ReferralStatus::Held;
    oracle.unless((awaited != Awaited::default()) == is_held, event, || {
        format!("expected reasons exactly if the referral is held, found {awaited:?} of {status:?}")
    });
    let rejects = flags.iter().any(|flag| flag.rejects);
    let is_rejected = status == ReferralStatus::Rejected;
    let is_reviewed = !rejects && !flags.is_empty();
    oracle.unless((rejects, is_reviewed) == (is_rejected, awaited.review), event, || {
        format!("expected flags that say how the referral stands, found {flags:?} of {status:?}")
    });
}

/// At the end of the command that confirms an address, no referral waits for that any more.
pub(super) fn check_confirmed(oracle: &mut Oracle, user: UserIndex, position: i64) {
    let world = &oracle.world;
    let waits = |person: &&PersonIndex| {
        world.person(**person).referral.is_some_and(|tie| tie.awaits.confirmation)
    };
    let waiting: Vec<_> = world.user(user).enrolled.iter().filter(waits).copied().collect();
    for person in waiting {
        oracle.find(Finding {
            about: format!("Participant '{}'", oracle.world.stream_id(person)),
            what: "expected the referral to be released by the confirmation, found it held".into(),
            position,
        });
    }
}
