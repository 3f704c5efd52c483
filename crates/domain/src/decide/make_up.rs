//! Making up for a purchase that earned nothing, or less, because a referral was held or rejected that counts now.
//!
//! Rewards are granted by the version of the rules that applied to the purchase, to those who would have got them then.
//! What goes by the order of the log, such as caps and tiers, goes by the moment at which they are granted. A purchase
//! knows which rewards were withheld for that reason, so each is made up for once.

use crate::decide::referral::{self, By};
use crate::decide::rewards::{self, Occasion, PurchaseOccasion};
use crate::decide::settle;
use crate::rules::Pay;
use crate::{
    Halt, Participant, ParticipantId, Program, ProgramId, ProgramVersion, Purchase,
    PurchaseCommand, PurchaseId, PurchaseMadeUp, PurchaseOutcome, Refusal, Work, load, tell,
};

/// Nothing happens if nothing is to be made up for, if too much of the purchase went back, or if the referrals in
/// question do not count yet.
pub(super) fn make_up(
    work: &mut dyn Work,
    purchase_id: &PurchaseId,
    program_id: &ProgramId,
) -> Result<(), Halt> {
    let purchase = load::<Purchase>(work, purchase_id)?;
    let recorded = purchase.recorded();
    let recorded = recorded.ok_or_else(|| Refusal::PurchaseNotFound(purchase_id.clone()))?;
    let outcome = purchase.outcome_in(program_id);
    let Some(outcome) = outcome.filter(|outcome| !outcome.cut_off.levels.is_empty()) else {
        return Ok(());
    };
    let program = load::<Program>(work, program_id)?;
    let version = program.version(outcome.cut_off.program_version);
    let version = version.ok_or(Halt::Broken("a purchase under a version that does not exist"))?;
    if !version.rules.make_up_held_purchases {
        return Ok(());
    }
    let terms = purchase.terms().under(&version.rules);
    if !terms.qualifies(terms.refunded_minor) {
        return Ok(());
    }
    let buyer_id = ParticipantId::new(program_id, &recorded.buyer_user_id);
    let dated = Some(recorded.purchase_time_us);
    // The levels of a purchase are independent of each other, but none earns while the buyer's referral does not count.
    let buyer = load::<Participant>(work, &buyer_id)?;
    let counts = |referral| rewards::cut_off(&version.rules, referral, dated).is_none();
    let may_be_first = settle::may_be_first(&version.rules, outcome, &buyer, purchase_id);
    if !may_be_first || !buyer.referral().is_some_and(counts) {
        return Ok(());
    }
    let purchase = PurchaseOccasion { purchase_id, amount_minor: recorded.amount_minor, dated };
    let occasion = Occasion { version, source: &buyer_id, purchase: Some(purchase) };
    let earners = rewards::earners_on(work, &occasion, &outcome.cut_off.levels)?;
    if earners.is_empty() {
        return Ok(());
    }
    let levels: Vec<u32> = earners.iter().map(rewards::Earner::level).collect();
    let made_up = PurchaseMadeUp { program_id: program_id.clone(), levels: levels.clone() };
    tell::<Purchase>(work, purchase_id, PurchaseCommand::MakeUp(made_up))?;
    let unshared_minor = recorded.amount_minor.saturating_sub(shared_minor(version, outcome));
    let granted = rewards::grant_to(work, &occasion, earners, unshared_minor)?;
    for withheld in granted.withheld {
        tell::<Purchase>(work, purchase_id, PurchaseCommand::Withhold(withheld))?;
    }
    if let Some(purchase) = occasion.purchase.as_ref().filter(|_| granted.count > 0) {
        referral::convert(work, &buyer_id, By::Purchase(purchase))?;
    }
    settle::settle_made_up(work, purchase_id, program_id, &levels)
}

/// The shares of the purchase that others have received.
fn shared_minor(version: &ProgramVersion, outcome: &PurchaseOutcome) -> i64 {
    let is_share = |level| {
        let rule = version.rules.rewards.iter().find(|rule| rule.level == level);
        rule.is_some_and(|rule| matches!(rule.pay, Pay::RateBps(_)))
    };
    let shares = outcome.rewards.iter().filter(|share| is_share(share.level));
    shares.map(|share| share.amount_minor).fold(0, i64::saturating_add)
}
