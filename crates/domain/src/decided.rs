//! What was said when a payout or one of its lines was decided, and what is left to do about it, in words.

use super::{PayoutKey, PayoutLineId, PayoutLineState, PayoutState, ProviderReference};

/// What was said when a payout or a line was decided. The same again is a repetition; anything else is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecidedAs {
    /// Why it failed or came back.
    pub reason_code: Option<String>,
    /// What the provider calls the transfer; of a line that came back, what it calls that.
    pub provider_reference: Option<ProviderReference>,
    /// What the provider calls the transfer by which a line was paid that came back.
    pub paid_reference: Option<ProviderReference>,
}

impl DecidedAs {
    fn reference(&self) -> String {
        reference(self.provider_reference.as_ref())
    }

    fn reason_and_reference(&self) -> String {
        format!("{} and {}", given("reason_code", self.reason_code.as_deref()), self.reference())
    }
}

fn reference(of: Option<&ProviderReference>) -> String {
    given("provider_reference", of.map(ProviderReference::as_str))
}

fn given(field: &str, value: Option<&str>) -> String {
    value.map_or_else(|| format!("without {field}"), |value| format!("with {field} '{value}'"))
}

/// Why nothing else can be said about the whole of a payout.
pub(super) fn of_payout(payout: &PayoutKey, state: PayoutState, said: &DecidedAs) -> String {
    match state {
        PayoutState::Failing | PayoutState::Failed => format!(
            "payout '{payout}' has failed already, {}: only the same call again is answered; what it had set aside is \
             available for another payout",
            said.reason_and_reference()
        ),
        // Of one that collects or is open everything can be said.
        PayoutState::Collecting
        | PayoutState::Open
        | PayoutState::Confirming
        | PayoutState::Confirmed => format!(
            "payout '{payout}' is confirmed already, {}: only the same call again is answered; ReturnPayoutLine takes \
             a line back whose transfer came back",
            said.reference()
        ),
    }
}

/// Why a line cannot do what is asked of it.
pub(super) fn of_line(line_id: &PayoutLineId, state: PayoutLineState, said: &DecidedAs) -> String {
    let PayoutLineId { payout, user_id } = line_id;
    let line = format!("the line of user '{user_id}' in payout '{payout}'");
    match state {
        PayoutLineState::None | PayoutLineState::Skipped => {
            format!(
                "{line} is skipped: the user gets nothing by it, so nothing can be paid, fail or come back"
            )
        }
        PayoutLineState::Reserved => format!(
            "{line} is reserved and not paid yet, so nothing can come back: ConfirmPayout pays it, FailPayout gives it \
             up"
        ),
        PayoutLineState::Paid => format!(
            "{line} is paid already, {}: only the same call again is answered; if the transfer came back, call \
             ReturnPayoutLine",
            said.reference()
        ),
        PayoutLineState::Failed => format!(
            "{line} has failed already, {}: only the same call again is answered; the amount is available for another \
             payout",
            said.reason_and_reference()
        ),
        PayoutLineState::Returned => format!(
            "{line} was paid already, {}, and came back, {}: only the same calls again are answered; the amount is \
             available for another payout",
            reference(said.paid_reference.as_ref()),
            said.reason_and_reference()
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn words_say_what_was_said_and_what_is_left_to_do() {
        let line_id = PayoutLineId::parse("cash/may/ana").unwrap();
        let said = DecidedAs {
            reason_code: Some("closed-account".into()),
            provider_reference: Some(ProviderReference::parse("po_1").unwrap()),
            paid_reference: None,
        };
        let returned = DecidedAs {
            paid_reference: Some(ProviderReference::parse("po_0").unwrap()),
            ..said.clone()
        };
        let nothing = DecidedAs::default();
        for (state, said, parts) in [
            (PayoutLineState::Skipped, &nothing, ["is skipped", "gets nothing"]),
            (PayoutLineState::Reserved, &nothing, ["not paid yet", "ConfirmPayout"]),
            (PayoutLineState::Paid, &said, ["with provider_reference 'po_1'", "ReturnPayoutLine"]),
            (PayoutLineState::Paid, &nothing, ["without provider_reference", "ReturnPayoutLine"]),
            (PayoutLineState::Failed, &said, ["'closed-account' and with", "another payout"]),
            (PayoutLineState::Returned, &nothing, ["came back, without reason_code", "another"]),
            (
                PayoutLineState::Returned,
                &returned,
                ["paid already, with provider_reference 'po_0'", "came back, with reason_code"],
            ),
        ] {
            let words = of_line(&line_id, state, said);
            assert!(words.starts_with("the line of user 'ana' in payout 'cash/may'"), "{words}");
            assert!(parts.iter().all(|part| words.contains(part)), "{state:?}: {words}");
        }
        for (state, parts) in [
            (
                PayoutState::Confirming,
                ["is confirmed already, with provider_reference 'po_1'", "Return"],
            ),
            (PayoutState::Failed, ["has failed already, with reason_code", "another payout"]),
        ] {
            let words = of_payout(&line_id.payout, state, &said);
            assert!(parts.iter().all(|part| words.contains(part)), "{state:?}: {words}");
        }
    }
}
