//! Whom a person has brought into each program, and what they were granted last, on the page of that person.

use contract::pb::{GetReferralStatsResponse, ReferralDetail, Reward};
use maud::{Markup, html};

use super::person::Membership;
use super::{balance, purchase_path, user_link};
use crate::icons::Icon;
use crate::names::short;
use crate::pages::participant::entries::kind;
use crate::pages::participant::status;
use crate::parts::{badge, empty, failed, table};
use crate::reader::Reader;
use crate::text::operator as text;

/// How many referrals are shown of a program: this is a summary.
const REFERRALS: usize = 5;
/// How many rewards are shown.
const REWARDS: usize = 10;

/// Whom the person has brought, a part for each program in which there is somebody.
pub(super) fn referrals(memberships: &[Membership], reader: &Reader) -> Markup {
    let has_any = |of: &&Membership| match &of.referrals {
        Ok(found) => !found.recent_referrals.is_empty(),
        Err(_) => true,
    };
    let found: Vec<&Membership> = memberships.iter().filter(has_any).collect();
    html! {
        section.card.flush #brought {
            div.card-head { h2 { (text::BROUGHT) } }
            @if found.is_empty() { (empty(Icon::PEOPLE, text::BROUGHT_NOBODY, text::BROUGHT_NOBODY_WORDS, &html! {})) }
            @for of in found {
                @match &of.referrals {
                    Ok(found) => (in_program(of, found, reader)),
                    Err(why) => (failed(why)),
                }
            }
        }
    }
}

fn in_program(of: &Membership, found: &GetReferralStatsResponse, reader: &Reader) -> Markup {
    let head = html! {
        th scope="col" { (text::WHO) }
        th scope="col" { (text::STATUS) }
        th.wide scope="col" { (text::SINCE) }
        th.number scope="col" { (text::BROUGHT_IN) }
    };
    let rows = html! { @for detail in found.recent_referrals.iter().take(REFERRALS) { (row(detail, reader)) } };
    let counts = text::by_status_of_person(
        found.referral_count,
        found.pending_count,
        found.converted_count,
        found.held_count,
    );
    html! {
        p.padded {
            strong { (of.program) } " "
            span.soft { (counts) @if found.recent_referrals.len() > REFERRALS { (text::NEWEST_OF_THEM) } }
        }
        (table(&text::brought_in_program(&of.program), &head, &rows))
    }
}

fn row(detail: &ReferralDetail, reader: &Reader) -> Markup {
    let referral = detail.referral.clone().unwrap_or_default();
    let (tone, words) = status(referral.status());
    html! {
        tr {
            th scope="row" { (user_link(&referral.referee_user_id, reader)) }
            td { (badge(tone, words)) }
            td.wide { (reader.exact_time(referral.create_time.as_ref())) }
            td.number { (reader.amount(detail.brought_in.as_ref())) }
        }
    }
}

/// What the person was granted last, in all programs.
pub(super) fn rewards(memberships: &[Membership], reader: &Reader) -> Markup {
    let mut found: Vec<&Reward> =
        memberships.iter().filter_map(|of| of.rewards.as_ref().ok()).flatten().collect();
    let time = |of: &Reward| of.create_time.map_or((0, 0), |time| (time.seconds, time.nanos));
    found.sort_by_key(|of| std::cmp::Reverse(time(of)));
    found.truncate(REWARDS);
    let failure = memberships.iter().find_map(|of| of.rewards.as_ref().err());
    let head = html! {
        th scope="col" { (text::WHAT) }
        th.wide scope="col" { (text::FROM_WHOM) }
        th.number scope="col" { (text::AMOUNT) }
    };
    let rows = html! {
        @for reward in &found {
            tr {
                th scope="row" {
                    (kind(reward.kind()))
                    small {
                        a href=(reader.to(&balance::path(&reward.earner_user_id, &reward.program_id))) {
                            (reader.names.program(&reward.program_id))
                        }
                    }
                    small { (reader.exact_time(reward.create_time.as_ref())) }
                }
                td.wide {
                    (user_link(&reward.source_user_id, reader))
                    @if !reward.purchase_id.is_empty() {
                        small {
                            a.break href=(reader.to(&purchase_path(&reward.purchase_id))) {
                                (short(&reward.purchase_id))
                            }
                        }
                    }
                }
                td.number { (reader.change(reward.amount.as_ref())) }
            }
        }
    };
    html! {
        section.card.flush #rewards {
            div.card-head { h2 { (text::LAST_REWARDS) } }
            @if let Some(why) = failure { (failed(why)) }
            @if !found.is_empty() {
                (table(text::LAST_REWARDS, &head, &rows))
            } @else if failure.is_none() {
                (empty(Icon::COIN, text::NO_REWARDS_YET, text::NO_REWARDS_WORDS, &html! {}))
            }
        }
    }
}
