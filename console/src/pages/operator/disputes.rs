//! Disputes about a purchase: opening one, changing its amount, saying how it ended.

use contract::pb::{Dispute, DisputeState, Purchase};
use maud::{Markup, html};

use super::purchase_path;
use crate::parts::{self, Field, FormKeys, Sent, Tone, badge};
use crate::reader::Reader;
use crate::text::operator as text;

/// What the forms of disputes show.
pub struct Disputes<'a> {
    /// What was sent about which dispute, and what is wrong with it; the id is empty if it was to be opened.
    pub sent: Option<(&'a str, &'a Sent)>,
    /// What the form of a dispute carries, by its id, empty for a new one.
    pub keys: &'a dyn Fn(&str) -> FormKeys,
}

impl Disputes<'_> {
    fn sent_about(&self, dispute_id: &str) -> Option<&Sent> {
        self.sent.filter(|(of, _)| *of == dispute_id).map(|(_, sent)| sent)
    }
}

fn action(purchase: &Purchase) -> String {
    format!("{}/disputes", purchase_path(&purchase.purchase_id))
}

/// The field of the disputed amount, in the currency of the purchase.
fn amount(purchase: &Purchase, id: &str, hint: &str, sent: &Sent) -> Markup {
    let unit = purchase.amount.as_ref().map_or("", |amount| &amount.currency_code);
    let label = crate::text::in_unit(text::DISPUTED_AMOUNT, unit);
    let field = Field {
        name: "amount",
        id,
        label: &label,
        hint,
        inputmode: "decimal",
        autocomplete: "off",
        ..Field::default()
    };
    field.html(sent)
}

/// The form that opens a dispute.
pub(super) fn open(purchase: &Purchase, disputes: &Disputes<'_>, reader: &Reader) -> Markup {
    let unsent = Sent::default();
    let sent = disputes.sent_about("").unwrap_or(&unsent);
    let hint = text::disputed_amount_hint(&reader.words(purchase.amount.as_ref()));
    let id = Field {
        name: "dispute_id",
        label: text::DISPUTE_ID,
        hint: text::DISPUTE_ID_HINT,
        autocomplete: "off",
        ..Field::default()
    };
    html! {
        section.card {
            h2 { (text::DISPUTE) }
            p.soft { (text::DISPUTE_WORDS) }
            details open[disputes.sent_about("").is_some()] {
                summary { (text::OPEN_DISPUTE) "…" }
                (parts::problems(sent))
                form.form.below method="post" action=(reader.to(&action(purchase))) {
                    ((disputes.keys)(""))
                    (amount(purchase, "disputed", &hint, sent))
                    (id.html(sent))
                    div.actions { button.button.danger name="step" value="open" { (text::OPEN_DISPUTE) } }
                }
            }
        }
    }
}

/// A dispute in the history of its purchase, with what can be done about it while it is open.
pub(super) fn entry(
    dispute: &Dispute,
    purchase: &Purchase,
    disputes: &Disputes<'_>,
    reader: &Reader,
) -> Markup {
    let (tone, words) = state(dispute.state());
    html! {
        li {
            div.row.apart {
                span {
                    (text::DISPUTE) " " code.break { (crate::names::short(&dispute.dispute_id)) } " "
                    (badge(tone, words))
                    br;
                    span.soft { (reader.exact_time(dispute.create_time.as_ref())) }
                }
                (reader.amount(dispute.amount.as_ref()))
            }
            @if dispute.state() == DisputeState::Open { (decide(dispute, purchase, disputes, reader)) }
            @else if let Some(sent) = disputes.sent_about(&dispute.dispute_id) { (parts::problems(sent)) }
        }
    }
}

fn decide(
    dispute: &Dispute,
    purchase: &Purchase,
    disputes: &Disputes<'_>,
    reader: &Reader,
) -> Markup {
    let unsent = Sent::default();
    let sent = disputes.sent_about(&dispute.dispute_id);
    let id = format!("disputed-{}", dispute.dispute_id);
    let ends = [
        ("won", text::WON_NOW, "button"),
        ("withdrawn", text::WITHDRAWN_NOW, "button"),
        ("lost", text::LOST_NOW, "button danger"),
    ];
    html! {
        details open[sent.is_some()] {
            summary { (text::DECIDE_DISPUTE) "…" span.unseen { " " (dispute.dispute_id) } }
            (parts::problems(sent.unwrap_or(&unsent)))
            form.form.below method="post" action=(reader.to(&action(purchase))) {
                ((disputes.keys)(&dispute.dispute_id))
                input type="hidden" name="of" value=(dispute.dispute_id);
                (amount(purchase, &id, text::NEW_AMOUNT_HINT, sent.unwrap_or(&unsent)))
                div.actions {
                    button.button name="step" value="change" { (text::CHANGE_AMOUNT) }
                    @for (step, words, class) in ends { button class=(class) name="step" value=(step) { (words) } }
                }
            }
        }
    }
}

fn state(state: DisputeState) -> (Tone, &'static str) {
    match state {
        DisputeState::Open => (Tone::Warn, text::OPEN),
        DisputeState::Won => (Tone::Good, text::WON),
        DisputeState::Withdrawn => (Tone::Plain, text::WITHDRAWN),
        DisputeState::Lost => (Tone::Bad, text::LOST),
        DisputeState::Unspecified => (Tone::Plain, "–"),
    }
}
