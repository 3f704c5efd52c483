//! Referrals that are held, released and rejected. Decisions about flags are input; a confirmation of the address must
//! release those that wait for nothing else.

use domain::{FlagAgainst, ReferralStandingChanged, ReferralStatus};

use super::conversions::conversion;
use super::world::{Against, Awaited, PersonIndex, Tie, UserIndex, Version};
use super::{Finding, Judgement, Oracle, RecordedEvent, own, reckon, split};

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
    let awaited = Awaited::of(&changed.hold_reasons);
    check_reasons(oracle, event, changed.status, awaited, &changed.flags);
    let is_released = changed.status == ReferralStatus::Pending;
    let was_inactive = is_released && oracle.world.person(before.referrer).is_inactive;
    oracle.unless(changed.made_while_inactive == was_inactive, event, || {
        format!("made while inactive: expected {was_inactive}, found {}", !was_inactive)
    });
    let released = changed.release_time_us.map(|time| time.0);
    // A converted referral that is rejected with what it has earned is converted no longer.
    let against = Against::of(&changed.flags);
    let is_undone = before.status == ReferralStatus::Converted && against.takes_back;
    if is_undone {
        let none: Option<&str> = None;
        let fields = vec![("purchase", none.into())];
        judgement.expected.push(oracle.world.expect(referee, "ReferralUnconverted", fields));
    }
    let after = Tie {
        status: if is_undone { ReferralStatus::Rejected } else { changed.status },
        awaits: Awaited::of(&changed.hold_reasons),
        released: released.or(before.released),
        made_while_active: if is_released { !was_inactive } else { before.made_while_active },
        against,
        ..before
    };
    oracle.world.replace(referee, &before, after);
    own::sort_standing(oracle, referee, (&before, &after), judgement);
    if before.status != after.status {
        // The referrer learns how it counts for tiers from now on, or how it did until now.
        let was_converted = before.status == ReferralStatus::Converted;
        let counted = was_converted || before.status == ReferralStatus::Pending;
        let counted_for_none = counted && !before.made_while_active;
        let for_referrer = if is_released { was_inactive } else { counted_for_none };
        let fields = vec![
            ("referee", user_id.into()),
            ("previous status", format!("{:?}", before.status).as_str().into()),
            ("status", format!("{:?}", after.status).as_str().into()),
            ("made while inactive", for_referrer.into()),
            ("converted while inactive", (was_converted && !before.converted_while_able).into()),
        ];
        judgement.expected.push(oracle.world.expect(before.referrer, "ReferralUpdated", fields));
    }
    let world = &oracle.world;
    let program = world.person(referee).program;
    if let Some(version) = world.current_version(program).filter(|_| is_released) {
        judgement.expected.extend(if before.converted_by_itself {
            // What it has earned before is given back, and nothing is granted.
            let is_barred = world.person(before.referrer).bar(None).is_some();
            conversion(world, referee, None, is_barred)
        } else {
            reckon::of_referral(world, referee, &version)
        });
    }
}

/// All that changes with a flag in the same command is permitted, but what has converted only remembers its flags.
/// Without one, a referral stops waiting for the confirmation of the address.
fn is_permitted(before: &Tie, changed: &ReferralStandingChanged, has_flag: bool) -> bool {
    let awaited = Awaited::of(&changed.hold_reasons);
    let confirmed = Awaited { confirmation: false, ..before.awaits };
    match (before.status, changed.status) {
        (ReferralStatus::Converted, ReferralStatus::Converted) => has_flag,
        (ReferralStatus::Converted, _) | (_, ReferralStatus::Converted) => false,
        (ReferralStatus::Held, ReferralStatus::Held | ReferralStatus::Pending) => {
            has_flag || (before.awaits.confirmation && awaited == confirmed)
        }
        (
            ReferralStatus::Held | ReferralStatus::Pending | ReferralStatus::Rejected,
            ReferralStatus::Held | ReferralStatus::Pending | ReferralStatus::Rejected,
        ) => has_flag,
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
    if status == ReferralStatus::Converted {
        return;
    }
    let against = Against::of(flags);
    let is_rejected = status == ReferralStatus::Rejected;
    let is_reviewed = against.is_any && !against.rejects;
    oracle.unless((against.rejects, is_reviewed) == (is_rejected, awaited.review), event, || {
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
