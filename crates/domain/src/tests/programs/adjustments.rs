//! Adjustments of balances, with numbers.

use super::multi_level_commission;
use crate::decide::{AdjustBalance, Approve, Command, Decline};
use crate::tests::scene::{PROGRAM, Scene, member, program, refused, user};
use crate::{
    AdjustmentId, ApiKey, ApiKeyCreated, ApiKeyId, ApprovalId, ApprovalState, Bucket, EntryKind,
    Halt, KeyMaker, KeyRole, NewApiKey, ParticipantEvent, Personal, Refusal, SelfApprovalWhy,
    Staff,
};

const LIMIT: i64 = 1_000;

fn approval_id(name: &str, id: &str) -> ApprovalId {
    ApprovalId::adjustment(member(name), AdjustmentId::parse(id).unwrap())
}

fn person(name: &str) -> Staff {
    Staff { user_id: Some(user(name)), key_id: None }
}

fn key(id: &str) -> Staff {
    Staff { user_id: None, key_id: Some(ApiKeyId::parse(id).unwrap()) }
}

/// An adjustment that olga asks for.
fn adjustment(name: &str, id: &str, amount_minor: i64) -> AdjustBalance {
    AdjustBalance {
        participant: member(name),
        adjustment_id: AdjustmentId::parse(id).unwrap(),
        amount_minor,
        currency_code: "INR".into(),
        reason_code: "goodwill".into(),
        note: Some(Personal("she was right".into())),
        by: person("olga"),
        limit_minor: LIMIT,
    }
}

impl Scene {
    fn ask(&mut self, adjustment: AdjustBalance) -> Result<(), Halt> {
        self.tell(&Command::AdjustBalance(Box::new(adjustment)))
    }

    fn adjust(&mut self, name: &str, id: &str, amount_minor: i64) -> Result<(), Halt> {
        self.ask(adjustment(name, id, amount_minor))
    }

    fn approve(&mut self, name: &str, id: &str, by: Staff) -> Result<(), Halt> {
        self.tell(&Command::Approve(Approve { approval_id: approval_id(name, id), by }))
    }

    fn decline(&mut self, name: &str, id: &str, by: Staff) -> Result<(), Halt> {
        let approval_id = approval_id(name, id);
        self.tell(&Command::Decline(Decline { approval_id, note: None, by }))
    }
}

/// A scene in which ana has earned 5000 from a purchase of bob's.
fn with_earnings() -> Scene {
    let mut scene = Scene::of(multi_level_commission());
    scene.line(&["ana", "bob"]);
    assert_eq!(scene.buy("bob", 100_000).granted(), [("ana", 1, 5_000)]);
    scene
}

fn is_repetition(answer: &Result<(), Halt>) -> bool {
    matches!(answer, Err(Halt::AlreadyRecorded(_)))
}

#[test]
fn an_adjustment_is_an_entry_of_its_own_and_no_earning() {
    let mut scene = with_earnings();
    let mark = scene.memory.log().len();
    scene.adjust("ana", "a", -LIMIT).unwrap();
    let events: Vec<_> = scene.memory.participant_events_since(mark).collect();
    let [(_, ParticipantEvent::BalanceAdjusted(adjusted))] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((&*adjusted.reason_code, adjusted.adjustment_id.as_str()), ("goodwill", "a"));
    let posting = &adjusted.posting;
    assert_eq!((posting.kind, posting.amount), (EntryKind::Adjustment, -LIMIT));
    assert_eq!((posting.to, &*posting.unit), (Bucket::Available, "INR"));
    let ana = scene.participant("ana");
    assert_eq!(
        (ana.balance_minor(), ana.earned_minor(), ana.buckets().adjusted),
        (4_000, 5_000, -1_000)
    );
    assert_eq!(ana.level(1).total_minor, 5_000);
    assert!(ana.buckets().reconcile());
}

#[test]
fn a_balance_may_become_negative_and_later_rewards_offset_it() {
    let mut scene = with_earnings();
    for number in 0..6 {
        scene.adjust("ana", &format!("a{number}"), -LIMIT).unwrap();
    }
    assert_eq!(scene.participant("ana").buckets().available, -1_000);
    assert_eq!(scene.participant("ana").buckets().owed(), 0);
    scene.buy("bob", 100_000);
    assert_eq!(scene.participant("ana").buckets().available, 4_000);
}

#[test]
fn the_same_adjustment_again_is_a_repetition_and_another_under_its_id_is_refused() {
    let mut scene = with_earnings();
    for amount in [LIMIT, LIMIT + 1] {
        let id = format!("a{amount}");
        scene.adjust("ana", &id, amount).unwrap();
        assert!(is_repetition(&scene.adjust("ana", &id, amount)));
        let reused = || refused(Refusal::AdjustmentIdReused(approval_id("ana", &id)));
        assert_eq!(scene.adjust("ana", &id, amount - 1), reused());
        let other = AdjustBalance { reason_code: "x".into(), ..adjustment("ana", &id, amount) };
        assert_eq!(scene.ask(other), reused());
        // The id is of this participant only.
        scene.adjust("bob", &id, amount).unwrap();
    }
    assert_eq!(scene.participant("ana").buckets().adjusted, LIMIT);
}

#[test]
fn above_the_limit_nothing_moves_before_somebody_else_approves() {
    let mut scene = with_earnings();
    for (id, amount) in [("up", LIMIT + 1), ("down", -LIMIT - 1)] {
        let before = scene.participant("ana").balance_minor();
        scene.adjust("ana", id, amount).unwrap();
        assert_eq!(scene.participant("ana").balance_minor(), before);
        let why = SelfApprovalWhy::SamePerson;
        let own = Refusal::SelfApproval { approval_id: approval_id("ana", id), why };
        assert_eq!(scene.approve("ana", id, person("olga")), refused(own));
        scene.approve("ana", id, person("otto")).unwrap();
        assert_eq!(scene.participant("ana").balance_minor(), before + amount);
        assert!(is_repetition(&scene.approve("ana", id, person("otto"))));
        assert!(is_repetition(&scene.approve("ana", id, key("k_1"))));
        assert!(is_repetition(&scene.adjust("ana", id, amount)));
        assert_eq!(scene.participant("ana").balance_minor(), before + amount);
    }
}

#[test]
fn with_a_limit_of_0_every_adjustment_waits() {
    let mut scene = with_earnings();
    scene.ask(AdjustBalance { limit_minor: 0, ..adjustment("ana", "a", 1) }).unwrap();
    assert_eq!(scene.participant("ana").buckets().adjusted, 0);
    scene.approve("ana", "a", person("otto")).unwrap();
    assert_eq!(scene.participant("ana").buckets().adjusted, 1);
}

/// Keys, and who has created them.
const CREATORS: [(&str, Option<&str>); 4] =
    [("by-olga", Some("olga")), ("by-otto", Some("otto")), ("by-ana", Some("ana")), ("old", None)];

#[test]
fn nobody_approves_with_a_key_what_they_asked_for_in_person_nor_what_is_for_themselves() {
    let mut scene = with_earnings();
    for (key_id, creator) in CREATORS {
        let created = ApiKeyCreated {
            role: KeyRole::Admin,
            user_id: None,
            rpcs: None,
            program_ids: None,
            expire_time_us: None,
            creator_user_id: creator.map(user),
            maker: None,
        };
        scene.memory.given::<ApiKey>(&ApiKeyId::parse(key_id).unwrap(), created.into());
    }
    let own =
        |id: &str, why| refused(Refusal::SelfApproval { approval_id: approval_id("ana", id), why });
    let [person_too, key_too, balance] =
        [SelfApprovalWhy::SamePerson, SelfApprovalWhy::SameKey, SelfApprovalWhy::OwnBalance];
    scene.adjust("ana", "a", 2_000).unwrap();
    assert_eq!(scene.approve("ana", "a", key("by-olga")), own("a", person_too));
    scene.approve("ana", "a", key("by-otto")).unwrap();

    scene.ask(AdjustBalance { by: key("by-olga"), ..adjustment("ana", "b", 2_000) }).unwrap();
    assert_eq!(scene.approve("ana", "b", person("olga")), own("b", person_too));
    assert_eq!(scene.approve("ana", "b", key("by-olga")), own("b", person_too));
    scene.approve("ana", "b", key("old")).unwrap();

    // The key of the settings is one, too.
    scene.ask(AdjustBalance { by: Staff::default(), ..adjustment("ana", "c", 2_000) }).unwrap();
    assert_eq!(scene.approve("ana", "c", Staff::default()), own("c", key_too));
    assert_eq!(scene.approve("ana", "c", person("ana")), own("c", balance));
    scene.approve("ana", "c", key("old")).unwrap();

    // An adjustment of one's own balance waits, however small it is, also by a key of one's own.
    for (id, by) in [("d", person("ana")), ("e", key("by-ana"))] {
        let before = scene.participant("ana").buckets().adjusted;
        scene.ask(AdjustBalance { by, ..adjustment("ana", id, 1) }).unwrap();
        assert_eq!(scene.participant("ana").buckets().adjusted, before);
        assert_eq!(scene.approve("ana", id, person("ana")), own(id, balance));
        assert_eq!(scene.approve("ana", id, key("by-ana")), own(id, balance));
        scene.approve("ana", id, person("olga")).unwrap();
        assert_eq!(scene.participant("ana").buckets().adjusted, before + 1);
    }
}

#[test]
fn keys_that_were_created_with_each_other_count_as_one() {
    let mut scene = with_earnings();
    let made_with = |key_id: &str| Some(KeyMaker::Key { key_id: ApiKeyId::parse(key_id).unwrap() });
    for (key_id, maker) in [
        ("first", None),
        ("second", made_with("first")),
        ("third", made_with("second")),
        ("of-settings", Some(KeyMaker::Settings)),
        ("of-that", made_with("of-settings")),
        ("other", None),
    ] {
        let create = NewApiKey {
            key_id: ApiKeyId::parse(key_id).unwrap(),
            hash: [1; 32],
            name: key_id.into(),
            role: KeyRole::Admin,
            user_id: None,
            rpcs: None,
            program_ids: None,
            expire_time: None,
            created_by: "somebody".into(),
            creator_user_id: None,
            maker,
        };
        scene.tell(&Command::CreateApiKey(Box::new(create))).unwrap();
    }
    let own = |id: &str| {
        let why = SelfApprovalWhy::SameKey;
        refused(Refusal::SelfApproval { approval_id: approval_id("ana", id), why })
    };
    let of_one = [key("first"), key("second"), key("third")];
    let of_settings = [Staff::default(), key("of-settings"), key("of-that")];
    for (name, group, others) in
        [("one", &of_one, &of_settings), ("settings", &of_settings, &of_one)]
    {
        for (place, by) in group.iter().enumerate() {
            let id = format!("{name}-{place}");
            let ask = AdjustBalance { by: by.clone(), ..adjustment("ana", &id, 2_000) };
            scene.ask(ask).unwrap();
            for same in group {
                assert_eq!(scene.approve("ana", &id, same.clone()), own(&id), "{by:?} {same:?}");
            }
            scene.approve("ana", &id, others[place].clone()).unwrap();
        }
    }
    let ask = AdjustBalance { by: key("third"), ..adjustment("ana", "last", 2_000) };
    scene.ask(ask).unwrap();
    scene.approve("ana", "last", key("other")).unwrap();
}

#[test]
fn what_was_declined_cannot_be_approved_nor_the_other_way_round() {
    let mut scene = with_earnings();
    let decided = |id: &str, state| {
        refused(Refusal::ApprovalDecided { approval_id: approval_id("ana", id), state })
    };
    scene.adjust("ana", "a", 2_000).unwrap();
    scene.decline("ana", "a", person("otto")).unwrap();
    assert!(is_repetition(&scene.decline("ana", "a", person("otto"))));
    assert_eq!(scene.approve("ana", "a", person("otto")), decided("a", ApprovalState::Declined));
    scene.adjust("ana", "b", 2_000).unwrap();
    scene.approve("ana", "b", person("otto")).unwrap();
    assert_eq!(scene.decline("ana", "b", person("otto")), decided("b", ApprovalState::Approved));
    // Whoever asked can take it back.
    scene.adjust("ana", "c", 2_000).unwrap();
    scene.decline("ana", "c", person("olga")).unwrap();
    assert_eq!(scene.participant("ana").buckets().adjusted, 2_000);

    scene.adjust("ana", "small", 1).unwrap();
    for id in ["small", "unknown"] {
        let unknown = || refused(Refusal::ApprovalNotFound(approval_id("ana", id)));
        assert_eq!(scene.approve("ana", id, person("otto")), unknown());
        assert_eq!(scene.decline("ana", id, person("otto")), unknown());
    }
}

#[test]
fn an_adjustment_is_in_the_unit_of_the_program_and_for_somebody_in_it() {
    let mut scene = with_earnings();
    let dollars = AdjustBalance { currency_code: "USD".into(), ..adjustment("ana", "a", 1) };
    let (program_id, unit) = (program(PROGRAM), "INR".into());
    assert_eq!(
        scene.ask(dollars),
        refused(Refusal::NotTheUnit { field: "amount", program_id, unit })
    );
    let unknown = refused(Refusal::UserNotFound(user("zoe")));
    assert_eq!(scene.adjust("zoe", "a", 1), unknown);
    // Somebody who is deactivated can be corrected.
    scene.deactivate("ana");
    scene.adjust("ana", "a", 1).unwrap();
}

#[test]
fn nothing_is_posted_for_somebody_who_was_erased() {
    let mut scene = with_earnings();
    scene.adjust("ana", "small", 1).unwrap();
    scene.adjust("ana", "large", 2_000).unwrap();
    scene.erase("ana", true).unwrap();
    let gone = || refused(Refusal::UserNotFound(user("ana")));
    assert_eq!(scene.approve("ana", "large", person("otto")), gone());
    assert_eq!(scene.adjust("ana", "new", 1), gone());
    assert!(is_repetition(&scene.adjust("ana", "small", 1)), "the first answer stays");
    scene.decline("ana", "large", person("otto")).unwrap();
    assert_eq!(scene.participant("ana").balance_minor(), 0);
}
