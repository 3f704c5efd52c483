//! Pages by themselves: that nothing from outside becomes HTML, and that the policy of the server can hold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::unnecessary_wraps,
    clippy::too_many_lines,
    reason = "a test may stop at the first surprise, amounts are optional, and the pages are one list"
)]

use std::collections::HashSet;

use contract::pb::*;
use tributary_console::charts::Point;
use tributary_console::icons::Icon;
use tributary_console::page::{Link, Links, Live, Sidebar};
use tributary_console::pages::door::{forgot, front, mailed, register, sign_in};
use tributary_console::pages::operator::{
    approvals, balance, disputes, erased, event, flag, fraud, items, keys as api_keys, log, mails,
    overview, payout, payouts, person, program as definition, program_versions, program_view,
    programs as definitions, purchase, purchases, record, redemptions, users,
};
use tributary_console::pages::participant::{
    Scene, dashboard, earnings, entries, leaderboard, programs, referrals, rules, statement, store,
    tree,
};
use tributary_console::pages::{profile, refused};
use tributary_console::parts::{self, FormKeys, PasswordRule, Sent};
use tributary_console::reader::{Reader, Theme};

/// What somebody may write wherever they can write something.
const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&{{7*7}}";

fn reader() -> Reader {
    Reader::new("en-IN", Some("Asia/Kolkata"), Theme::Dark, "/below".into())
}

fn evil() -> String {
    EVIL.into()
}

/// Something that was withheld for each reason.
fn withheld() -> Vec<WithheldReward> {
    let reasons = (0..20).filter_map(|number| WithheldReason::try_from(number).ok());
    let of = |reason: WithheldReason| WithheldReward {
        level: 1,
        reason: reason.into(),
        rule: evil(),
        program_version: 3,
        purchase_id: evil(),
        computed_amount: money(500),
        create_time: Some(prost_types::Timestamp {
            seconds: i64::from(i32::from(reason)),
            nanos: 0,
        }),
        ..Default::default()
    };
    reasons.map(of).collect()
}

fn money(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "INR".into(), minor_units })
}

fn user() -> User {
    User {
        user_id: evil(),
        username: evil(),
        display_name: evil(),
        status: UserStatus::Active.into(),
        role: UserRole::Admin.into(),
        ..Default::default()
    }
}

fn program() -> Program {
    Program {
        program_id: "p".into(),
        display_name: evil(),
        unit: "INR".into(),
        version: 3,
        earn_on: EarnOn::EveryPurchase.into(),
        minimum_purchase_minor: 100_000,
        purchase_currency_code: "INR".into(),
        rewards: vec![
            RewardRule {
                rule: evil(),
                level: 1,
                rate_bps: Some(500),
                cap_minor: Some(100_000),
                ..Default::default()
            },
            RewardRule {
                rule: "tiers".into(),
                level: 1,
                tiers: vec![
                    Tier { name: evil(), rate_points: 10, ..Default::default() },
                    Tier {
                        name: "Gold".into(),
                        from_referrals: 50,
                        rate_points: 25,
                        bonus_points: 5,
                    },
                ],
                ..Default::default()
            },
        ],
        hold_days: Some(14),
        expire_months: Some(12),
        require_confirmed_email: true,
        ..Default::default()
    }
}

fn participant() -> Participant {
    Participant {
        program_id: "p".into(),
        user_id: "ada".into(),
        code: evil(),
        link: format!("https://example.com/join/{EVIL}"),
        referrer_user_id: evil(),
        referral_status: ReferralStatus::Pending.into(),
        ..Default::default()
    }
}

fn state() -> ParticipantState {
    let buckets = BucketBalances {
        available: money(438_550),
        pending: money(85_000),
        earned: money(621_000),
        spent: money(1),
        paid: money(97_450),
        ..Default::default()
    };
    ParticipantState {
        active: false,
        tier: evil(),
        pending_count: 3,
        converted_count: 11,
        held_count: 1,
        rank: 7,
        buckets: vec![buckets],
        ..Default::default()
    }
}

fn entry(kind: EntryKind) -> BalanceEntry {
    BalanceEntry {
        amount: money(12_000),
        balance: money(438_550),
        kind: kind.into(),
        bucket: BalanceBucket::Available.into(),
        from_bucket: BalanceBucket::Pending.into(),
        reward: Some(Reward {
            rule: evil(),
            level: 1,
            amount: money(1),
            computed_amount: money(2),
            ..Default::default()
        }),
        purchase_id: evil(),
        reason_code: evil(),
        note: evil(),
        entry_id: format!("p/ada/{}", kind as i32),
        ..Default::default()
    }
}

fn detail(name: &str) -> ReferralDetail {
    ReferralDetail {
        referral: Some(Referral { status: ReferralStatus::Converted.into(), ..Default::default() }),
        referee_username: name.into(),
        referee_display_name: name.into(),
        referrer_username: name.into(),
        referrer_display_name: name.into(),
        level: 2,
        brought_in: money(5),
        ..Default::default()
    }
}

fn node(depth: usize) -> ReferralNode {
    let referrals = if depth == 0 { Vec::new() } else { vec![node(depth - 1), node(0)] };
    ReferralNode {
        username: evil(),
        display_name: evil(),
        status: ReferralStatus::Held.into(),
        brought_in: money(5),
        referral_count: 2,
        referrals,
        ..Default::default()
    }
}

fn kinds() -> impl Iterator<Item = EntryKind> {
    (0..=8).map(|number| EntryKind::try_from(number).unwrap())
}

fn purchase_details() -> Vec<PurchaseDetail> {
    vec![PurchaseDetail { purchase: Some(a_purchase()), outcomes: outcomes() }]
}

fn a_purchase() -> Purchase {
    Purchase {
        purchase_id: evil(),
        buyer_user_id: evil(),
        amount: money(200_000),
        refunded: money(1),
        disputed: money(1),
        refunds: vec![Refund {
            refund_id: evil(),
            amount: money(1),
            cancelled: true,
            reason: evil(),
            ..Default::default()
        }],
        disputes: vec![Dispute {
            dispute_id: evil(),
            amount: money(1),
            state: DisputeState::Lost.into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn outcomes() -> Vec<PurchaseOutcome> {
    let reward = Reward {
        earner_user_id: evil(),
        rule: evil(),
        amount: money(1),
        reversed: money(1),
        ..Default::default()
    };
    let withheld = WithheldReward {
        earner_user_id: evil(),
        reason: WithheldReason::CapReached.into(),
        ..Default::default()
    };
    vec![PurchaseOutcome {
        program_id: evil(),
        reason: WithheldReason::BelowMinimum.into(),
        credited: money(1),
        rewards: vec![reward],
        withheld: vec![withheld],
        ..Default::default()
    }]
}

/// What was asked for: an adjustment by somebody else, and a payout by the reader.
fn asked() -> [Approval; 2] {
    let adjustment = Adjustment { adjustment_id: evil(), amount: money(-5), reason_code: evil() };
    let adjustment = Approval {
        approval_id: evil(),
        program_id: evil(),
        user_id: evil(),
        state: ApprovalState::Pending.into(),
        asked: Some(approval::Asked::Adjustment(adjustment)),
        asked_by: format!("user:{EVIL}"),
        note: evil(),
        decided_by: evil(),
        decline_note: evil(),
        ..Default::default()
    };
    let payout =
        PayoutConfirmation { payout_id: evil(), amount: money(5), provider_reference: evil() };
    let payout = Approval {
        user_id: String::new(),
        asked: Some(approval::Asked::Payout(payout)),
        asked_by: "user:ada".into(),
        ..adjustment.clone()
    };
    [adjustment, payout]
}

/// A flag that is open, and one that is decided about.
fn flags() -> [FraudFlag; 2] {
    let party = |user_id: &str| {
        let user_id = format!("{user_id}{EVIL}");
        Some(FraudParty { user_id, username: evil(), email: evil(), sign_up_time: None })
    };
    let finding = FraudFinding {
        kind: FraudFlagKind::LookAlike.into(),
        score_bps: 9_000,
        other_user_id: evil(),
        policy: FraudPolicy::Hold.into(),
    };
    let open = FraudFlag {
        flag_id: "one".into(),
        kind: FraudFlagKind::SelfReferral.into(),
        program_id: evil(),
        referee: party("a"),
        referrer: party("b"),
        other: party("c"),
        state: FraudFlagState::Open.into(),
        count: 3,
        findings: vec![finding],
        shared_parts: vec!["script".into()],
        client_address: evil(),
        sign_ups_before: Some(4),
        ..Default::default()
    };
    let note = FraudNote { note: evil(), author: format!("user:{EVIL}"), ..Default::default() };
    let decided = FraudFlag {
        flag_id: "two".into(),
        state: FraudFlagState::Resolved.into(),
        decision: FraudDecision::Rejected.into(),
        resolved_by: evil(),
        reverses_rewards: true,
        notes: vec![note],
        ..open.clone()
    };
    [open, decided]
}

/// Every page, with its name, as full of what others wrote as it can be.
fn pages() -> Vec<(&'static str, String)> {
    let reader = reader();
    let reader = &reader;
    let (program, participant, state) = (program(), participant(), state());
    let scene = || Scene { program: &program, participant: &participant, name: EVIL };
    let link =
        |is_current| Link { icon: Icon::HOME, name: evil(), path: "/p/p".into(), is_current };
    let sidebar = Sidebar {
        name: EVIL,
        role: EVIL,
        form_token: "token",
        groups: vec![Links { title: "Group", links: vec![link(true)] }],
        programs: vec![link(false), link(true)],
    };
    let sidebar = &sidebar;
    let keys = || FormKeys { form_token: "token".into(), request_id: "id".into() };
    let rule = PasswordRule { words: "a digit".into(), pattern: r"\p{N}".into() };
    let rules = [rule];
    let sent = |names: &[&str]| Sent {
        values: names.iter().map(|name| ((*name).into(), evil())).collect(),
        faults: names.iter().map(|name| ((*name).into(), evil())).collect(),
        problem: None,
    };
    let user_response = GetUserResponse {
        user: Some(user()),
        participants: vec![participant.clone()],
        pending_email: evil(),
        email: evil(),
        ..Default::default()
    };
    let live = || Live { path: "/live/x".into(), token: EVIL.into() };
    let levels = || {
        Ok(vec![LevelEarnings {
            level: 1,
            total: money(5),
            count: 2,
            cap: money(10),
            remaining: money(5),
        }])
    };
    let points = || {
        Ok(vec![Point { label: evil(), minor_units: 5 }, Point { label: evil(), minor_units: -5 }])
    };
    let by = entries::Rules { program: &program, others: &[] };
    let feed = kinds().map(|kind| dashboard::entry(&entry(kind), by, reader)).collect();
    let session = || Session { session_id: evil(), user_agent: evil(), ..Default::default() };
    let item = Item {
        item_id: evil(),
        name: evil(),
        description: evil(),
        cost: money(5),
        from_tier: evil(),
        stock: Some(3),
        per_person_limit: Some(1),
        ..Default::default()
    };
    let redemption = Redemption { item_id: evil(), cost: money(5), ..Default::default() };
    let board = leaderboard::Board {
        entries: vec![
            LeaderboardEntry { rank: 1, display_name: evil(), score: 5, ..Default::default() },
            LeaderboardEntry {
                rank: 2,
                user_id: "ada".into(),
                username: evil(),
                ..Default::default()
            },
        ],
        own: LeaderboardEntry { rank: 2, user_id: "ada".into(), ..Default::default() },
        metric: LeaderboardMetric::Earnings,
        participant_count: 2,
        next: Some("/p/p/leaderboard?page=x".into()),
        is_later: true,
    };
    let flags = flags();
    let a_payout = Payout {
        program_id: "p".into(),
        payout_id: "x".into(),
        state: PayoutState::Open.into(),
        created_by: evil(),
        provider_reference: evil(),
        reason_code: evil(),
        paid: Some(PayoutLineSum { count: 1, amount: money(5) }),
        ..Default::default()
    };
    let paying = [payouts::Paying { program: program.clone(), available_minor: Some(Err(evil())) }];
    let paid_to = |user_id: &str, state: PayoutLineState| PayoutLine {
        user_id: user_id.into(),
        state: state.into(),
        amount: money(5),
        reason_code: evil(),
        provider_reference: evil(),
        ..Default::default()
    };
    let lines = [
        paid_to("x", PayoutLineState::Reserved),
        paid_to("y", PayoutLineState::Paid),
        paid_to("z", PayoutLineState::Skipped),
    ];
    let asked = asked();
    let held = Reward {
        reward_id: evil(),
        rule: evil(),
        source_user_id: evil(),
        purchase_id: evil(),
        amount: money(5),
        pending: money(5),
        reversed: money(1),
        hold_reasons: vec![
            RewardHoldReason::Operator.into(),
            RewardHoldReason::HoldPeriod.into(),
            RewardHoldReason::Dispute.into(),
        ],
        hold_note: evil(),
        ..Default::default()
    };
    let made = Redemption {
        program_id: "p".into(),
        redemption_id: evil(),
        user_id: evil(),
        item_id: evil(),
        state: RedemptionState::Made.into(),
        ..Default::default()
    };
    let filter = fraud::Filter {
        state: "all".into(),
        kind: "fingerprint".into(),
        program: "p".into(),
        user: evil(),
        order: "gravest".into(),
    };
    let figures = [overview::Figures {
        program: program.clone(),
        overview: Ok(GetOverviewResponse { registered: 5, ..Default::default() }),
        visits: Ok(9),
        report: Err(evil()),
    }];
    let details = purchase_details();
    let found = GetPurchaseResponse {
        purchase: Some(a_purchase()),
        outcomes: outcomes(),
        ..Default::default()
    };
    let reversal = RewardReversal {
        user_id: evil(),
        program_id: evil(),
        amount: money(-5),
        ..Default::default()
    };
    let preview = PreviewRefundResponse {
        amount: money(5),
        reversals: vec![reversal],
        unconverted_program_ids: vec![evil()],
        ..Default::default()
    };
    let people = [UserDetail {
        user: Some(user()),
        participant: Some(participant.clone()),
        balances: money(5).into_iter().collect(),
        earned: money(5),
        referrer_username: evil(),
        referrer_display_name: evil(),
    }];
    let memberships = [person::Membership {
        program: evil(),
        participant: participant.clone(),
        balances: Err(evil()),
        referrals: Ok(GetReferralStatsResponse {
            referral_count: 2,
            pending_count: 1,
            converted_count: 1,
            held_count: 1,
            recent_referrals: vec![detail("bob")],
            ..Default::default()
        }),
        rewards: Ok(vec![Reward {
            earner_user_id: evil(),
            source_user_id: evil(),
            program_id: evil(),
            purchase_id: evil(),
            amount: money(500),
            ..Default::default()
        }]),
    }];
    let mail = Mail {
        kind: MailKind::Tier.into(),
        state: MailState::Skipped.into(),
        skip_reason: evil(),
        ..Default::default()
    };
    let mut of_program = tributary_console::program::values(&program).unwrap();
    of_program.push(("program.earn_on".into(), evil()));
    let faulty = Sent {
        faults: of_program.iter().map(|(name, _)| (name.clone(), evil())).collect(),
        values: of_program,
        problem: None,
    };
    let differences = [tributary_console::program::Difference {
        path: evil(),
        key: evil(),
        before: Some(evil()),
        after: None,
    }];
    let events = [Event {
        position: 7,
        aggregate_type: "Participant".into(),
        aggregate_id: format!("p/{EVIL}"),
        event_type: evil(),
        payload_json: format!("{{\"user_id\":{EVIL:?},\"x\":[{EVIL:?}]}}"),
        actor: evil(),
        door: evil(),
        ..Default::default()
    }];
    let of_log = sent(&["type", "program", "user", "stream", "actor", "before", "until"]);
    let key = ApiKey {
        key_id: evil(),
        name: evil(),
        role: ApiKeyRole::User.into(),
        user_id: evil(),
        rpcs: vec![evil()],
        program_ids: vec![evil()],
        created_by: evil(),
        refused_calls: 3,
        ..Default::default()
    };
    let parked = Mail {
        state: MailState::Parked.into(),
        user_id: evil(),
        email: evil(),
        last_error: evil(),
        ..Default::default()
    };
    let good = register::Invitation::Good {
        name: evil(),
        left: Some(3),
        offer: ProgramOffer {
            display_name: evil(),
            unit: "INR".into(),
            earn_on: EarnOn::EveryPurchase.into(),
            rewards: program.rewards.clone(),
            credit_purchases: true,
        },
    };
    vec![
        ("front", front::page(&front::View { version: "1", may_register: true }, reader)),
        (
            "sign in",
            sign_in::page(
                &sign_in::View {
                    sent: sent(&["login", "password", "second_factor_code"]),
                    keys: keys(),
                    next: EVIL,
                    second_factor: Some(EVIL),
                    may_register: true,
                    ..sign_in::View::default()
                },
                reader,
            ),
        ),
        (
            "register",
            register::page(
                &register::View {
                    sent: sent(&["username", "display_name", "email", "password", "referral_code"]),
                    keys: keys(),
                    invitation: Some(good),
                    rules: &rules,
                    may_register: true,
                    url: Some(EVIL),
                },
                reader,
            ),
        ),
        (
            "forgot",
            forgot::page(
                &forgot::View { sent: sent(&["login"]), keys: keys(), is_done: true },
                reader,
            ),
        ),
        (
            "mailed",
            mailed::page(
                &mailed::View {
                    title: EVIL,
                    words: EVIL,
                    form: Some((mailed::Form::Password, "t")),
                    rules: &rules,
                    choices: &[("all", EVIL.into())],
                    is_done: false,
                },
                reader,
            ),
        ),
        (
            "refused",
            refused::page(
                &refused::View { title: EVIL, words: EVIL, again: None },
                Some(sidebar),
                reader,
            ),
        ),
        (
            "refused at the door",
            refused::page(
                &refused::View {
                    title: EVIL,
                    words: EVIL,
                    again: Some(refused::Again {
                        action: "/o/anything",
                        form_token: EVIL.into(),
                        fields: vec![(EVIL, EVIL)],
                        secrets: vec![("password", EVIL)],
                    }),
                },
                None,
                reader,
            ),
        ),
        (
            "dashboard",
            dashboard::page(
                dashboard::View {
                    scene: scene(),
                    state: &state,
                    places: Some(0),
                    levels: levels(),
                    days: points(),
                    visits: Ok(12),
                    feed: Ok(feed),
                    live: live(),
                    done: Some(EVIL),
                    celebration: dashboard::celebration(&program, EVIL, &keys(), None, reader),
                },
                sidebar,
                reader,
            ),
        ),
        (
            "earnings",
            earnings::page(
                earnings::View {
                    scene: scene(),
                    as_of: EVIL,
                    as_of_fault: Some(EVIL),
                    figures: earnings::Figures {
                        buckets: Ok(state.buckets[0].clone()),
                        levels: levels(),
                        weeks: points(),
                        people: Ok(vec![detail(EVIL)]),
                        withheld: Ok(withheld()),
                        ledger: Ok(earnings::Ledger {
                            entries: kinds().map(entry).collect(),
                            next: Some("/x".into()),
                            is_later: true,
                        }),
                        others: Vec::new(),
                    },
                    live: Some(live()),
                },
                sidebar,
                reader,
            ),
        ),
        (
            "statement",
            statement::page(
                &statement::View {
                    scene: scene(),
                    user_id: EVIL,
                    month: "2026-11",
                    fault: None,
                    around: [Some("2026-10".into()), None],
                    is_over: false,
                    made: prost_types::Timestamp { seconds: 1_795_000_000, nanos: 0 },
                    others: &[],
                    statement: Ok(GetStatementResponse {
                        opening: Some(BucketBalances::default()),
                        closing: Some(state.buckets[0].clone()),
                        entries: kinds().map(entry).collect(),
                        next_page_token: "more".into(),
                        ..Default::default()
                    }),
                },
                sidebar,
                reader,
            ),
        ),
        (
            "statement of no month",
            statement::page(
                &statement::View {
                    scene: scene(),
                    user_id: EVIL,
                    month: EVIL,
                    fault: Some(EVIL),
                    around: [None, None],
                    is_over: true,
                    made: prost_types::Timestamp::default(),
                    others: &[],
                    statement: Err(evil()),
                },
                sidebar,
                reader,
            ),
        ),
        (
            "referrals",
            referrals::page(
                &referrals::View {
                    scene: scene(),
                    status: ReferralStatus::Pending,
                    referrals: vec![detail(EVIL)],
                    next: None,
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "tree",
            tree::page(
                &tree::View { scene: scene(), root: &node(4), is_truncated: true },
                sidebar,
                reader,
            ),
        ),
        (
            "leaderboard",
            leaderboard::page(
                leaderboard::View { scene: scene(), board: &board, live: Some(live()) },
                sidebar,
                reader,
            ),
        ),
        (
            "store",
            store::page(
                &store::View {
                    scene: scene(),
                    available: money(50).unwrap(),
                    items: vec![item.clone()],
                    redemptions: vec![(redemption, evil())],
                    keys: &|_| keys(),
                    problem: Some(EVIL),
                    done: None,
                    next: Some(format!("/p/p/store?page={EVIL}")),
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        ("rules", rules::page(&rules::View { scene: scene() }, sidebar, reader)),
        (
            "programs",
            programs::page(
                &programs::View {
                    programs: std::slice::from_ref(&program),
                    sent: Some(("p".into(), sent(&["referral_code"]))),
                    keys: &keys,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "profile",
            profile::page(
                &profile::View {
                    user: &user_response,
                    sessions: Ok(vec![session()]),
                    keys: &keys,
                    sent: Some((profile::Part::Names, sent(&["display_name", "username"]))),
                    rules: &rules,
                    done: Some(EVIL),
                },
                sidebar,
                reader,
            ),
        ),
        (
            "overview",
            overview::page(
                overview::View {
                    programs: &figures,
                    flags: Ok(overview::Count { count: 3, is_more: true }),
                    parked_jobs: Err(evil()),
                    live: live(),
                    next: Some(format!("/o?page={EVIL}")),
                    is_later: true,
                    done: Some(EVIL),
                    sample: Some(keys()),
                },
                sidebar,
                reader,
            ),
        ),
        (
            "program view",
            program_view::page(
                &program_view::View {
                    program: &program,
                    programs: std::slice::from_ref(&program),
                    chosen: program_view::Chosen::parse("earnings", EVIL),
                    overview: Ok(GetOverviewResponse { registered: 5, ..Default::default() }),
                    report: Ok(GetConversionReportResponse {
                        days: vec![ConversionDay {
                            date: evil(),
                            referrals: 3,
                            ..Default::default()
                        }],
                        ..Default::default()
                    }),
                    top: Ok(GetLeaderboardResponse {
                        entries: vec![LeaderboardEntry {
                            user_id: evil(),
                            display_name: evil(),
                            score: 5,
                            ..Default::default()
                        }],
                        ..Default::default()
                    }),
                    recent: Ok(vec![detail(EVIL)]),
                    participants: Ok(people.to_vec()),
                    next: Some("/o/programs/p/view?page=x".into()),
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "program view that cannot be read",
            program_view::page(
                &program_view::View {
                    program: &program,
                    programs: &[],
                    chosen: program_view::Chosen::parse("", ""),
                    overview: Err(evil()),
                    report: Err(evil()),
                    top: Err(evil()),
                    recent: Err(evil()),
                    participants: Err(evil()),
                    next: None,
                    is_later: false,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "users",
            users::page(
                &users::View {
                    users: &people,
                    programs: std::slice::from_ref(&program),
                    program_id: "p",
                    is_staff: false,
                    not_found: Some(EVIL),
                    named: Some(EVIL),
                    next: None,
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "person",
            person::page(
                &person::View {
                    user: &user_response,
                    memberships: &memberships,
                    purchases: Ok(purchase_details()),
                    sessions: Some(Ok(vec![session()])),
                    mails: Ok(vec![mail.clone()]),
                    flags: Ok(overview::Count { count: 2, is_more: false }),
                    flags_path: "/o/fraud?user=x".into(),
                    keys: &keys,
                    may_set_role: true,
                    problem: Some(EVIL),
                    done: None,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "purchases",
            purchases::page(
                &purchases::View {
                    purchases: &details,
                    not_found: Some(EVIL),
                    next: None,
                    is_later: false,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "purchase",
            purchase::page(
                &purchase::View {
                    purchase: &found,
                    sent: sent(&["amount", "reason"]),
                    preview: Some(preview),
                    has_changed: true,
                    disputes: disputes::Disputes {
                        sent: Some(("", &sent(&["disputed", "dispute_id"]))),
                        keys: &|_| keys(),
                    },
                    keys: keys(),
                    fresh_keys: &keys,
                    problem: Some(EVIL),
                    done: None,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "erased",
            erased::page(
                &erased::View { user_id: EVIL, erased: None, done: Some(EVIL) },
                sidebar,
                reader,
            ),
        ),
        (
            "payouts",
            payouts::page(
                &payouts::View {
                    payouts: std::slice::from_ref(&a_payout),
                    paying: &paying,
                    waiting: Some(overview::Count { count: 2, is_more: true }),
                    sent: sent(&["minimum", "payout_id"]),
                    keys: keys(),
                    done: None,
                    next: Some("/o/payouts?page=x".into()),
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "payout",
            payout::page(
                payout::View {
                    payout: &a_payout,
                    lines: &lines,
                    chosen: "paid",
                    approvals: &asked,
                    reader_is: "user:ada",
                    keys: &keys,
                    sent: Some(("x", &sent(&["reference-x", "reason-x"]))),
                    done: None,
                    next: Some("/o/payouts/p/x?page=x".into()),
                    is_later: true,
                    live: live(),
                },
                sidebar,
                reader,
            ),
        ),
        (
            "approvals",
            approvals::page(
                &approvals::View {
                    approvals: &asked,
                    chosen: "",
                    reader_is: "user:ada",
                    keys: &keys,
                    problem: Some(EVIL),
                    done: None,
                    next: Some("/o/approvals?page=x".into()),
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "balance",
            balance::page(
                &balance::View {
                    user: &user(),
                    program: &program,
                    buckets: &BucketBalances { available: money(-5), ..Default::default() },
                    rewards: Ok(vec![held]),
                    entries: Ok(kinds().map(entry).collect()),
                    others: &[],
                    approvals: &asked,
                    reader_is: "user:ada",
                    keys: &keys,
                    sent: (sent(&["amount", "reason_code", "note"]), keys()),
                    problem: Some(EVIL),
                    done: None,
                    next: Some("/o/users/x/balance/p?page=x".into()),
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "items",
            items::page(
                &items::View {
                    programs: std::slice::from_ref(&program),
                    program: Some(&program),
                    items: std::slice::from_ref(&item),
                    changed: Some(&item),
                    sent: sent(&[
                        "name",
                        "description",
                        "cost",
                        "stock",
                        "per_person_limit",
                        "from_tier",
                    ]),
                    keys: keys(),
                    done: None,
                    next: Some("/o/items?page=x".into()),
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "redemptions",
            redemptions::page(
                &redemptions::View {
                    redemptions: std::slice::from_ref(&made),
                    chosen: "",
                    keys: &keys,
                    problem: Some(EVIL),
                    done: None,
                    next: Some("/o/items/redemptions?page=x".into()),
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "fraud",
            fraud::page(
                fraud::View {
                    flags: &flags,
                    filter: &filter,
                    states: ["/o/fraud", "/o/fraud?state=resolved", "/o/fraud?state=all"]
                        .map(String::from),
                    programs: std::slice::from_ref(&program),
                    is_part: true,
                    keys: &keys,
                    sent: Some(("one", &sent(&["note"]))),
                    done: Some(EVIL),
                    next: Some("/o/fraud?page=x".into()),
                    is_later: true,
                    live: Some(live()),
                },
                sidebar,
                reader,
            ),
        ),
        (
            "flag",
            flag::page(
                flag::View {
                    flag: &flags[1],
                    stake: Some(flag::Stake {
                        granted: Ok(flag::Granted {
                            count: 3,
                            is_more: true,
                            amount: money(5).unwrap(),
                            pending: money(3).unwrap(),
                            reversed: money(1).unwrap(),
                        }),
                        buckets: Err(evil()),
                        purchases: Ok(purchase_details()),
                        waiting: 2,
                    }),
                    keys: keys(),
                    sent: sent(&["note"]),
                    done: None,
                    live: live(),
                },
                sidebar,
                reader,
            ),
        ),
        (
            "definitions",
            definitions::page(
                &definitions::View {
                    programs: std::slice::from_ref(&program),
                    next: Some("/x".into()),
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "definition",
            definition::page(
                &definition::View {
                    current: Some(&program),
                    old: Some(2),
                    sent: Some(&faulty),
                    json: EVIL,
                    json_fault: None,
                    is_good: true,
                    keys: &keys,
                    done: Some(EVIL),
                },
                sidebar,
                reader,
            ),
        ),
        (
            "definition in JSON that cannot be read",
            definition::page(
                &definition::View {
                    current: None,
                    old: None,
                    sent: None,
                    json: EVIL,
                    json_fault: Some(EVIL),
                    is_good: false,
                    keys: &keys,
                    done: None,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "what a definition changes",
            definition::preview(
                &definition::Preview {
                    current: Some(&program),
                    next: &program,
                    differences: &differences,
                    has_moved_on: true,
                    json: EVIL,
                    keys: &keys,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "versions",
            program_versions::page(
                &program_versions::View {
                    current: &program,
                    versions: std::slice::from_ref(&program),
                    compared: Some((2, 3, &differences)),
                    next: None,
                    is_later: true,
                    done: None,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "log",
            log::page(
                log::View {
                    events: &events,
                    sent: &of_log,
                    types: &["UserRegistered"],
                    searched: Some(3),
                    next: Some("/x".into()),
                    first: Some("/y".into()),
                    live: Some(live()),
                },
                sidebar,
                reader,
            ),
        ),
        ("event", event::page(&events[0], true, sidebar, reader)),
        (
            "mails",
            mails::page(
                &mails::View {
                    mails: &[mail, parked],
                    state: MailState::Parked,
                    user_id: EVIL,
                    keys: &keys,
                    problem: Some(EVIL),
                    done: Some(EVIL),
                    next: None,
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "keys",
            api_keys::page(
                &api_keys::View {
                    keys: std::slice::from_ref(&key),
                    now: 0,
                    created: Some(api_keys::Created { name: evil(), key: evil() }),
                    sent: sent(&["name", "user", "rpcs", "programs", "expires"]),
                    form: keys(),
                    form_keys: &keys,
                    problem: Some(EVIL),
                    done: Some(EVIL),
                    next: None,
                    is_later: true,
                },
                sidebar,
                reader,
            ),
        ),
        (
            "record",
            record::page(
                &record::View {
                    sent: sent(&["buyer", "amount", "currency", "purchase_id"]),
                    keys: keys(),
                },
                sidebar,
                reader,
            ),
        ),
    ]
}

/// The tags of a page: each with its name and attributes.
fn tags(html: &str) -> impl Iterator<Item = &str> {
    html.split('<').skip(1).filter_map(|rest| rest.split('>').next())
}

#[test]
fn what_others_wrote_is_text_on_every_page() {
    for (name, html) in pages() {
        assert!(!html.contains("<script>") && !html.contains("<img"), "{name}");
        assert!(!html.contains("\"'>"), "{name}: an attribute is left");
        assert!(html.contains("&lt;script&gt;") || name == "front", "{name} shows nothing of it");
    }
}

#[test]
fn no_page_has_what_the_policy_forbids() {
    for (name, html) in pages() {
        for tag in tags(&html) {
            for attribute in [" style=", " onclick=", " onload=", " onerror=", " onsubmit="] {
                // What others wrote has its signs escaped, so that it begins no attribute.
                let is_quoted = tag.contains("&lt;") || tag.contains("&quot;");
                assert!(is_quoted || !tag.contains(attribute), "{name}: {tag}");
            }
            if tag.starts_with("script") {
                assert!(tag.contains(" src=\"/below/assets/"), "{name}: {tag}");
            }
        }
        assert!(!html.contains("<style"), "{name}");
    }
}

#[test]
fn ids_are_there_once_and_labels_and_descriptions_lead_to_them() {
    let values = |html: &str, attribute: &str| -> Vec<String> {
        html.split(&format!(" {attribute}=\""))
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect()
    };
    for (name, html) in pages() {
        let ids = values(&html, "id");
        let mut seen = HashSet::new();
        for id in &ids {
            assert!(seen.insert(id.clone()), "{name} has {id} twice");
        }
        for attribute in ["for", "aria-describedby", "data-rules", "popovertarget", "list"] {
            for wanted in values(&html, attribute)
                .iter()
                .flat_map(|ids| ids.split(' ').map(str::to_owned).collect::<Vec<_>>())
            {
                assert!(
                    seen.contains(&wanted),
                    "{name}: {attribute} leads to {wanted}, which is not there"
                );
            }
        }
    }
}

#[test]
fn what_can_be_wider_than_a_phone_is_a_region_that_can_be_focused_and_has_an_edge() {
    let mut seen = HashSet::new();
    for (name, html) in pages() {
        for tag in tags(&html) {
            let wide = ["div class=\"table-frame\"", "pre class=\"json"];
            let Some(wide) = wide.into_iter().find(|wide| tag.starts_with(wide)) else { continue };
            seen.insert(wide);
            for needed in [" tabindex=\"0\"", " role=\"region\"", " aria-label=\""] {
                assert!(tag.contains(needed), "{name}: {tag}");
            }
        }
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    let style = include_str!("../assets/style.css");
    assert!(style.contains(":is(.table-frame, .json, .segments.scroll) {"));
}

#[test]
fn a_page_of_a_list_says_that_it_is_one() {
    let foot =
        |next, first| parts::table_foot(&reader(), "50 purchases", next, first).into_string();
    assert!(!foot(None, None).contains("on this page"));
    for html in [foot(Some("/x"), None), foot(None, Some("/x")), foot(Some("/x"), Some("/x"))] {
        assert!(html.contains("50 purchases on this page"), "{html}");
    }
}

#[test]
fn every_form_that_changes_something_has_its_token_and_paths_are_below_the_root() {
    for (name, html) in pages() {
        for form in html.split("<form").skip(1) {
            let form = form.split("</form>").next().unwrap();
            let is_post = form.split('>').next().unwrap().contains("method=\"post\"");
            // What has no action is sent to the address of the page, which has the token of a mail.
            let has_token =
                ["name=\"form_token\"", "name=\"token\""].iter().any(|of| form.contains(of))
                    || !form.contains("action=");
            assert!(!is_post || has_token, "{name}: {form}");
        }
        for attribute in ["href", "src", "data-live"] {
            for path in html.split(&format!(" {attribute}=\"/")).skip(1) {
                assert!(path.starts_with("below/"), "{name}: {attribute}=/{}", &path[..20]);
            }
        }
    }
}

#[test]
fn every_page_has_one_heading_of_the_first_order_and_a_title() {
    for (name, html) in pages() {
        assert_eq!(html.matches("<h1").count(), 1, "{name}");
        assert!(
            html.starts_with("<!doctype html><html lang=\"en\" data-theme=\"dark\">"),
            "{name}"
        );
        assert!(html.contains("<title>"), "{name}");
        assert_eq!(html.matches("id=\"main\"").count(), 1, "{name}");
    }
}

#[test]
fn the_words_of_the_script_are_what_it_asks_for() {
    let script = include_str!("../assets/live.js");
    let words = tributary_console::text::words_of_script();
    for word in script.split("words().").skip(1) {
        let word: String = word.chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(words.contains(&format!("\"{word}\":")), "{word}");
    }
    assert!(script.contains("words()[state]"));
    for state in ["open", "waiting", "closed"] {
        assert!(words.contains(&format!("\"{state}\":")), "{state}");
    }
}

#[test]
fn every_reason_of_the_contract_is_known_and_none_says_nothing() {
    for number in 0..1_000 {
        let Ok(reason) = ErrorReason::try_from(number) else { continue };
        let words = tributary_console::text::faults::reason(reason);
        assert!(words.is_none_or(|words| words.ends_with('.')), "{reason:?}");
    }
}
