//! What fraud checks compare a sign-up with.

use super::tiered_points;
use crate::decide::{Command, ConfirmEmail, Exchange, UpdateProfile, evidence};
use crate::fraud::{Address, FraudPolicy, LATEST_REFEREES, SignUpsPerAddress};
use crate::tests::memory_work::{Memory, Reading, keyed_hash};
use crate::tests::scene::{Scene, address, member, profile, program, user};
use crate::{Claim, ClaimKind, Halt, Personal, Profile, Refusal};

fn register(scene: &mut Scene, name: &str, email: &str) {
    let profile = Profile { email: email.into(), ..profile(name) };
    scene.register(profile, None, None).unwrap();
}

/// The owners of the mailbox of an address and of what it looks like.
fn owners(scene: &Scene, email: &str) -> [String; 2] {
    let address = Address::parse(email).unwrap();
    let mailbox = keyed_hash("mailbox", &address.mailbox_key());
    let look_alike = keyed_hash("look_alike", &address.look_alike_key());
    [(ClaimKind::Mailbox, mailbox), (ClaimKind::LookAlike, look_alike)]
        .map(|(kind, value)| scene.memory.owner_of(kind, &value).unwrap_or("nobody").to_owned())
}

pub(super) fn change_address(scene: &mut Scene, name: &str, from: &str, to: &str) {
    let [from, to] = [from, to].map(|address| Personal(address.into()));
    let exchange = Exchange { from, to };
    let update = UpdateProfile {
        user_id: user(name),
        version: 0,
        username: None,
        display_name: None,
        email: Some(exchange.clone()),
        mails: Vec::new(),
    };
    scene.tell(&Command::UpdateProfile(Box::new(update))).unwrap();
    let confirm = ConfirmEmail { user_id: user(name), version: 1, change: Some((exchange, 1)) };
    scene.tell(&Command::ConfirmEmail(Box::new(confirm))).unwrap();
}

#[test]
fn a_mailbox_belongs_to_the_first_user_and_others_sign_up_all_the_same() {
    for reading in [Reading::Warm, Reading::Cold] {
        let mut scene = Scene::read(reading, tiered_points());
        register(&mut scene, "ana", "ana0@example.com");
        register(&mut scene, "ann", "ana0+shop@example.com");
        register(&mut scene, "eve", "anao@example.com");
        assert_eq!(owners(&scene, "ana0@example.com"), ["ana", "ana"]);
        assert_eq!(owners(&scene, "anao@example.com"), ["eve", "ana"]);
    }
}

#[test]
fn a_mailbox_that_its_owner_gives_up_belongs_to_the_next_who_gets_it() {
    let mut scene = Scene::of(tiered_points());
    register(&mut scene, "ana", "ana@example.com");
    register(&mut scene, "ann", "ana+1@example.com");
    // Another tag: the mailbox stays ana's.
    change_address(&mut scene, "ana", "ana@example.com", "ana+2@example.com");
    assert_eq!(owners(&scene, "ana@example.com"), ["ana", "ana"]);
    // It is not ann's to give up.
    change_address(&mut scene, "ann", "ana+1@example.com", "ann@example.com");
    assert_eq!(owners(&scene, "ana@example.com"), ["ana", "ana"]);
    assert_eq!(owners(&scene, "ann@example.com"), ["ann", "ann"]);

    scene.erase("ana", false).unwrap();
    assert_eq!(owners(&scene, "ana@example.com"), ["nobody", "nobody"]);
    register(&mut scene, "eve", "ana+3@example.com");
    assert_eq!(owners(&scene, "ana@example.com"), ["eve", "eve"]);
}

#[test]
fn a_fingerprint_belongs_to_the_first_who_had_it() {
    let mut memory = Memory::new(Reading::Cold);
    let mut share =
        |name: &str| memory.carry_out(|work| evidence::share_fingerprint(work, &user(name), "f1"));
    assert_eq!(share("ana"), Ok(None));
    assert_eq!(share("ana"), Ok(None));
    assert_eq!(share("bob"), Ok(Some(user("ana"))));
}

#[test]
fn only_what_can_be_shared_is() {
    let mut memory = Memory::new(Reading::Warm);
    let code = Claim { kind: ClaimKind::Code, value: "ABC2345".into(), owner: "p/ana".into() };
    let shared = memory.carry_out(|work| work.share_claim(code.clone()));
    assert!(matches!(shared, Err(Halt::Broken(_))));
}

#[test]
fn sign_ups_are_counted_for_each_program_and_address_apart() {
    let mut memory = Memory::new(Reading::Cold);
    let check = SignUpsPerAddress { max_sign_ups: 1, ..SignUpsPerAddress::default() };
    let mut count = |program_id: &str, client_ip: &str| {
        let client_ip = client_ip.parse().unwrap();
        memory
            .carry_out(|work| evidence::count_sign_up(work, &program(program_id), client_ip, check))
    };
    assert_eq!(count("spring", "192.0.2.1"), Ok(0));
    assert_eq!(count("spring", "192.0.2.2"), Ok(0));
    assert_eq!(count("summer", "192.0.2.1"), Ok(0));
    let refused = count("spring", "192.0.2.1");
    assert!(matches!(refused, Err(Halt::Refused(Refusal::TooManySignUps { limit: 1, .. }))));
}

#[test]
fn a_program_that_only_flags_counts_on() {
    let mut memory = Memory::new(Reading::Cold);
    let check = SignUpsPerAddress {
        max_sign_ups: 1,
        policy: FraudPolicy::Flag,
        ..SignUpsPerAddress::default()
    };
    for before in 0..3 {
        let client_ip = "192.0.2.1".parse().unwrap();
        let count = memory
            .carry_out(|work| evidence::count_sign_up(work, &program("spring"), client_ip, check));
        assert_eq!(count, Ok(before));
    }
}

#[test]
fn the_latest_referees_come_with_their_present_addresses_and_times() {
    let mut scene = Scene::read(Reading::Cold, tiered_points());
    scene.sign_up("ana");
    let extra = 3;
    for number in 0..LATEST_REFEREES + extra {
        scene.refer("ana", &format!("user-{number}"));
    }
    let newest = format!("user-{}", LATEST_REFEREES + extra - 1);
    let newest_time = scene.memory.now();
    change_address(&mut scene, &newest, &address(&newest), "New@Example.com");
    scene.erase("user-50", false).unwrap();

    let referees = scene.memory.ask(|work| work.latest_referees(&member("ana"))).unwrap();
    assert_eq!(referees.len(), LATEST_REFEREES);
    assert_eq!(referees[0].user_id, user(&newest));
    assert_eq!(referees[0].refer_time, newest_time);
    assert_eq!(referees[0].address, Some(Personal("new@example.com".into())));
    assert_eq!(referees.last().unwrap().user_id, user(&format!("user-{extra}")));
    let erased = referees.iter().find(|referee| referee.user_id == user("user-50")).unwrap();
    assert_eq!(erased.address, None);
    let address_of = |name: &str| scene.memory.ask(|work| work.address_of(&user(name))).unwrap();
    assert_eq!(address_of("ana"), Some(Personal("ana@example.com".into())));
    assert_eq!(address_of("user-50"), None);
}
