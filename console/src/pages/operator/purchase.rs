//! One purchase: what each program made of it, its refunds, and a refund with a look at what it would take back.

use contract::pb::{GetPurchaseResponse, Money, PreviewRefundResponse, Purchase, PurchaseOutcome};
use maud::{Markup, html};

use super::disputes::{self, Disputes};
use super::holds::holds;
use super::purchases::{is_disputed, is_refunded};
use super::{copyable, program_link, purchase_path, user_link, withheld};
use crate::names::{short, short_text};
use crate::page::{Page, Sidebar, app};
use crate::pages::participant::entries::kind;
use crate::parts::{self, Field, FormKeys, Sent, Tone, badge, table};
use crate::reader::Reader;
use crate::text::operator as text;
use crate::text::participant::minor;

/// What the page shows.
pub struct View<'a> {
    /// The purchase, with what became of it.
    pub purchase: &'a GetPurchaseResponse,
    /// What was sent with the form of a refund, and what is wrong with it.
    pub sent: Sent,
    /// What a refund of this would take back, once it was asked for.
    pub preview: Option<PreviewRefundResponse>,
    /// Whether the amount is another one than was previewed before.
    pub has_changed: bool,
    /// What the form of the refund carries.
    pub keys: FormKeys,
    /// What the forms of disputes show.
    pub disputes: Disputes<'a>,
    /// What the forms of rewards carry.
    pub fresh_keys: &'a dyn Fn() -> FormKeys,
    /// Why something about a reward could not be done.
    pub problem: Option<&'a str>,
    /// What has just been done.
    pub done: Option<&'a str>,
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let purchase = view.purchase.purchase.clone().unwrap_or_default();
    let main = html! {
        (parts::head(&text::purchase(&short_text(&purchase.purchase_id)), "", &html! {}))
        @if let Some(problem) = view.problem { (parts::bad_notice(problem)) }
        div.split {
            div.stack {
                section.card {
                    h2 { (text::PURCHASE) }
                    dl.pairs {
                        dt { (text::ID) } dd { (copyable(&purchase.purchase_id)) }
                        dt { (text::AMOUNT) } dd { (reader.amount(purchase.amount.as_ref())) }
                        dt { (text::BUYER) } dd { (user_link(&purchase.buyer_user_id, reader)) }
                        dt { (text::BOUGHT) } dd { (reader.exact_time(purchase.purchase_time.as_ref())) }
                        dt { (text::RECORDED) } dd { (reader.exact_time(purchase.create_time.as_ref())) }
                        dt { (text::REFUNDED) } dd {
                            (reader.amount(purchase.refunded.as_ref().or(Some(&zero(purchase.amount.as_ref())))))
                        }
                        @if is_disputed(&purchase) {
                            dt { (text::DISPUTED) } dd { (reader.amount(purchase.disputed.as_ref())) }
                        }
                    }
                }
                @for outcome in &view.purchase.outcomes { (self::outcome(outcome, view, reader)) }
                @if view.purchase.outcomes.is_empty() { (parts::notice(text::IN_NO_PROGRAM_THEN)) }
            }
            div.stack {
                (refund(view, &purchase, reader))
                (disputes::open(&purchase, &view.disputes, reader))
                (history(view, &purchase, reader))
            }
        }
    };
    let page = Page {
        reader,
        title: text::PURCHASE,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn zero(amount: Option<&Money>) -> Money {
    Money { minor_units: 0, ..amount.cloned().unwrap_or_default() }
}

/// What a program made of the purchase.
fn outcome(outcome: &PurchaseOutcome, view: &View<'_>, reader: &Reader) -> Markup {
    let purchase = view.purchase.purchase.clone().unwrap_or_default();
    let action = format!("{}/rewards", purchase_path(&purchase.purchase_id));
    let (tone, words) = match (outcome.converted, outcome.qualified) {
        // What once counted does no longer.
        (true, _) | (_, true) if is_refunded(&purchase) => (Tone::Plain, text::REFUNDED),
        (true, _) => (Tone::Good, text::CONVERTED),
        (false, true) => (Tone::Info, text::QUALIFIED),
        (false, false) => (Tone::Plain, text::DOES_NOT_COUNT),
    };
    let head = html! {
        th scope="col" { (text::WHO) }
        th scope="col" { (text::WHAT) }
        th.number scope="col" { (text::AMOUNT) }
    };
    // What nobody would have earned is said once, for the purchase.
    let withheld_from = || outcome.withheld.iter().filter(|of| !of.earner_user_id.is_empty());
    let rows = html! {
        @for reward in &outcome.rewards {
            tr {
                th scope="row" { (user_link(&reward.earner_user_id, reader)) }
                td {
                    (kind(reward.kind()))
                    small { (text::level_and_rule(reward.level, &reward.rule)) }
                    (holds(reward, &action, &(view.fresh_keys)(), reader))
                }
                td.number {
                    (reader.change(reward.amount.as_ref()))
                    @if reward.reversed.as_ref().is_some_and(|of| of.minor_units > 0) {
                        small.bad { (text::taken_back(&reader.words(reward.reversed.as_ref()))) }
                    }
                }
            }
        }
        @for of in withheld_from() {
            tr {
                th scope="row" { (user_link(&of.earner_user_id, reader)) }
                td { (text::WITHHELD) small { (withheld(of.reason())) } }
                td.number { span.soft { (reader.amount(of.computed_amount.as_ref())) } }
            }
        }
    };
    html! {
        section.card.flush {
            div.card-head {
                div {
                    h2 { (program_link(&outcome.program_id, reader)) }
                    p { (text::version(outcome.program_version)) }
                }
                (badge(tone, words))
            }
            @if !outcome.qualified { p.padded.soft { (withheld(outcome.reason())) } }
            @if outcome.credited.as_ref().is_some_and(|of| of.minor_units > 0) {
                p.padded { (text::credited(&reader.words(outcome.credited.as_ref()))) }
            }
            @if !outcome.rewards.is_empty() || withheld_from().next().is_some() { (table(text::REWARDS, &head, &rows)) }
        }
    }
}

/// The form of a refund: first a look at what it would take back, then the refund itself.
fn refund(view: &View<'_>, purchase: &Purchase, reader: &Reader) -> Markup {
    if is_refunded(purchase) {
        return html! {
            section.card {
                h2 { (text::REFUND) }
                (parts::problems(&view.sent))
                p.soft { (text::ALL_REFUNDED) }
            }
        };
    }
    let paid = purchase.amount.clone().unwrap_or_default();
    let left = paid.minor_units.saturating_sub(minor(purchase.refunded.as_ref()));
    let label = crate::text::in_unit(text::REFUND_AMOUNT, &paid.currency_code);
    let left = reader.words(Some(&Money { minor_units: left, ..paid }));
    let hint = text::refund_amount_hint(&left);
    let amount = Field {
        name: "amount",
        label: &label,
        hint: &hint,
        inputmode: "decimal",
        autocomplete: "off",
        ..Field::default()
    };
    let reason = Field {
        name: "reason",
        label: text::REFUND_REASON,
        hint: text::REFUND_REASON_HINT,
        autocomplete: "off",
        ..Field::default()
    };
    let action = reader.to(&purchase_path(&purchase.purchase_id));
    html! {
        section.card {
            h2 { (text::REFUND) }
            (parts::problems(&view.sent))
            form.form method="post" action=(action) {
                (view.keys)
                (amount.html(&view.sent))
                (reason.html(&view.sent))
                @if let Some(preview) = &view.preview {
                    @if view.has_changed { (parts::bad_notice(text::AMOUNT_CHANGED)) }
                    (self::preview(preview, reader))
                    (previewed(preview, &view.sent))
                }
                div.actions {
                    button.button name="step" value="preview" { (text::PREVIEW) }
                    @if view.preview.is_some() {
                        button.button.danger name="step" value="refund" { (text::REFUND_NOW) }
                    }
                }
            }
        }
    }
}

/// What was previewed: the button refunds this, as long as the field of the amount is as it was.
fn previewed(preview: &PreviewRefundResponse, sent: &Sent) -> Markup {
    let amount = preview.amount.clone().unwrap_or_default();
    html! {
        input type="hidden" name="previewed" value=(sent.value("amount").trim());
        input type="hidden" name="previewed_minor" value=(amount.minor_units);
        input type="hidden" name="previewed_unit" value=(amount.currency_code);
    }
}

fn preview(preview: &PreviewRefundResponse, reader: &Reader) -> Markup {
    html! {
        div.notice.warn tabindex="-1" {
            div.stack {
                strong { (text::would_refund(&reader.words(preview.amount.as_ref()))) }
                @if preview.reversals.is_empty() { p { (text::TAKES_NOTHING) } } @else {
                    p { (text::TAKES_BACK) }
                    ul.plain {
                        @for of in &preview.reversals {
                            li {
                                (user_link(&of.user_id, reader)) ": " (reader.amount(of.amount.as_ref())) " "
                                span.soft { (reader.names.program(&of.program_id)) }
                            }
                        }
                    }
                }
                @if !preview.unconverted_program_ids.is_empty() {
                    @let programs = preview.unconverted_program_ids.iter().map(|id| reader.names.program(id));
                    p { (text::unconverts(&programs.collect::<Vec<_>>().join(", "))) }
                }
            }
        }
    }
}

fn history(view: &View<'_>, purchase: &Purchase, reader: &Reader) -> Markup {
    html! {
        @if !purchase.refunds.is_empty() || !purchase.disputes.is_empty() {
            section.card {
                h2 { (text::SO_FAR) }
                ul.plain {
                    @for refund in &purchase.refunds {
                        li.row.apart {
                            span {
                                (text::REFUND) " " code.break { (short(&refund.refund_id)) }
                                @if refund.cancelled { " " (badge(Tone::Plain, text::CANCELLED)) }
                                br; span.soft {
                                    (reader.exact_time(refund.create_time.as_ref())) @if !refund.reason.is_empty() {
                                        ", " (refund.reason)
                                    }
                                }
                            }
                            (reader.amount(refund.amount.as_ref()))
                        }
                    }
                    @for dispute in &purchase.disputes {
                        (disputes::entry(dispute, purchase, &view.disputes, reader))
                    }
                }
            }
        }
    }
}
