//! One fraud flag: its evidence, what hangs on the decision, and what was decided before.

use contract::pb::{BucketBalances, FraudFlag, Money, PurchaseDetail};
use maud::{Markup, html};

use super::actor;
use super::fraud::{Form, card, decision, keys_help, problem, title};
use crate::icons::Icon;
use crate::page::{Live, Page, Sidebar, app};
use crate::parts::{self, FormKeys, Sent, badge, empty, failed, live_mark};
use crate::reader::Reader;
use crate::text::review as text;

/// What the referrer has from the referee.
pub struct Granted {
    /// How many rewards.
    pub count: usize,
    /// Whether there are more than were added up.
    pub is_more: bool,
    /// What was granted.
    pub amount: Money,
    /// What of it is pending.
    pub pending: Money,
    /// What of it was taken back.
    pub reversed: Money,
}

/// What hangs on the decision.
pub struct Stake {
    /// What the referrer has from the referee.
    pub granted: Result<Granted, String>,
    /// What the referrer has in all.
    pub buckets: Result<Option<BucketBalances>, String>,
    /// What the referee has bought, the newest first.
    pub purchases: Result<Vec<PurchaseDetail>, String>,
    /// How many of these purchases earn nothing while the referral is held.
    pub waiting: usize,
}

/// What the page shows.
pub struct View<'a> {
    /// The flag.
    pub flag: &'a FraudFlag,
    /// What hangs on it; nothing if there is no account.
    pub stake: Option<Stake>,
    /// What the form carries.
    pub keys: FormKeys,
    /// What was sent and was refused.
    pub sent: Sent,
    /// What has just been done.
    pub done: Option<&'a str>,
    /// What the page follows.
    pub live: Live,
}

/// The page.
#[must_use]
pub fn page(view: View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let actions = html! { (live_mark()) (keys_help()) (parts::link(reader, "/o/fraud", text::TO_THE_QUEUE, false)) };
    let action = format!("/o/fraud/{}", view.flag.flag_id);
    let form = Form { action: &action, filter: None, keys: view.keys, sent: &view.sent };
    let main = html! {
        (parts::head(&title(view.flag, reader), "", &actions))
        (problem(&view.sent))
        div data-queue { (card(view.flag, &form, None, reader)) }
        @if let Some(stake) = &view.stake { (self::stake(stake, reader)) }
        (notes(view.flag, reader))
    };
    let page = Page {
        reader,
        title: text::FRAUD,
        live: Some(view.live),
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn stake(stake: &Stake, reader: &Reader) -> Markup {
    html! {
        section.card.flush {
            div.card-head { div { h2 { (text::AT_STAKE) } p { (text::AT_STAKE_WORDS) } } }
            div.padded {
                @match (&stake.granted, &stake.buckets) {
                    (Ok(granted), Ok(buckets)) => (sums(granted, buckets.as_ref(), reader)),
                    (Err(why), _) | (_, Err(why)) => (failed(why)),
                }
                @if stake.waiting > 0 { p.below { (text::so_many_wait(stake.waiting)) } }
            }
            @match &stake.purchases {
                Ok(found) if found.is_empty() => (empty(
                    Icon::CART,
                    text::BOUGHT_NOTHING,
                    text::BOUGHT_NOTHING_WORDS,
                    &html! {},
                )),
                Ok(found) => (super::purchases::list(found, false, reader)),
                Err(why) => (failed(why)),
            }
        }
    }
}

fn sums(granted: &Granted, buckets: Option<&BucketBalances>, reader: &Reader) -> Markup {
    let count = i128::try_from(granted.count).unwrap_or_default();
    html! {
        dl.sums {
            div { dt { (text::REWARDS_SO_FAR) } dd.number { (reader.number(count)) @if granted.is_more { "+" } } }
            div { dt { (text::GRANTED) } dd { (reader.amount(Some(&granted.amount))) } }
            div { dt { (text::PENDING) } dd { (reader.amount(Some(&granted.pending))) } }
            div { dt { (text::TAKEN_BACK) } dd { (reader.amount(Some(&granted.reversed))) } }
            @if let Some(buckets) = buckets {
                div { dt { (text::REFERRER_HAS) } dd { (reader.amount(buckets.available.as_ref())) } }
            }
        }
    }
}

fn notes(flag: &FraudFlag, reader: &Reader) -> Markup {
    html! {
        @if !flag.notes.is_empty() {
            section.card {
                h2 { (text::DECISIONS) }
                ul.plain {
                    @for note in &flag.notes {
                        @let (tone, words) = decision(note.decision());
                        li {
                            div.row {
                                (badge(tone, words)) span.soft {
                                    (actor(&note.author, reader)) ", " (reader.exact_time(note.note_time.as_ref()))
                                }
                            }
                            p.break { (note.note) }
                        }
                    }
                }
            }
        }
    }
}
