//! The fraud queue: flags with their evidence side by side, and what can be decided about each.

use contract::pb::{
    FraudDecision, FraudFinding, FraudFlag, FraudFlagKind, FraudFlagState, FraudOccasion,
    FraudParty, FraudPolicy, Program, ReferralStatus,
};
use maud::{Markup, html};

use super::{actor, user_link, user_path};
use crate::icons::Icon;
use crate::page::{Live, Page, Sidebar, app};
use crate::pages::participant::status;
use crate::parts::{self, FormKeys, Sent, Tone, badge, empty, live_mark, table_foot};
use crate::reader::Reader;
use crate::text::review as text;

/// The list that flags are put into when they are raised.
pub const QUEUE: &str = "queue";

/// Kinds of flags as addresses name them, the gravest first.
pub const KINDS: [(&str, FraudFlagKind); 9] = [
    ("same_mailbox", FraudFlagKind::SameMailbox),
    ("self_referral", FraudFlagKind::SelfReferral),
    ("look_alike", FraudFlagKind::LookAlike),
    ("near_duplicate", FraudFlagKind::NearDuplicate),
    ("fingerprint", FraudFlagKind::Fingerprint),
    ("mutual_referral", FraudFlagKind::MutualReferral),
    ("referral_burst", FraudFlagKind::ReferralBurst),
    ("sign_ups_per_address", FraudFlagKind::SignUpsPerAddress),
    ("disposable_domain", FraudFlagKind::DisposableDomain),
];

/// Which flags are shown, as the address of the page says it. What is empty is not limited; without a state, flags are
/// shown that are open.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Empty, `resolved` or `all`.
    pub state: String,
    /// A kind, by its name in [`KINDS`].
    pub kind: String,
    /// A program.
    pub program: String,
    /// Somebody whom the flags name.
    pub user: String,
    /// Empty for the newest first, or `gravest`.
    pub order: String,
}

impl Filter {
    /// The filter by the names in addresses and forms.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, &str); 5] {
        [
            ("state", &self.state),
            ("kind", &self.kind),
            ("program", &self.program),
            ("user", &self.user),
            ("order", &self.order),
        ]
    }
}

/// What the page shows.
pub struct View<'a> {
    /// The flags.
    pub flags: &'a [FraudFlag],
    /// Which flags they are.
    pub filter: &'a Filter,
    /// The addresses of open, of resolved and of all flags, otherwise filtered alike.
    pub states: [String; 3],
    /// The programs that one can choose from.
    pub programs: &'a [Program],
    /// Whether only the newest of many flags were put in order.
    pub is_part: bool,
    /// What a form carries.
    pub keys: &'a dyn Fn() -> FormKeys,
    /// What was sent about a flag and was refused.
    pub sent: Option<(&'a str, &'a Sent)>,
    /// What has just been done.
    pub done: Option<&'a str>,
    /// The path of the next page; `None` if there is none.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
    /// What the page follows.
    pub live: Option<Live>,
}

/// The page.
#[must_use]
pub fn page(view: View<'_>, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let actions = html! { (live_mark()) (keys_help()) };
    let unsent = Sent::default();
    let [open, resolved, all] = &view.states;
    let states = [
        (open, "", text::OPEN_ONES),
        (resolved, "resolved", text::RESOLVED_ONES),
        (all, "all", text::ALL_FLAGS),
    ];
    let main = html! {
        (parts::head(text::FRAUD, text::FRAUD_WORDS, &actions))
        @if let Some((_, sent)) = view.sent { (problem(sent)) }
        div.row.apart {
            nav.segments.scroll aria-label=(text::STATE) {
                @for (path, name, words) in states {
                    a href=(reader.to(path)) aria-current=[(view.filter.state == name).then_some("true")] { (words) }
                }
            }
            (choice(&view, reader))
        }
        @if !view.filter.user.is_empty() {
            div.notice { (Icon::INFO) p { (text::ABOUT) " " (user_link(&view.filter.user, reader)) } }
        }
        @if view.is_part { (parts::notice(&text::newest_in_order(view.flags.len()))) }
        @if view.flags.is_empty() {
            section.card.flush id={ (QUEUE) "-empty" } {
                (empty(Icon::FLAG, text::NO_FLAGS, text::NO_FLAGS_WORDS, &html! {}))
            }
        }
        div.stack id=(QUEUE) data-queue {
            @for flag in view.flags {
                @let sent = view.sent.filter(|(of, _)| *of == flag.flag_id).map_or(&unsent, |(_, sent)| sent);
                (card(
                    flag,
                    &Form { action: "/o/fraud", filter: Some(view.filter), keys: (view.keys)(), sent },
                    None,
                    reader,
                ))
            }
        }
        @if view.next.is_some() || view.is_later {
            section.card.flush {
                (table_foot(
                    reader,
                    &text::so_many_flags(view.flags.len()),
                    view.next.as_deref(),
                    view.is_later.then_some(&**match &*view.filter.state { "" => open, "all" => all, _ => resolved }),
                ))
            }
        }
    };
    let page = Page {
        reader,
        title: text::FRAUD,
        live: view.live,
        done: view.done,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}

/// What is wrong with a decision.
#[must_use]
pub fn problem(sent: &Sent) -> Markup {
    let fault = sent.faults.first().map(|(_, fault)| fault);
    html! { @if let Some(words) = sent.problem.as_ref().or(fault) { (parts::bad_notice(words)) } }
}

/// The choice of a kind, a program and an order.
fn choice(view: &View<'_>, reader: &Reader) -> Markup {
    let filter = view.filter;
    html! {
        form.row method="get" action=(reader.to("/o/fraud")) role="search" {
            @for (name, value) in [("state", &filter.state), ("user", &filter.user)] {
                @if !value.is_empty() { input type="hidden" name=(name) value=(value); }
            }
            select.input.short name="kind" aria-label=(text::KIND) {
                option value="" { (text::ALL_KINDS) }
                @for (name, of) in KINDS { option value=(name) selected[name == filter.kind] { (kind(of)) } }
            }
            select.input.short name="program" aria-label=(text::PROGRAM) {
                option value="" { (text::ALL_PROGRAMS) }
                @for program in view.programs {
                    option value=(program.program_id) selected[program.program_id == filter.program] {
                        (program.display_name)
                    }
                }
            }
            select.input.short name="order" aria-label=(text::ORDER) {
                option value="" { (text::NEWEST_FIRST) }
                option value="gravest" selected[filter.order == "gravest"] { (text::GRAVEST_FIRST) }
            }
            button.button { (text::SHOW) }
        }
    }
}

/// The button that says which keys there are. The script shows it, as they need the script.
#[must_use]
pub fn keys_help() -> Markup {
    let keys = [
        ("j", text::KEY_NEXT),
        ("k", text::KEY_PREVIOUS),
        ("r", text::RELEASE),
        ("x", text::REJECT),
        ("d", text::REJECT_AND_DEACTIVATE),
        ("b", text::TAKE_BACK),
        ("n", text::KEY_NOTE),
        ("Esc", text::KEY_LEAVE_NOTE),
        ("?", text::KEY_HELP),
    ];
    html! {
        button.button hidden data-keys data-key="?" popovertarget="keys" {
            (text::KEYS) " " kbd aria-hidden="true" { "?" }
        }
        section.dialog #keys popover aria-label=(text::KEYS) {
            h2 { (text::KEYS) }
            dl.pairs { @for (key, words) in keys { dt { kbd { (key) } } dd { (words) } } }
            p.soft { (text::KEYS_WORDS) }
            div.actions {
                button.button data-keys="switch" aria-pressed="true" { (text::USE_KEYS) }
                button.button.first popovertarget="keys" popovertargetaction="hide" { (text::CLOSE) }
            }
        }
    }
}

/// The form with which a flag is decided about.
pub struct Form<'a> {
    /// Where it is sent.
    pub action: &'a str,
    /// The queue that is shown afterwards; `None` for the page of the flag.
    pub filter: Option<&'a Filter>,
    /// What the form carries.
    pub keys: FormKeys,
    /// What was sent before and was refused.
    pub sent: &'a Sent,
}

/// A flag with its evidence. With `into`, the script puts it first into the list of this id.
#[must_use]
pub fn card(flag: &FraudFlag, form: &Form<'_>, into: Option<&str>, reader: &Reader) -> Markup {
    let id = &flag.flag_id;
    let is_open = flag.state() == FraudFlagState::Open;
    html! {
        article.card.flag id={ "flag-" (id) } tabindex="-1" data-into=[into] aria-labelledby={ "flag-" (id) "-kind" } {
            div.card-head {
                div {
                    h2 id={ "flag-" (id) "-kind" } {
                        @if form.filter.is_some() {
                            a href=(reader.to(&format!("/o/fraud/{id}"))) { (title(flag, reader)) }
                        }
                        @else { (title(flag, reader)) }
                    }
                    p {
                        (occasion(flag.occasion())) " · " (reader.names.program(&flag.program_id)) " · "
                        (reader.exact_time(flag.raise_time.as_ref()))
                        @if flag.count > 1 { " · " (text::so_often(flag.count)) }
                    }
                }
                div.row {
                    (badge(consequence(flag.consequence()).0, consequence(flag.consequence()).1))
                    @if !is_open { @let (tone, words) = decision(flag.decision()); (badge(tone, words)) }
                }
            }
            (parties(flag, reader))
            (evidence(flag, reader))
            @if is_open {
                (decide(flag, form, reader))
            } @else {
                p.soft {
                    (text::DECIDED_BY) " " (actor(&flag.resolved_by, reader)) ", "
                    (reader.exact_time(flag.resolve_time.as_ref()))
                    @if flag.reverses_rewards { " · " (text::TAKEN_BACK) }
                }
                details { summary { (text::DECIDE_ANEW) } div.below { (decide(flag, form, reader)) } }
            }
        }
    }
}

/// What was found, and about whom, so that flags of one kind can be told apart.
#[must_use]
pub fn title(flag: &FraudFlag, reader: &Reader) -> String {
    // A sign-up that was refused has no account.
    let about = [&flag.referee, &flag.other, &flag.referrer].into_iter().flatten().next();
    text::kind_about(kind(flag.kind()), about.map_or("", |of| name_of(of, reader)))
}

/// The name of somebody whom a flag names.
fn name_of<'a>(party: &'a FraudParty, reader: &'a Reader) -> &'a str {
    let names = [reader.names.user(&party.user_id), Some(&*party.username), Some(&*party.user_id)];
    names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or("–")
}

/// The person, and whom the evidence names, side by side.
fn parties(flag: &FraudFlag, reader: &Reader) -> Markup {
    let id_of = |party: &Option<FraudParty>| party.as_ref().map(|of| of.user_id.clone());
    let is_same = flag.other.is_some() && id_of(&flag.other) == id_of(&flag.referrer);
    let status = (flag.referral_status() != ReferralStatus::Unspecified)
        .then(|| status(flag.referral_status()));
    let other_name = if is_same { text::REFERRER_AND_OTHER } else { text::OTHER };
    html! {
        div.parties {
            @if let Some(of) = &flag.referee { (party(text::REFEREE, of, flag, true, status, reader)) }
            @if let Some(of) = &flag.other { (party(other_name, of, flag, true, None, reader)) }
            @if let Some(of) = flag.referrer.as_ref().filter(|_| !is_same) {
                (party(text::REFERRER, of, flag, false, None, reader))
            }
        }
        @if flag.referee.is_none() { p.soft { (text::REFUSED_SIGN_UP_WORDS) } }
    }
}

fn party(
    role: &str,
    party: &FraudParty,
    flag: &FraudFlag,
    compares: bool,
    status: Option<(Tone, &str)>,
    reader: &Reader,
) -> Markup {
    let name = name_of(party, reader);
    let shared: &[String] = if compares { &flag.shared_parts } else { &[] };
    html! {
        div.party {
            small.soft { (role) }
            div.row {
                strong.break { a href=(reader.to(&user_path(&party.user_id))) title=(party.user_id) { (name) } }
                @if !party.username.is_empty() && party.username != name { span.soft.break { (party.username) } }
                @if let Some((tone, words)) = status { (badge(tone, words)) }
            }
            @if party.email.is_empty() { span.soft { (text::NO_EVIDENCE) } } @else {
                code.break { (marked(&party.email, shared)) }
            }
            span.soft { (text::SIGNED_UP) " " (reader.exact_time(party.sign_up_time.as_ref())) }
        }
    }
}

/// An address with the blocks marked that it shares with another one, which come before its `@`, in order.
fn marked(email: &str, shared: &[String]) -> Markup {
    let at = email.rfind('@').unwrap_or(email.len());
    let (mut rest, domain) = email.split_at(at);
    let mut pieces = Vec::new();
    for block in shared.iter().filter(|block| !block.is_empty()) {
        let Some((before, after)) = rest.split_once(&**block) else { continue };
        pieces.push((before, &**block));
        rest = after;
    }
    html! { @for (before, block) in pieces { (before) mark { (block) } } (rest) (domain) }
}

/// What was found, and where it came from.
fn evidence(flag: &FraudFlag, reader: &Reader) -> Markup {
    let others: Vec<FraudFlagKind> = flag.evidence().collect();
    html! {
        dl.pairs {
            @if flag.findings.is_empty() {
                dt { (text::FOUND) }
                dd { (kind(flag.kind())) ", " (reader.percent(flag.score_bps)) @for of in others { " · " (kind(of)) } }
            } @else {
                dt { (text::FOUND) }
                dd { ul.facts { @for finding in &flag.findings { (self::finding(finding, reader)) } } }
            }
            dt { (text::SIGNED_UP_FROM) }
            dd {
                @if flag.client_address.is_empty() { (text::UNKNOWN_ADDRESS) } @else {
                    code { (flag.client_address) } " "
                    span.soft {
                        @if let Some(before) = flag.sign_ups_before { (text::sign_ups_before(before)) ", " }
                        (text::accounts_of_address(flag.sign_ups_of_address))
                    }
                }
            }
            @if let Some(last) = flag.last_time.as_ref().filter(|_| flag.count > 1) {
                dt { (text::LAST_TIME) } dd { (reader.exact_time(Some(last))) }
            }
        }
    }
}

fn finding(finding: &FraudFinding, reader: &Reader) -> Markup {
    html! {
        li {
            (kind(finding.kind())) ", " (reader.percent(finding.score_bps))
            @if !finding.other_user_id.is_empty() {
                " · " (text::WITH) " " (user_link(&finding.other_user_id, reader))
            }
            @if finding.policy() != FraudPolicy::Unspecified { " · " span.soft { (consequence(finding.policy()).1) } }
        }
    }
}

fn decide(flag: &FraudFlag, form: &Form<'_>, reader: &Reader) -> Markup {
    let id = format!("note-{}", flag.flag_id);
    let fault_id = format!("{id}-fault");
    let faults = form.sent.faults_of("note").collect::<Vec<_>>();
    let is_invalid = !faults.is_empty();
    let has_account = flag.referee.is_some();
    let decisions = [
        ("released", "r", text::RELEASE, "button", true),
        ("rejected", "x", text::REJECT, "button danger", true),
        ("deactivated", "d", text::REJECT_AND_DEACTIVATE, "button danger", has_account),
    ];
    html! {
        form.stack method="post" action=(reader.to(form.action)) {
            (form.keys)
            input type="hidden" name="flag_id" value=(flag.flag_id);
            @if let Some(filter) = form.filter {
                @for (name, value) in filter.pairs() {
                    @if !value.is_empty() { input type="hidden" name=(name) value=(value); }
                }
            }
            div.row {
                input.input.note id=(id) name="note" maxlength="2000" autocomplete="off" value=(form.sent.value("note"))
                    placeholder=(text::NOTE) aria-label=(text::NOTE) data-key="n"
                    aria-invalid=[is_invalid.then_some("true")] aria-describedby=[is_invalid.then_some(&fault_id)];
                @if has_account {
                    label.check {
                        input type="checkbox" name="reverse_rewards" value="on" data-key="b"
                            checked[!form.sent.value("reverse_rewards").is_empty()];
                        span { (text::TAKE_BACK) }
                    }
                }
            }
            @if is_invalid {
                div.field { span.fault id=(fault_id) { span { @for fault in &faults { (fault) " " } } } }
            }
            div.actions {
                @for (value, key, words, class, is_there) in decisions {
                    @if is_there {
                        button class=(class) name="decision" value=(value) data-key=(key) aria-keyshortcuts=(key) {
                            (words) " " kbd aria-hidden="true" { (key) }
                        }
                    }
                }
            }
        }
    }
}

/// What was found, in words.
#[must_use]
pub fn kind(kind: FraudFlagKind) -> &'static str {
    match kind {
        FraudFlagKind::SameMailbox => text::SAME_MAILBOX,
        FraudFlagKind::SelfReferral => text::SELF_REFERRAL,
        FraudFlagKind::LookAlike => text::LOOK_ALIKE,
        FraudFlagKind::NearDuplicate => text::NEAR_DUPLICATE,
        FraudFlagKind::Fingerprint => text::FINGERPRINT,
        FraudFlagKind::MutualReferral => text::MUTUAL_REFERRAL,
        FraudFlagKind::ReferralBurst => text::REFERRAL_BURST,
        FraudFlagKind::SignUpsPerAddress => text::SIGN_UPS_PER_ADDRESS,
        FraudFlagKind::DisposableDomain => text::DISPOSABLE_DOMAIN,
        FraudFlagKind::Unspecified => "–",
    }
}

fn occasion(occasion: FraudOccasion) -> &'static str {
    match occasion {
        FraudOccasion::Referral => text::AT_REFERRAL,
        FraudOccasion::Purchase => text::AT_PURCHASE,
        FraudOccasion::AddressChange => text::AT_ADDRESS_CHANGE,
        FraudOccasion::RefusedSignUp => text::AT_REFUSED_SIGN_UP,
        FraudOccasion::Unspecified => "–",
    }
}

fn consequence(policy: FraudPolicy) -> (Tone, &'static str) {
    match policy {
        FraudPolicy::Flag => (Tone::Info, text::WAS_FLAGGED),
        FraudPolicy::Hold => (Tone::Warn, text::WAS_HELD),
        FraudPolicy::Reject => (Tone::Bad, text::WAS_REJECTED),
        FraudPolicy::Unspecified => (Tone::Plain, "–"),
    }
}

/// A decision as a badge says it.
#[must_use]
pub fn decision(decision: FraudDecision) -> (Tone, &'static str) {
    match decision {
        FraudDecision::Released => (Tone::Good, text::RELEASED),
        FraudDecision::Rejected => (Tone::Bad, text::REJECTED),
        FraudDecision::RejectedAndDeactivated => (Tone::Bad, text::REJECTED_AND_DEACTIVATED),
        FraudDecision::Unspecified => (Tone::Warn, text::OPEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_addresses_share_is_marked_before_the_at_and_in_order() {
        let of = |email: &str, shared: &[&str]| {
            let shared: Vec<String> = shared.iter().map(|of| (*of).to_owned()).collect();
            marked(email, &shared).into_string()
        };
        assert_eq!(
            of("john@mail.example", &["j", "hn"]),
            "<mark>j</mark>o<mark>hn</mark>@mail.example"
        );
        assert_eq!(
            of("*o**@mail.example", &["*", "**"]),
            "<mark>*</mark>o<mark>**</mark>@mail.example"
        );
        // Never in the domain, and what is not there marks nothing.
        assert_eq!(of("a@mail.example", &["mail", ""]), "a@mail.example");
        assert_eq!(of("<b>@x", &["b"]), "&lt;<mark>b</mark>&gt;@x");
    }
}
