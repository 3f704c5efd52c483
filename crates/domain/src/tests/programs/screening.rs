//! The fraud checks of a program, wherever a referral is made, and what follows from a decision about a flag.

use crate::decide::{Command, RecordPurchase, RegisterUser, ResolveFraudFlag};
use crate::fraud::{
    FlagKind, FraudCheck, FraudChecks, FraudPolicy, Mailbox, Occasion, ReferralBurst,
    SignUpsPerAddress,
};
use crate::rules::{AttachPolicy, ProgramRules};
use crate::tests::memory_work::{DISPOSABLE_DOMAIN, Reading};
use crate::tests::programs::evidence::change_address;
use crate::tests::programs::{first_purchase_bonus, tiered_points};
use crate::tests::scene::{PROGRAM, Scene, address, profile, program, user};
use crate::{
    AnyEvent, FraudDecision, FraudFlagEvent, FraudFlagId, FraudFlagRaised, Halt, Participant,
    ParticipantId, Profile, ProgramId, PurchaseId, ReferralStatus,
};

pub(super) const READINGS: [Reading; 2] = [Reading::Warm, Reading::Cold];

/// A sign-up as a test describes it.
#[derive(Default)]
pub(crate) struct SignUp<'a> {
    pub name: &'a str,
    pub email: &'a str,
    pub referrer: Option<&'a str>,
    pub client_ip: Option<&'a str>,
    pub fingerprint: Option<&'a str>,
}

impl SignUp<'_> {
    /// Signs up in the scene's program.
    pub fn make(self, scene: &mut Scene) -> Result<(), Halt> {
        self.make_in(scene, Some(program(PROGRAM)))
    }

    /// Signs up in a program, or in none.
    pub fn make_in(self, scene: &mut Scene, program_id: Option<ProgramId>) -> Result<(), Halt> {
        let profile = Profile { email: self.email.into(), ..profile(self.name) };
        let referral_code = self.referrer.map(|referrer| scene.code(referrer));
        scene.tell(&Command::RegisterUser(Box::new(RegisterUser {
            address_key: None,
            mailbox: Mailbox::parse(self.email),
            client_ip: self.client_ip.map(|address| address.parse().unwrap()),
            fingerprint_key: self.fingerprint.map(Into::into),
            profile,
            program_id,
            referral_code,
            api_key: None,
            is_address_confirmed: false,
        })))
    }
}

pub(super) fn first(scene: &mut Scene, name: &str, email: &str) {
    SignUp { name, email, ..SignUp::default() }.make(scene).unwrap();
}

fn referred(scene: &mut Scene, name: &str, email: &str, referrer: &str) {
    SignUp { name, email, referrer: Some(referrer), ..SignUp::default() }.make(scene).unwrap();
}

/// All flags, in the order in which they were raised.
pub(crate) fn flags(scene: &Scene) -> Vec<(FraudFlagId, FraudFlagRaised)> {
    let raised = scene.memory.log().iter().filter_map(|logged| match &logged.event {
        AnyEvent::FraudFlag(FraudFlagEvent::FraudFlagRaised(raised)) => {
            Some((FraudFlagId::parse(&logged.key.id).unwrap(), raised.clone()))
        }
        _ => None,
    });
    raised.collect()
}

/// The only flag.
pub(super) fn flag(scene: &Scene) -> (FraudFlagId, FraudFlagRaised) {
    let [flag] = flags(scene).try_into().unwrap();
    flag
}

pub(super) fn resolve(scene: &mut Scene, flag_id: &FraudFlagId, decision: FraudDecision) {
    let resolve = ResolveFraudFlag {
        flag_id: flag_id.clone(),
        decision,
        reverses_rewards: false,
        note: None,
        may_deactivate_staff: false,
    };
    scene.tell(&Command::ResolveFraudFlag(Box::new(resolve))).unwrap();
}

/// Points by tier with these checks only.
pub(super) fn checking(fraud_checks: FraudChecks) -> ProgramRules {
    ProgramRules { fraud_checks, ..tiered_points() }
}

fn earned(scene: &Scene, name: &str) -> i64 {
    scene.participant(name).earned_minor()
}

#[test]
fn the_same_mailbox_rejects_the_referral_and_the_account_stands() {
    for reading in READINGS {
        let mut scene = Scene::read(reading, tiered_points());
        first(&mut scene, "ana", "ana.lopez@gmail.com");
        referred(&mut scene, "bea", "analopez+2@googlemail.com", "ana");
        assert!(scene.user_exists("bea"));
        assert_eq!(scene.status("bea"), Some(ReferralStatus::Rejected));
        assert_eq!((earned(&scene, "ana"), scene.participant("ana").uses()), (0, 0));
        let (_, raised) = flag(&scene);
        assert_eq!((raised.kind, raised.score_bps), (FlagKind::SameMailbox, 10_000));
        assert_eq!(raised.other_user_id, Some(user("ana")));
        assert_eq!(raised.consequence, FraudPolicy::Reject);
        // The mailbox looks the same, too, and everything else is evidence.
        assert!(raised.evidence.contains(&FlagKind::LookAlike), "{:?}", raised.evidence);
    }
}

#[test]
fn dots_count_where_no_provider_says_otherwise() {
    let mut scene = Scene::of(checking(FraudChecks {
        same_mailbox: Some(FraudCheck { policy: FraudPolicy::Reject }),
        ..FraudChecks::default()
    }));
    first(&mut scene, "ana", "ana.lopez@company.example");
    referred(&mut scene, "bea", "analopez@company.example", "ana");
    assert_eq!(flags(&scene), []);
    referred(&mut scene, "cem", "ana.lopez+shop@company.example", "ana");
    assert_eq!(flag(&scene).1.kind, FlagKind::SameMailbox);
}

#[test]
fn an_address_similar_to_the_referrers_is_held_with_its_ratio() {
    for reading in READINGS {
        let mut scene = Scene::read(reading, tiered_points());
        first(&mut scene, "john", "john@gmail.com");
        referred(&mut scene, "eve", "j0hn@gmail.com", "john");
        assert_eq!(scene.status("eve"), Some(ReferralStatus::Held));
        let (_, raised) = flag(&scene);
        assert_eq!((raised.kind, raised.score_bps), (FlagKind::SelfReferral, 9_286));
        assert_eq!(raised.evidence, [FlagKind::LookAlike]);
        assert_eq!(earned(&scene, "john"), 0);
    }
}

#[test]
fn a_team_on_one_domain_is_not_flagged() {
    for reading in READINGS {
        let mut scene = Scene::read(reading, tiered_points());
        first(&mut scene, "boss", "maria@company.example");
        referred(&mut scene, "ann", "ann@company.example", "boss");
        referred(&mut scene, "dan", "dan@company.example", "boss");
        referred(&mut scene, "family", "peter.smith@company.example", "boss");
        assert_eq!(flags(&scene), []);
        assert_eq!(earned(&scene, "boss"), 30);
    }
}

#[test]
fn near_duplicates_among_the_referees_and_look_alikes_of_anybody_are_held() {
    for reading in READINGS {
        let mut scene = Scene::read(reading, tiered_points());
        first(&mut scene, "ana", "ana@example.com");
        first(&mut scene, "zoe", "vladimir@example.org");
        referred(&mut scene, "one", "farm7@example.net", "ana");
        referred(&mut scene, "two", "farm8@example.net", "ana");
        referred(&mut scene, "six", "vIad1mir@example.org", "ana");
        let kinds: Vec<_> =
            flags(&scene).into_iter().map(|(_, of)| (of.kind, of.other_user_id)).collect();
        let expected = [
            (FlagKind::NearDuplicate, Some(user("one"))),
            (FlagKind::LookAlike, Some(user("zoe"))),
        ];
        assert_eq!(kinds, expected);
        let statuses = ["one", "two", "six"].map(|name| scene.status(name).unwrap());
        let held = ReferralStatus::Held;
        assert_eq!(statuses, [ReferralStatus::Converted, held, held]);
    }
}

fn sign_up(
    scene: &mut Scene,
    number: u32,
    client_ip: Option<&str>,
    referrer: Option<&str>,
) -> Result<(), Halt> {
    let name = format!("guest-{number}");
    let email = address(&name);
    SignUp { name: &name, email: &email, referrer, client_ip, fingerprint: None }.make(scene)
}

#[test]
fn the_sixth_sign_up_from_one_address_is_refused_whether_referred_or_not() {
    for reading in READINGS {
        let mut scene = Scene::read(reading, tiered_points());
        first(&mut scene, "ana", "ana@example.com");
        for number in 0..5 {
            let address = format!("2001:db8:1:2::{number}");
            let referrer = (number % 2 == 0).then_some("ana");
            let signed_up = sign_up(&mut scene, number, Some(address.as_str()), referrer);
            signed_up.unwrap();
        }
        let refused = sign_up(&mut scene, 5, Some("2001:db8:1:2:ffff::1"), None);
        assert!(matches!(refused, Err(Halt::Refused(_))), "{refused:?}");
        assert!(!scene.user_exists("guest-5"));
        sign_up(&mut scene, 6, Some("2001:db8:1:3::1"), Some("ana")).unwrap();
        sign_up(&mut scene, 7, None, Some("ana")).unwrap();
        // The window moves on.
        scene.memory.set_now(scene.memory.now().plus_seconds(24 * 60 * 60));
        sign_up(&mut scene, 8, Some("2001:db8:1:2::8"), None).unwrap();
        assert_eq!(flags(&scene), []);
    }
}

#[test]
fn each_policy_has_its_consequence() {
    use ReferralStatus::{Converted, Held, Rejected};
    for (policy, status) in
        [(FraudPolicy::Flag, Converted), (FraudPolicy::Hold, Held), (FraudPolicy::Reject, Rejected)]
    {
        let check = Some(FraudCheck { policy });
        let off = FraudChecks::default();
        let per_address = SignUpsPerAddress { max_sign_ups: 1, window_hours: 24, policy };
        let cases = [
            (FlagKind::SameMailbox, FraudChecks { same_mailbox: check, ..off.clone() }),
            (FlagKind::LookAlike, FraudChecks { look_alike: check, ..off.clone() }),
            (FlagKind::Fingerprint, FraudChecks { fingerprint: check, ..off.clone() }),
            (FlagKind::DisposableDomain, FraudChecks { disposable_domain: check, ..off.clone() }),
            (
                FlagKind::SignUpsPerAddress,
                FraudChecks { sign_ups_per_address: Some(per_address), ..off },
            ),
        ];
        for (kind, checks) in cases {
            let is_refused = kind == FlagKind::SignUpsPerAddress && policy == FraudPolicy::Reject;
            let mut scene = Scene::read(Reading::Cold, checking(checks));
            let domain = DISPOSABLE_DOMAIN;
            let (ana, bea) = (format!("ana@{domain}"), format!("ana+1@{domain}"));
            let client_ip = Some("192.0.2.1");
            let fingerprint = Some("a card");
            SignUp { name: "ana", email: &ana, referrer: None, client_ip, fingerprint }
                .make(&mut scene)
                .unwrap();
            let referrer = Some("ana");
            let made = SignUp { name: "bea", email: &bea, referrer, client_ip, fingerprint }
                .make(&mut scene);
            assert_eq!(made.is_err(), is_refused, "{kind:?} {policy:?}: {made:?}");
            if is_refused {
                continue;
            }
            assert_eq!(scene.status("bea"), Some(status), "{kind:?} {policy:?}");
            let (_, raised) = flag(&scene);
            assert_eq!((raised.kind, raised.consequence), (kind, policy));
            assert_eq!(earned(&scene, "ana"), if status == Converted { 10 } else { 0 });
        }
    }
}

#[test]
fn released_a_referral_earns_as_if_just_made_and_the_pair_is_not_flagged_again() {
    for reading in READINGS {
        let rules = ProgramRules { attach: AttachPolicy::AnyTime, ..tiered_points() };
        let mut scene = Scene::read(reading, rules);
        first(&mut scene, "john", "john@gmail.com");
        referred(&mut scene, "eve", "j0hn@gmail.com", "john");
        let (flag_id, _) = flag(&scene);
        resolve(&mut scene, &flag_id, FraudDecision::Released);
        assert_eq!(scene.status("eve"), Some(ReferralStatus::Converted));
        assert_eq!(earned(&scene, "john"), 10);
        let mark = scene.memory.log().len();
        resolve(&mut scene, &flag_id, FraudDecision::Released);
        assert_eq!(scene.memory.log().len(), mark);

        scene.publish("another", tiered_points()).unwrap();
        scene.enroll("john", "another", None).unwrap();
        let john = ParticipantId::new(&program("another"), &user("john"));
        let code = scene.memory.state::<Participant>(&john).code().to_owned();
        scene.enroll("eve", "another", Some(&code)).unwrap();
        assert_eq!(flags(&scene).len(), 1);

        // A changed decision is a second one; what was granted stays.
        resolve(&mut scene, &flag_id, FraudDecision::RejectedAndDeactivated);
        assert_eq!(scene.status("eve"), Some(ReferralStatus::Converted));
        assert_eq!(earned(&scene, "john"), 10);
        assert!(!scene.memory.state::<crate::User>(&user("eve")).cleared().contains(&user("john")));
    }
}

#[test]
fn rejected_a_referral_frees_its_place_and_released_later_needs_one() {
    let rules = ProgramRules {
        fraud_checks: FraudChecks::all(),
        max_uses_per_code: Some(1),
        ..tiered_points()
    };
    for reading in READINGS {
        let mut scene = Scene::read(reading, rules.clone());
        first(&mut scene, "john", "john@gmail.com");
        referred(&mut scene, "eve", "j0hn@gmail.com", "john");
        let (flag_id, _) = flag(&scene);
        resolve(&mut scene, &flag_id, FraudDecision::Rejected);
        assert_eq!(scene.participant("john").uses(), 0);
        referred(&mut scene, "maximilian", "maximilian@example.org", "john");
        assert_eq!(earned(&scene, "john"), 10);
        let decision = FraudDecision::Released;
        let release = ResolveFraudFlag {
            flag_id,
            decision,
            reverses_rewards: false,
            note: None,
            may_deactivate_staff: false,
        };
        let release = Command::ResolveFraudFlag(Box::new(release));
        assert!(matches!(scene.tell(&release), Err(Halt::Refused(_))));
        assert_eq!(scene.status("eve"), Some(ReferralStatus::Rejected));
    }
}

/// Buys for 1000 USD with a fingerprint.
fn buy_with(scene: &mut Scene, buyer: &str, purchase_id: &str, fingerprint: &str) {
    let purchase = RecordPurchase {
        purchase_id: PurchaseId::parse(purchase_id).unwrap(),
        buyer_user_id: user(buyer),
        amount_minor: 100_000,
        currency_code: "USD".into(),
        purchase_time: None,
        program_ids: None,
        fingerprint_key: Some(fingerprint.into()),
    };
    scene.tell(&Command::RecordPurchase(purchase)).unwrap();
}

/// Who signs up first and is referred afterwards is checked like anybody else.
#[test]
fn what_is_known_of_a_sign_up_is_checked_when_the_referral_is_made_later() {
    for reading in READINGS {
        for enrolls in [true, false] {
            let rules =
                ProgramRules { attach: AttachPolicy::AnyTime, ..checking(FraudChecks::all()) };
            let mut scene = Scene::read(reading, rules);
            scene.publish("another", checking(FraudChecks::default())).unwrap();
            first(&mut scene, "ana", "wilhelmina@example.com");
            let code = scene.code("ana");
            for number in 0..8 {
                let name = format!("guest-{number}");
                let fingerprint = if number == 7 { "guest-6".into() } else { name.clone() };
                let register = RegisterUser {
                    address_key: None,
                    mailbox: Mailbox::parse(&address(&name)),
                    client_ip: Some("192.0.2.7".parse().unwrap()),
                    fingerprint_key: Some(fingerprint),
                    profile: profile(&name),
                    program_id: Some(program("another")),
                    referral_code: None,
                    api_key: None,
                    is_address_confirmed: false,
                };
                scene.tell(&Command::RegisterUser(Box::new(register))).unwrap();
            }
            for number in 0..8 {
                let name = format!("guest-{number}");
                if enrolls {
                    scene.enroll(&name, PROGRAM, Some(&code)).unwrap();
                } else {
                    scene.enroll(&name, PROGRAM, None).unwrap();
                    scene.attach_by_code(&name, &code).unwrap();
                }
            }
            let found = flags(&scene);
            let found: Vec<_> =
                found.iter().map(|(_, raised)| (raised.kind, raised.consequence)).collect();
            let too_many = (FlagKind::SignUpsPerAddress, FraudPolicy::Reject);
            let shared = (FlagKind::Fingerprint, FraudPolicy::Reject);
            assert_eq!(found, [too_many, too_many, shared], "{reading:?}");
            let counted = scene.participant("ana").referrals().counted();
            assert_eq!(counted, 5);
        }
    }
}

#[test]
fn a_fingerprint_holds_a_referral_that_waits_for_a_confirmation_and_one_that_the_buyer_made() {
    for reading in READINGS {
        let fraud_checks = FraudChecks::all();
        let rules =
            ProgramRules { require_confirmed_email: true, fraud_checks, ..first_purchase_bonus() };
        let mut scene = Scene::read(reading, rules);
        first(&mut scene, "ana", "ana@example.com");
        referred(&mut scene, "bea", "wilhelmina@example.org", "ana");
        buy_with(&mut scene, "bea", "first", "a card");
        assert_eq!(flags(&scene), []);
        // Ana pays with the card of whom she has referred.
        buy_with(&mut scene, "ana", "second", "a card");
        let (flag_id, raised) = flag(&scene);
        assert_eq!((raised.kind, raised.consequence), (FlagKind::Fingerprint, FraudPolicy::Hold));
        assert_eq!(raised.referee_user_id, Some(user("bea")));
        assert_eq!(raised.other_user_id, Some(user("ana")));
        scene.confirm("bea").unwrap();
        assert_eq!(scene.status("bea"), Some(ReferralStatus::Held));
        scene.buy("bea", 100_000);
        assert_eq!(earned(&scene, "ana"), 0);
        resolve(&mut scene, &flag_id, FraudDecision::Released);
        assert_eq!(scene.status("bea"), Some(ReferralStatus::Pending));
        buy_with(&mut scene, "ana", "third", "a card");
        assert_eq!(flags(&scene).len(), 1, "the two are cleared");
    }
}

#[test]
fn two_who_were_flagged_for_a_fingerprint_at_the_sign_up_are_not_flagged_for_it_at_a_purchase() {
    let rules = ProgramRules { fraud_checks: FraudChecks::all(), ..first_purchase_bonus() };
    let mut scene = Scene::of(rules);
    let fingerprint = Some("a card");
    for (name, email, referrer) in
        [("ana", "ana@example.com", None), ("bea", "wilhelmina@example.org", Some("ana"))]
    {
        let sign_up = SignUp { name, email, referrer, fingerprint, ..SignUp::default() };
        sign_up.make(&mut scene).unwrap();
    }
    assert_eq!(flag(&scene).1.kind, FlagKind::Fingerprint);
    buy_with(&mut scene, "bea", "first", "a card");
    buy_with(&mut scene, "ana", "second", "a card");
    assert_eq!(flags(&scene).len(), 1);
}

#[test]
fn a_fingerprint_at_a_purchase_holds_a_pending_referral_before_it_earns_and_only_flags_once() {
    for reading in READINGS {
        let rules = ProgramRules { fraud_checks: FraudChecks::all(), ..first_purchase_bonus() };
        let mut scene = Scene::read(reading, rules);
        let (name, email, fingerprint) = ("ana", "ana@example.com", Some("a card"));
        SignUp { name, email, fingerprint, ..SignUp::default() }.make(&mut scene).unwrap();
        referred(&mut scene, "bea", "wilhelmina@example.org", "ana");
        assert_eq!(scene.status("bea"), Some(ReferralStatus::Pending));
        for number in 0..2 {
            let mark = scene.memory.log().len();
            buy_with(&mut scene, "bea", &format!("with-a-card-{number}"), "a card");
            assert_eq!(scene.since(mark).granted(), []);
        }
        assert_eq!(scene.status("bea"), Some(ReferralStatus::Held));
        let (_, raised) = flag(&scene);
        assert_eq!((raised.kind, raised.other_user_id), (FlagKind::Fingerprint, Some(user("ana"))));
    }
}

#[test]
fn a_rehearsal_raises_no_flag_and_the_referral_itself_is_held_also_by_id_and_at_an_enrolment() {
    for reading in READINGS {
        let mut scene =
            Scene::read(reading, ProgramRules { attach: AttachPolicy::AnyTime, ..tiered_points() });
        first(&mut scene, "john", "john@gmail.com");
        first(&mut scene, "eve", "j0hn@gmail.com");
        assert_eq!(scene.fault(&scene.code("john"), Some("eve")), None);
        assert_eq!(flags(&scene), []);
        scene.attach("eve", "john").unwrap();
        assert_eq!(scene.status("eve"), Some(ReferralStatus::Held));
        assert_eq!(flag(&scene).1.kind, FlagKind::SelfReferral);

        scene.publish("another", tiered_points()).unwrap();
        let code = code_in(&mut scene, "another", "john");
        scene.enroll("eve", "another", Some(&code)).unwrap();
        let eve = ParticipantId::new(&program("another"), &user("eve"));
        let participant = scene.memory.state::<Participant>(&eve);
        assert_eq!(participant.referral().unwrap().status, ReferralStatus::Held);
        assert_eq!(flags(&scene).len(), 2);
    }
}

/// Enters a user in another program, and returns the user's code there.
pub(super) fn code_in(scene: &mut Scene, program_id: &str, name: &str) -> String {
    scene.enroll(name, program_id, None).unwrap();
    let id = ParticipantId::new(&program(program_id), &user(name));
    scene.memory.state::<Participant>(&id).code().into()
}

#[test]
fn referrals_above_the_number_in_an_hour_are_held_and_later_ones_are_not() {
    let burst = ReferralBurst { max_referrals_per_hour: 2, ..ReferralBurst::default() };
    let checks = FraudChecks { referral_burst: Some(burst), ..FraudChecks::default() };
    for reading in READINGS {
        let mut scene = Scene::read(reading, checking(checks.clone()));
        scene.sign_up("ana");
        for name in ["bea", "cem", "dan"] {
            scene.refer("ana", name);
        }
        let (_, raised) = flag(&scene);
        assert_eq!(
            (raised.kind, raised.referee_user_id),
            (FlagKind::ReferralBurst, Some(user("dan")))
        );
        assert_eq!(scene.status("dan"), Some(ReferralStatus::Held));
        scene.memory.set_now(scene.memory.now().plus_seconds(60 * 60));
        scene.refer("ana", "eve");
        assert_eq!(scene.status("eve"), Some(ReferralStatus::Converted));
        assert_eq!(flags(&scene).len(), 1);
    }
}

#[test]
fn two_who_refer_each_other_in_two_programs_are_flagged() {
    let mutual_referral = Some(FraudCheck { policy: FraudPolicy::Flag });
    let rules = checking(FraudChecks { mutual_referral, ..FraudChecks::default() });
    for reading in READINGS {
        let mut scene = Scene::read(reading, rules.clone());
        scene.line(&["ana", "bea"]);
        scene.publish("another", rules.clone()).unwrap();
        let code = code_in(&mut scene, "another", "bea");
        scene.enroll("ana", "another", Some(&code)).unwrap();
        let (_, raised) = flag(&scene);
        assert_eq!(
            (raised.kind, raised.program_id),
            (FlagKind::MutualReferral, program("another"))
        );
        assert_eq!(raised.other_user_id, Some(user("bea")));
        assert_eq!(raised.consequence, FraudPolicy::Flag);
    }
}

#[test]
fn a_change_to_a_similar_address_is_flagged_and_the_referral_stays() {
    for reading in READINGS {
        let mut scene = Scene::read(reading, tiered_points());
        first(&mut scene, "john", "john@gmail.com");
        referred(&mut scene, "eve", "evelyn@example.org", "john");
        change_address(&mut scene, "eve", "evelyn@example.org", "j0hn@gmail.com");
        let (_, raised) = flag(&scene);
        assert_eq!(
            (raised.kind, raised.occasion),
            (FlagKind::SelfReferral, Occasion::AddressChange)
        );
        assert_eq!(raised.consequence, FraudPolicy::Flag);
        assert_eq!(scene.status("eve"), Some(ReferralStatus::Converted));
        assert_eq!(earned(&scene, "john"), 10);
    }
}
