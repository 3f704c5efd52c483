//! The dashboard of a participant. What changes while it is shown are the parts with an id, and the feed.

use std::fmt::Write;

use contract::pb::{
    LevelEarnings, Money, ParticipantState, Program, Referral, ReferralStatus, WithheldReward,
};
use maud::{Markup, html};

use super::{Scene, earned, entries, other_sums, path, status, tiers};
use crate::charts::{self, Point};
use crate::icons::{Icon, medal};
use crate::page::{Live, Page, Sidebar, app};
use crate::parts::{self, FormKeys, Happening, badge, counter, empty, failed, live_mark};
use crate::qr::qr;
use crate::reader::Reader;
use crate::text::participant as text;

/// The id of the feed, and how many things it shows.
pub const FEED: &str = "feed";
/// How many things the feed shows.
pub const FEED_LENGTH: usize = 12;

/// What the page shows.
pub struct View<'a> {
    /// Whose page it is.
    pub scene: Scene<'a>,
    /// How things stand.
    pub state: &'a ParticipantState,
    /// How many more people can come by the code; `None` for any number, or if it could not be read.
    pub places: Option<i32>,
    /// What each level has brought; or why it could not be read.
    pub levels: Result<Vec<LevelEarnings>, String>,
    /// What was earned day by day, or why it could not be read.
    pub days: Result<Vec<Point>, String>,
    /// How often the link was opened, or why that could not be read.
    pub visits: Result<i64, String>,
    /// What happened of late, the newest first; or why it could not be read.
    pub feed: Result<Vec<Happening>, String>,
    /// What the page follows.
    pub live: Live,
    /// What has just been done.
    pub done: Option<&'a str>,
    /// What is celebrated.
    pub celebration: Option<Markup>,
}

/// The page.
#[must_use]
pub fn page(view: View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let View { scene, state, places, levels, days, visits, feed, live, done, celebration } = view;
    let program = scene.program;
    let main = html! {
        (parts::head(&text::greeting(scene.name), &program.display_name, &live_mark()))
        @if !state.active { (parts::bad_notice(text::DEACTIVATED)) }
        section.hero aria-label=(text::BALANCE_AND_LINK) {
            (balance(state, program, reader))
            div.sharing {
                (self::places(places, program, reader))
                (share(&scene))
            }
        }
        (counters(state, program, reader))
        div.split.with-feed {
            section.card {
                div.card-head {
                    div { h2 { (text::EARNED_BY_DAY) } p { (text::LAST_DAYS) } }
                    a href=(reader.to(&scene.path("earnings"))) { (text::ALL_EARNINGS) }
                }
                div #days { (chart(&days, program, reader)) }
            }
            div.stack.aside {
                (tier(state, program, reader))
                (limits(&levels, program, reader))
                section.card {
                    h2 { (text::FUNNEL) }
                    (funnel(state, &visits, reader))
                }
            }
            section.card.flush {
                div.card-head { h2 { (text::WHAT_HAPPENED) } }
                @match &feed {
                    Ok(feed) => (happened(feed)),
                    Err(why) => (failed(why)),
                }
            }
        }
    };
    let page =
        Page { reader, title: text::DASHBOARD, live: Some(live), done, celebration, shared: None };
    app(&page, sidebar, &main)
}

/// A dialog that celebrates a tier that was reached. Only the script opens it, which also makes it leave by itself; its
/// form says that it was seen. With `into`, the script puts it into the element of this id.
#[must_use]
pub fn celebration(
    program: &Program,
    tier: &str,
    keys: &FormKeys,
    into: Option<&str>,
    reader: &Reader,
) -> Option<Markup> {
    let tiers = tiers(program);
    let place = tiers.iter().position(|of| of.name == tier)?;
    let id = format!("reached-{}-{place}", program.program_id);
    let title = format!("{id}-title");
    let action = reader.to(&path(&program.program_id, "celebrated"));
    Some(html! {
        dialog.dialog.celebration id=(id) data-celebrate data-into=[into] aria-labelledby=(title) {
            (medal(place, tiers.len()))
            h2 id=(title) { (text::reached(tier)) }
            p.soft { (text::points_each(tiers[place].rate_points)) ". " (text::REACHED_WORDS) }
            form method="post" action=(action) {
                (keys)
                input type="hidden" name="tier" value=(tier);
                div.actions { button.button.first autofocus { (text::GO_ON) } }
            }
        }
    })
}

/// Everything that a change of the state changes: what the page shows of it, and what its stream sends.
#[must_use]
pub fn changed(state: &ParticipantState, program: &Program, reader: &Reader) -> Markup {
    html! {
        (balance(state, program, reader))
        (counters(state, program, reader))
        (tier(state, program, reader))
    }
}

/// The part with the chart, as its stream sends it.
#[must_use]
pub fn changed_days(days: &[Point], program: &Program, reader: &Reader) -> Markup {
    html! { div #days { (charts::line(days, &program.unit, text::EARNED, reader)) } }
}

fn chart(days: &Result<Vec<Point>, String>, program: &Program, reader: &Reader) -> Markup {
    match days {
        Ok(days) => charts::line(days, &program.unit, text::EARNED, reader),
        Err(why) => failed(why),
    }
}

fn balance(state: &ParticipantState, program: &Program, reader: &Reader) -> Markup {
    let buckets = state.buckets.first().cloned().unwrap_or_default();
    let unit = &program.unit;
    let part = |words: &str, amount: Option<&Money>| {
        html! { div { span.soft { (words) } strong data-marked { (reader.amount(amount)) } } }
    };
    html! {
        div #balance {
            h2 { (text::AVAILABLE_TO_YOU) }
            p.big data-marked {
                @match &buckets.available {
                    Some(available) => (reader.amount(Some(available))),
                    None => (reader.amount_of(0, unit)),
                }
            }
            div.parts {
                (part(text::EARNED, Some(&earned(&buckets, unit))))
                (part(text::ON_ITS_WAY, buckets.pending.as_ref()))
                @for (words, amount) in other_sums(&buckets) { (part(words, amount.as_ref())) }
            }
        }
    }
}

/// Says that nobody can come by the code any more; an empty place while somebody can. The style sheet shows the ways to
/// share the code only as long as this says nothing.
#[must_use]
pub fn places(left: Option<i32>, program: &Program, reader: &Reader) -> Markup {
    let all = places_of(program).map(|all| reader.number(all)).unwrap_or_default();
    html! { div #places { @if left == Some(0) { (parts::notice(&text::no_place_left(&all))) } } }
}

/// How many people a participant can bring, by the lower of the limits.
fn places_of(program: &Program) -> Option<i32> {
    [program.max_direct_referrals, program.max_uses_per_code].into_iter().flatten().min()
}

/// The code and the link, and the ways to share it.
fn share(scene: &Scene<'_>) -> Markup {
    let code = &scene.participant.code;
    let link = &scene.participant.link;
    let shown = link.split_once("://").map_or(&**link, |(_, rest)| rest);
    if link.is_empty() {
        return html! {
            div.stack {
                h2 { (text::YOUR_CODE) " " strong.code { (code) } }
                div.row { (copy(code, text::COPY_CODE)) }
            }
        };
    }
    let said = text::shared_with(&scene.program.display_name);
    html! {
        div.share {
            div.stack {
                h2 { (text::YOUR_CODE) " " strong.code { (code) } ". " (text::SHARE_YOUR_LINK) }
                div.share-link {
                    output.clip { (shown) }
                    (copy(link, text::COPY))
                }
                div.row {
                    button.button hidden data-share=(link) title=(said) { (Icon::SHARE) (text::SHARE) }
                    @for (name, address) in addresses(link, &said) {
                        a.button href=(address) target="_blank" rel="noopener noreferrer" { (name) }
                    }
                    a.button.square href=(mail_address(link, &said)) aria-label=(text::BY_MAIL) title=(text::BY_MAIL) {
                        (Icon::MAIL)
                    }
                }
            }
            @if let Some(picture) = qr(link, text::QR_OF_LINK) { (picture) }
        }
    }
}

fn copy(what: &str, words: &str) -> Markup {
    html! { button.button.first type="button" data-copy=(what) { (Icon::COPY) (words) } }
}

/// Where a link is shared, by name.
fn addresses(link: &str, said: &str) -> [(&'static str, String); 3] {
    let (link, both) = (encoded(link), encoded(&format!("{said} {link}")));
    [
        ("WhatsApp", format!("https://wa.me/?text={both}")),
        ("X", format!("https://x.com/intent/post?text={both}")),
        ("LinkedIn", format!("https://www.linkedin.com/sharing/share-offsite/?url={link}")),
    ]
}

fn mail_address(link: &str, said: &str) -> String {
    format!("mailto:?subject={}&body={}", encoded(said), encoded(link))
}

/// A text as part of an address.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn counters(state: &ParticipantState, program: &Program, reader: &Reader) -> Markup {
    let referred = state.pending_count + state.converted_count;
    let places = places_of(program)
        .map_or_else(|| text::NO_LIMIT.into(), |places| text::of_places(&reader.number(places)));
    let rate = charts::percent(state.converted_count.into(), referred.into());
    let converted =
        if referred == 0 { text::NOBODY_YET.into() } else { text::of_those_referred(rate) };
    let number = |count: i32| html! { (reader.number(count)) };
    let rank = match state.rank {
        0 => html! { "–" },
        rank => html! { "#" (reader.number(rank)) },
    };
    html! {
        section.grid.small #counters aria-label=(text::COUNTERS) {
            (counter("referred", Icon::PEOPLE, text::REFERRED, &number(referred), &places))
            (counter("pending", Icon::CLOCK, text::PENDING, &number(state.pending_count), &held(state.held_count)))
            (counter("converted", Icon::CHECK, text::CONVERTED, &number(state.converted_count), &converted))
            (counter("rank", Icon::TROPHY, text::RANK, &rank, text::ON_THE_LEADERBOARD))
        }
    }
}

fn held(count: i32) -> String {
    if count == 0 { text::HAVE_NOT_CONVERTED.into() } else { text::also_held(count) }
}

/// The tier and the way to the next one; an empty place if the program has none.
fn tier(state: &ParticipantState, program: &Program, reader: &Reader) -> Markup {
    let tiers = tiers(program);
    if tiers.is_empty() {
        return html! {};
    }
    let place = tiers.iter().position(|tier| tier.name == state.tier).unwrap_or(0);
    let present = tiers.get(place);
    let count = state.pending_count + state.converted_count;
    html! {
        section.card #tier {
            div.tier {
                (medal(place, tiers.len()))
                div {
                    h2 { (state.tier) }
                    @if let Some(present) = present { p.soft { (text::points_each(present.rate_points)) } }
                }
            }
            @match tiers.get(place + 1) {
                Some(next) => {
                    (charts::meter(
                        &text::next_from(&next.name, next.from_referrals),
                        &html! { (text::so_many_of(&reader.number(count), &reader.number(next.from_referrals))) },
                        count.into(),
                        next.from_referrals.into(),
                    ))
                }
                None => { p.soft { (text::HIGHEST_TIER) } }
            }
        }
    }
}

/// What can still be earned at levels that have a cap.
#[must_use]
pub fn limits(
    levels: &Result<Vec<LevelEarnings>, String>,
    program: &Program,
    reader: &Reader,
) -> Markup {
    let levels = match levels {
        Ok(levels) => levels,
        Err(why) => return html! { section.card.flush #limits { (failed(why)) } },
    };
    let capped = || {
        levels
            .iter()
            .filter_map(|level| Some((level, level.cap.as_ref()?, level.remaining.as_ref()?)))
    };
    if capped().next().is_none() {
        return html! {};
    }
    html! {
        section.card #limits {
            h2 { (text::STILL_TO_EARN) }
            @for (level, cap, remaining) in capped() {
                (charts::meter(
                    &text::level(level.level),
                    &html! { (text::left(&reader.minor(remaining.minor_units, &program.unit), &cap.currency_code)) },
                    cap.minor_units - remaining.minor_units,
                    cap.minor_units,
                ))
            }
        }
    }
}

/// The way from the link to a reward, as the page shows it and as its stream sends it.
#[must_use]
pub fn funnel(state: &ParticipantState, visits: &Result<i64, String>, reader: &Reader) -> Markup {
    let converted = i64::from(state.converted_count);
    let signed_up = i64::from(state.pending_count) + converted;
    html! {
        div.stack #funnel {
            (parts::funnel(visits, signed_up, converted, reader))
            p.soft { (crate::text::VISITS_WORDS) }
        }
    }
}

fn happened(feed: &[Happening]) -> Markup {
    html! {
        ul.feed role="list" id=(FEED) data-limit=(FEED_LENGTH) {
            @for happening in feed { (happening.html(None)) }
        }
        @if feed.is_empty() {
            div id={ (FEED) "-empty" } {
                (empty(Icon::SHARE, text::NOTHING_HAPPENED, text::NOTHING_HAPPENED_WORDS, &html! {}))
            }
        }
    }
}

/// A referral as something that happened: somebody came, or their referral has another status.
#[must_use]
pub fn referral(referral: &Referral, name: &str, reader: &Reader) -> Happening {
    let (tone, words) = status(referral.status());
    let time = referral.create_time.unwrap_or_default();
    let what = match referral.status() {
        ReferralStatus::Converted => text::has_converted(name),
        ReferralStatus::Rejected => text::was_rejected(name),
        ReferralStatus::Held => text::is_held(name),
        ReferralStatus::Pending | ReferralStatus::Unspecified => text::has_joined(name),
    };
    Happening {
        id: format!("referral-{}-{}-{}", time.seconds, time.nanos, referral.status),
        icon: Icon::PEOPLE,
        tone,
        what: html! { (what) },
        when: reader.time(referral.create_time.as_ref()),
        value: badge(tone, words),
    }
}

/// An entry of the ledger as something that happened.
pub use entries::{Rules, happening as entry};
/// Something that was not granted as something that happened.
#[must_use]
pub fn withheld(of: &WithheldReward, rules: Rules<'_>, reader: &Reader) -> Happening {
    entries::withheld_happening(of, false, rules, reader)
}
