//! Recording a purchase: the fact, the buyer's conversion and every reward up the line, in one
//! decision.

use crate::decide::referral::{self, By, has_bought};
use crate::decide::rewards::{self, Occasion, PurchaseOccasion};
use crate::decide::screening;
use crate::reward::WithheldReason;
use crate::rules::{EarnOn, ProgramRules};
use crate::{
    Halt, OwnEvent, Participant, ParticipantCommand, ParticipantId, Program, ProgramId, Purchase,
    PurchaseCommand, PurchaseId, PurchaseRecorded, Refusal, StreamKey, Timestamp, User, UserId,
    Work, each, load, peek_new, tell,
};

/// A purchase that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub struct RecordPurchase {
    pub purchase_id: PurchaseId,
    pub buyer_user_id: UserId,
    pub amount_minor: i64,
    pub currency_code: String,
    /// When the purchase happened, if the caller says so. Otherwise it happened after everything in the log.
    pub purchase_time: Option<Timestamp>,
    /// The programs that the purchase counts in, if the caller is limited to some; sorted. `None` is all programs.
    pub program_ids: Option<Vec<ProgramId>>,
    /// What recognises the device or the means of payment.
    pub fingerprint_key: Option<String>,
}

pub(super) fn record(work: &mut dyn Work, input: &RecordPurchase) -> Result<(), Halt> {
    if let Some(recorded) = peek_new::<Purchase>(work, &input.purchase_id)?.recorded() {
        return Err(repeated(input, recorded));
    }
    let buyer = load::<User>(work, &input.buyer_user_id)?;
    if !buyer.exists() {
        return Err(Refusal::UserNotFound(input.buyer_user_id.clone()).into());
    }
    let recorded = PurchaseRecorded {
        buyer_user_id: input.buyer_user_id.clone(),
        amount_minor: input.amount_minor,
        currency_code: input.currency_code.clone(),
        purchase_time_us: input.purchase_time.unwrap_or_else(|| work.now()),
        program_ids: input.program_ids.clone(),
    };
    let purchase_id = input.purchase_id.clone();
    let record = PurchaseCommand::Record { purchase_id, recorded };
    tell::<Purchase>(work, &input.purchase_id, record)?;
    let counts_in = |program_id: &&ProgramId| {
        input.program_ids.as_ref().is_none_or(|program_ids| program_ids.contains(program_id))
    };
    if let Some(fingerprint_key) = &input.fingerprint_key {
        let programs: Vec<_> = buyer.programs().iter().filter(counts_in).cloned().collect();
        screening::screen_purchase(work, &input.buyer_user_id, fingerprint_key, &programs)?;
    }
    each(buyer.programs().iter().filter(counts_in), |program_id| evaluate(work, input, program_id))
}

/// A repetition of the same purchase gets the first answer; a different purchase with the same id is refused.
fn repeated(input: &RecordPurchase, recorded: &PurchaseRecorded) -> Halt {
    let same = recorded.buyer_user_id == input.buyer_user_id
        && recorded.amount_minor == input.amount_minor
        && recorded.currency_code == input.currency_code
        && recorded.program_ids == input.program_ids
        && input.purchase_time.is_none_or(|time| time == recorded.purchase_time_us);
    if same {
        let stream = StreamKey::of::<Purchase>(&input.purchase_id);
        Halt::AlreadyRecorded(OwnEvent { stream, event_type: "PurchaseRecorded", field: None })
    } else {
        Refusal::PurchaseIdReused(input.purchase_id.clone()).into()
    }
}

/// Evaluates the purchase in one of the buyer's programs.
fn evaluate(
    work: &mut dyn Work,
    input: &RecordPurchase,
    program_id: &ProgramId,
) -> Result<(), Halt> {
    let program = load::<Program>(work, program_id)?;
    let version = match input.purchase_time {
        Some(time) => program.in_force_at(time),
        None => program.current(),
    };
    let version = version.ok_or(Halt::Broken("a participant of a program that does not exist"))?;
    let rules = &version.rules;
    let buyer_id = ParticipantId::new(program_id, &input.buyer_user_id);
    let buyer = load::<Participant>(work, &buyer_id)?;

    if rules.credit_purchases && rules.unit == input.currency_code {
        let credit = ParticipantCommand::CreditPurchase {
            user_id: input.buyer_user_id.clone(),
            purchase_id: input.purchase_id.clone(),
            amount_minor: input.amount_minor,
            unit: rules.unit.clone(),
        };
        tell::<Participant>(work, &buyer_id, credit)?;
    }

    let purchase = PurchaseOccasion {
        purchase_id: &input.purchase_id,
        amount_minor: input.amount_minor,
        dated: input.purchase_time,
    };
    let occasion = Occasion { version, source: &buyer_id, purchase: Some(purchase) };
    let mut converted = false;
    let withheld = if let Some(reason) = disqualification(rules, &buyer, input) {
        let minimum =
            (reason == WithheldReason::BelowMinimum).then_some(rules.minimum_purchase_minor);
        rewards::withhold_all(work, &occasion, reason, minimum)?
    } else {
        let granted = rewards::grant(work, &occasion)?;
        converted = granted.count > 0;
        if granted.is_for_nobody {
            // Every rule is for a level above the top of the buyer's line.
            rewards::withhold_all(work, &occasion, WithheldReason::NotReferred, None)?
        } else {
            granted.withheld
        }
    };
    for withheld in withheld {
        tell::<Purchase>(work, &input.purchase_id, PurchaseCommand::Withhold(withheld))?;
    }

    if let Some(purchase) = occasion.purchase.as_ref().filter(|_| converted) {
        referral::convert(work, &buyer_id, By::Purchase(purchase))?;
    }
    // Remembered whatever the rules are: those of a later version may pay for a first purchase only.
    let is_insufficient = !is_enough(rules, &buyer, input);
    if buyer.is_first_purchase(is_insufficient) {
        let purchase_id = input.purchase_id.clone();
        let used = ParticipantCommand::UseFirstPurchase { purchase_id, is_insufficient };
        tell::<Participant>(work, &buyer_id, used)?;
    }
    Ok(())
}

/// Why the purchase does not count in the program for any earner.
fn disqualification(
    rules: &ProgramRules,
    buyer: &Participant,
    input: &RecordPurchase,
) -> Option<WithheldReason> {
    if rules.earn_on == EarnOn::Referral {
        return Some(WithheldReason::RewardsReferralsOnly);
    }
    if !is_accepted_currency(rules, input) {
        return Some(WithheldReason::CurrencyNotAccepted);
    }
    if input.amount_minor < rules.minimum_purchase_minor {
        return Some(WithheldReason::BelowMinimum);
    }
    if has_bought(rules, buyer) {
        return Some(WithheldReason::NotFirstPurchase);
    }
    let Some(referral) = buyer.referral() else {
        return Some(WithheldReason::NotReferred);
    };
    rewards::cut_off(rules, referral, input.purchase_time)
}

/// Whether the purchase is enough by the rules, so that it uses up the buyer's first purchase where only a
/// qualifying one does, whether or not the buyer was referred. A purchase before the referral does not, and so does
/// none while the referral does not count, unless it can be made up for.
fn is_enough(rules: &ProgramRules, buyer: &Participant, input: &RecordPurchase) -> bool {
    let is_too_early = |referral| match rewards::cut_off(rules, referral, input.purchase_time) {
        None => false,
        Some(WithheldReason::BeforeReferral) => true,
        Some(_) => !rules.make_up_held_purchases,
    };
    is_accepted_currency(rules, input)
        && input.amount_minor >= rules.minimum_purchase_minor
        && !buyer.referral().is_some_and(is_too_early)
}

fn is_accepted_currency(rules: &ProgramRules, input: &RecordPurchase) -> bool {
    rules.purchase_currency_code.as_ref().is_none_or(|currency| *currency == input.currency_code)
}
