//! What one person has in one program: the balance with all that explains it, rewards that can be held and released,
//! and the form that corrects the balance.

use contract::pb::{Approval, BalanceEntry, BucketBalances, Money, Program, Reward, User};
use maud::{Markup, html};

use super::holds::holds;
use super::{approvals, name, purchase_path, user_link, user_path};
use crate::icons::Icon;
use crate::page::{Page, Sidebar, app};
use crate::pages::participant::entries::{self, Rules};
use crate::parts::{self, Field, FormKeys, Sent, empty, failed, table, table_foot};
use crate::reader::{Reader, segment};
use crate::text::money as text;

/// What the page shows.
pub struct View<'a> {
    /// The person.
    pub user: &'a User,
    /// The program.
    pub program: &'a Program,
    /// What the balance consists of.
    pub buckets: &'a BucketBalances,
    /// The rewards, the newest first.
    pub rewards: Result<Vec<Reward>, String>,
    /// The newest entries of the ledger.
    pub entries: Result<Vec<BalanceEntry>, String>,
    /// Other versions of the program, by which something in the ledger was granted.
    pub others: &'a [Program],
    /// What waits for another operator.
    pub approvals: &'a [Approval],
    /// Who reads, as the log names them.
    pub reader_is: &'a str,
    /// What a form carries.
    pub keys: &'a dyn Fn() -> FormKeys,
    /// What was sent with the form of an adjustment, what is wrong with it, and what it carries.
    pub sent: (Sent, FormKeys),
    /// Why something else could not be done.
    pub problem: Option<&'a str>,
    /// What has just been done.
    pub done: Option<&'a str>,
    /// The path of the next page of rewards; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page of rewards.
    pub is_later: bool,
}

impl View<'_> {
    fn path(&self) -> String {
        path(&self.user.user_id, &self.program.program_id)
    }
}

/// The path of what somebody has in a program.
#[must_use]
pub fn path(user_id: &str, program_id: &str) -> String {
    format!("{}/balance/{}", user_path(user_id), segment(program_id))
}

/// The page.
#[must_use]
pub fn page(view: &View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let title = text::balance_of(name(view.user));
    let to_person = parts::link(reader, &user_path(&view.user.user_id), text::TO_THE_PERSON, false);
    let main = html! {
        (parts::head(&title, &view.program.display_name, &to_person))
        @if let Some(problem) = view.problem { (parts::bad_notice(problem)) }
        (buckets(view.buckets, reader))
        @for approval in view.approvals {
            (approvals::card(approval, view.reader_is, &view.path(), view.keys, reader))
        }
        div.split {
            div.stack {
                section.card.flush {
                    div.card-head { h2 { (text::REWARDS) } }
                    @match &view.rewards {
                        Ok(found) if found.is_empty() => (empty(
                            Icon::GIFT,
                            text::NO_REWARDS,
                            text::NO_REWARDS_WORDS,
                            &html! {},
                        )),
                        Ok(found) => { (rewards(found, view, reader)) }
                        Err(why) => (failed(why)),
                    }
                }
                section.card.flush {
                    div.card-head { h2 { (text::LEDGER) } }
                    @match &view.entries {
                        Ok(found) if found.is_empty() => (empty(
                            Icon::LIST,
                            text::NO_ENTRIES,
                            text::NO_ENTRIES_WORDS,
                            &html! {},
                        )),
                        Ok(found) => (ledger(found, Rules { program: view.program, others: view.others }, reader)),
                        Err(why) => (failed(why)),
                    }
                }
            }
            (adjust(view, reader))
        }
    };
    let page = Page {
        reader,
        title: &title,
        live: None,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

fn buckets(buckets: &BucketBalances, reader: &Reader) -> Markup {
    let of = |name: &str, amount: &Option<Money>| {
        html! { div { dt { (name) } dd { (reader.amount(amount.as_ref())) } } }
    };
    html! {
        section.card {
            dl.sums {
                (of(text::AVAILABLE, &buckets.available))
                (of(text::PENDING, &buckets.pending))
                (of(text::RESERVED, &buckets.reserved))
            }
            hr;
            dl.sums {
                (of(text::GRANTED, &buckets.earned))
                (of(text::CREDITED, &buckets.credited))
                (of(text::ADJUSTED, &buckets.adjusted))
                (of(text::REVERSED, &buckets.reversed))
                (of(text::SPENT, &buckets.spent))
                (of(text::PAID, &buckets.paid))
                (of(text::EXPIRED, &buckets.expired))
            }
        }
    }
}

fn rewards(found: &[Reward], view: &View<'_>, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::REWARD) }
        th.wide scope="col" { (text::BY) }
        th.number scope="col" { (text::AMOUNT) }
    };
    let action = format!("{}/rewards", view.path());
    let is_some = |amount: &Option<Money>| amount.as_ref().is_some_and(|of| of.minor_units != 0);
    let rows = html! {
        @for reward in found {
            tr {
                th scope="row" {
                    (entries::kind(reward.kind()))
                    small { (text::level_and_rule(reward.level, &reward.rule)) }
                    small { (reader.exact_time(reward.create_time.as_ref())) }
                    (holds(reward, &action, &(view.keys)(), reader))
                }
                td.wide {
                    (user_link(&reward.source_user_id, reader))
                    @if !reward.purchase_id.is_empty() {
                        small { a.break href=(reader.to(&purchase_path(&reward.purchase_id))) { (reward.purchase_id) } }
                    }
                }
                td.number {
                    (reader.change(reward.amount.as_ref()))
                    @if is_some(&reward.pending) { small { (text::pending(&reader.words(reward.pending.as_ref()))) } }
                    @if is_some(&reward.reversed) {
                        small.bad { (text::taken_back(&reader.words(reward.reversed.as_ref()))) }
                    }
                }
            }
        }
    };
    html! {
        (table(text::REWARDS, &head, &rows))
        (table_foot(
            reader,
            &text::so_many_rewards(found.len()),
            view.next.as_deref(),
            view.is_later.then_some(&*view.path()),
        ))
    }
}

fn ledger(found: &[BalanceEntry], rules: Rules<'_>, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::ENTRY) }
        th.wide.when scope="col" { (text::WHEN) }
        th.number scope="col" { (text::AMOUNT) }
        th.number.wide scope="col" { (text::BALANCE) }
    };
    let rows = html! {
        @for entry in found {
            @let words = entries::words(entry, rules, reader);
            tr {
                th scope="row" {
                    (words.title)
                    small.phone.when { (reader.exact_time(entry.create_time.as_ref())) }
                    @if !words.detail.is_empty() { small.break { (words.detail) } }
                    @if !entry.note.is_empty() { small.break { (entry.note) } }
                }
                td.wide.when { (reader.exact_time(entry.create_time.as_ref())) }
                (entries::amount_cell(entry, reader))
                td.number.wide { (reader.amount(entry.balance.as_ref())) }
            }
        }
    };
    table(text::LEDGER, &head, &rows)
}

fn adjust(view: &View<'_>, reader: &Reader) -> Markup {
    let (sent, keys) = &view.sent;
    let field =
        |name, label, hint| Field { name, label, hint, autocomplete: "off", ..Field::default() };
    let label = crate::text::in_unit(text::AMOUNT, &view.program.unit);
    let amount = Field { required: true, ..field("amount", &label, text::SIGNED_HINT) };
    let reason =
        Field { required: true, ..field("reason_code", text::REASON, text::REASON_CODE_HINT) };
    let note = field("note", text::NOTE, text::NOTE_HINT);
    html! {
        section.card {
            h2 { (text::ADJUST) }
            p.soft { (text::ADJUST_WORDS) }
            (parts::problems(sent))
            form.form method="post" action=(reader.to(&view.path())) {
                (keys)
                (amount.html(sent))
                (reason.html(sent))
                (note.html(sent))
                div.actions { button.button.first { (text::ADJUST_NOW) } }
            }
        }
    }
}
