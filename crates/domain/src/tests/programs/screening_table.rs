//! Every fraud check under every policy wherever a referral can be made, and pairs whose clearance is taken back.

use std::fmt::{self, Display, Formatter};

use super::screening::{
    READINGS, SignUp, checking, code_in, first, flag, flags, resolve as decide,
};
use crate::fraud::{
    FlagKind, FraudCheck, FraudChecks, FraudPolicy, Occasion, ReferralBurst, SignUpsPerAddress,
    SimilarAddress,
};
use crate::rules::{AttachPolicy, ProgramRules};
use crate::tests::memory_work::{DISPOSABLE_DOMAIN, Reading};
use crate::tests::programs::evidence::change_address;
use crate::tests::programs::multi_level_commission;
use crate::tests::scene::{PROGRAM, Scene, program, user};
use crate::{FraudDecision, Halt, ReferralStatus, Refusal, UserId};

const CLIENT_IP: Option<&str> = Some("192.0.2.1");
const CARD: Option<&str> = Some("a card");
/// A program without checks.
const ELSEWHERE: &str = "elsewhere";
const POLICIES: [FraudPolicy; 3] = [FraudPolicy::Flag, FraudPolicy::Hold, FraudPolicy::Reject];

/// How a referral is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Register,
    Enroll,
    Apply,
}

const WAYS: [Way; 3] = [Way::Register, Way::Enroll, Way::Apply];

/// Bea is referred by ana, and zoe was there before.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: FlagKind,
    policy: FraudPolicy,
    way: Way,
    reading: Reading,
}

impl Display for Case {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {:?} {:?} {:?}", self.kind, self.policy, self.way, self.reading)
    }
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        FlagKind::ALL.into_iter().flat_map(|kind| {
            POLICIES.into_iter().flat_map(move |policy| {
                WAYS.into_iter().flat_map(move |way| {
                    READINGS.into_iter().map(move |reading| Self { kind, policy, way, reading })
                })
            })
        })
    }

    /// The one check that is on.
    fn checks(self) -> FraudChecks {
        let (policy, off) = (self.policy, FraudChecks::default());
        let check = Some(FraudCheck { policy });
        match self.kind {
            FlagKind::SameMailbox => FraudChecks { same_mailbox: check, ..off },
            FlagKind::LookAlike => FraudChecks { look_alike: check, ..off },
            FlagKind::SelfReferral | FlagKind::NearDuplicate => {
                let similar_address = Some(SimilarAddress { policy, ..SimilarAddress::default() });
                FraudChecks { similar_address, ..off }
            }
            FlagKind::Fingerprint => FraudChecks { fingerprint: check, ..off },
            FlagKind::MutualReferral => FraudChecks { mutual_referral: check, ..off },
            FlagKind::ReferralBurst => {
                let burst = ReferralBurst { max_referrals_per_hour: 1, policy };
                FraudChecks { referral_burst: Some(burst), ..off }
            }
            FlagKind::SignUpsPerAddress => {
                let count = SignUpsPerAddress { max_sign_ups: 1, window_hours: 24, policy };
                FraudChecks { sign_ups_per_address: Some(count), ..off }
            }
            FlagKind::DisposableDomain => FraudChecks { disposable_domain: check, ..off },
        }
    }

    /// The addresses of ana, zoe and bea.
    fn addresses(self) -> [String; 3] {
        let (ana, zoe) = ("ana@company.example", "zoe@corp.example");
        match self.kind {
            FlagKind::SameMailbox => [ana, zoe, "zoe+shop@corp.example"].map(Into::into),
            FlagKind::LookAlike => [ana, "oil@corp.example", "0il@corp.example"].map(Into::into),
            FlagKind::SelfReferral => {
                ["max.power1@mail.example", zoe, "max.power2@mail.example"].map(Into::into)
            }
            FlagKind::NearDuplicate => {
                [ana, "farm7@mail.example", "farm8@mail.example"].map(Into::into)
            }
            FlagKind::DisposableDomain => {
                [ana.into(), zoe.into(), format!("wilhelmina@{DISPOSABLE_DOMAIN}")]
            }
            FlagKind::Fingerprint
            | FlagKind::MutualReferral
            | FlagKind::ReferralBurst
            | FlagKind::SignUpsPerAddress => [ana, zoe, "wilhelmina@mail.example"].map(Into::into),
        }
    }

    /// Whether zoe is a referee of ana, too.
    fn is_second_referee(self) -> bool {
        matches!(self.kind, FlagKind::NearDuplicate | FlagKind::ReferralBurst)
    }

    /// Whether the check is made here at all: who signs up has referred nobody.
    fn is_checked(self) -> bool {
        self.kind != FlagKind::MutualReferral || self.way != Way::Register
    }

    /// With whom the finding is.
    fn other(self) -> Option<UserId> {
        match self.kind {
            FlagKind::SelfReferral | FlagKind::MutualReferral => Some(user("ana")),
            FlagKind::SameMailbox
            | FlagKind::LookAlike
            | FlagKind::NearDuplicate
            | FlagKind::Fingerprint => Some(user("zoe")),
            FlagKind::ReferralBurst | FlagKind::SignUpsPerAddress | FlagKind::DisposableDomain => {
                None
            }
        }
    }

    fn before(self) -> Scene {
        let rules = ProgramRules { attach: AttachPolicy::AnyTime, ..checking(self.checks()) };
        let mut scene = Scene::read(self.reading, rules);
        scene.publish(ELSEWHERE, multi_level_commission()).unwrap();
        let [ana, zoe, _] = self.addresses();
        first(&mut scene, "ana", &ana);
        let referrer = self.is_second_referee().then_some("ana");
        let (client_ip, fingerprint) = (CLIENT_IP, CARD);
        let zoe = SignUp { name: "zoe", email: &zoe, referrer, client_ip, fingerprint };
        zoe.make(&mut scene).unwrap();
        assert_eq!(flags(&scene), [], "{self}");
        scene
    }

    fn refer(self, scene: &mut Scene) -> Result<(), Halt> {
        let [_, _, email] = self.addresses();
        let referrer = (self.way == Way::Register).then_some("ana");
        let (client_ip, fingerprint) = (CLIENT_IP, CARD);
        let bea = SignUp { name: "bea", email: &email, referrer, client_ip, fingerprint };
        bea.make_in(scene, (self.way == Way::Register).then(|| program(PROGRAM)))?;
        if self.kind == FlagKind::MutualReferral && self.way != Way::Register {
            let code = code_in(scene, ELSEWHERE, "bea");
            scene.enroll("ana", ELSEWHERE, Some(&code)).unwrap();
        }
        let code = scene.code("ana");
        match self.way {
            Way::Register => Ok(()),
            Way::Enroll => scene.enroll("bea", PROGRAM, Some(&code)),
            Way::Apply => {
                // In the program a sign-up would be refused, and an enrolment is counted.
                scene.enroll("bea", PROGRAM, None)?;
                scene.attach("bea", "ana")
            }
        }
    }

    fn try_out(self) {
        let mut scene = self.before();
        let referred = self.refer(&mut scene);
        let is_refused = self.kind == FlagKind::SignUpsPerAddress
            && self.policy == FraudPolicy::Reject
            && self.way == Way::Register;
        if is_refused {
            let Err(Halt::Refused(Refusal::TooManySignUps { limit, .. })) = referred else {
                panic!("{self}: {referred:?}");
            };
            assert_eq!((limit, scene.user_exists("bea"), flags(&scene)), (1, false, vec![]));
            return;
        }
        referred.unwrap();
        let status = match self.policy {
            FraudPolicy::Hold if self.is_checked() => ReferralStatus::Held,
            FraudPolicy::Reject if self.is_checked() => ReferralStatus::Rejected,
            _ => ReferralStatus::Converted,
        };
        assert_eq!(scene.status("bea"), Some(status), "{self}");
        // A held referral takes a place, a rejected one does not, and only one that counts earns.
        let before = u32::from(self.is_second_referee());
        let ana = scene.participant("ana");
        assert_eq!(ana.uses(), before + u32::from(status != ReferralStatus::Rejected), "{self}");
        let converted = before + u32::from(status == ReferralStatus::Converted);
        assert_eq!(ana.referrals().converted, converted, "{self}");
        assert_eq!(ana.earned_minor(), 10 * i64::from(converted), "{self}");
        if !self.is_checked() {
            return assert_eq!(flags(&scene), [], "{self}");
        }
        let (_, raised) = flag(&scene);
        assert_eq!((raised.kind, raised.consequence), (self.kind, self.policy), "{self}");
        assert_eq!((raised.other_user_id, raised.evidence), (self.other(), vec![]), "{self}");
        assert_eq!((raised.occasion, raised.program_id), (Occasion::Referral, program(PROGRAM)));
        let parties = (raised.referee_user_id, raised.referrer_user_id);
        assert_eq!(parties, (Some(user("bea")), Some(user("ana"))), "{self}");
    }
}

#[test]
fn every_check_has_the_consequence_of_its_policy_wherever_a_referral_is_made() {
    for case in Case::all() {
        case.try_out();
    }
}

/// John has referred eve, whose address is similar; the pair was cleared.
fn cleared(reading: Reading) -> Scene {
    let mut scene = Scene::read(reading, checking(FraudChecks::all()));
    first(&mut scene, "john", "john@gmail.com");
    let eve = SignUp { name: "eve", email: "j0hn@gmail.com", ..SignUp::default() };
    SignUp { referrer: Some("john"), ..eve }.make(&mut scene).unwrap();
    let (flag_id, _) = flag(&scene);
    decide(&mut scene, &flag_id, FraudDecision::Released);
    scene
}

/// Refers eve in another program, and returns how the referral stands there.
fn refer_in(scene: &mut Scene, program_id: &str) -> ReferralStatus {
    scene.publish(program_id, checking(FraudChecks::all())).unwrap();
    let code = code_in(scene, program_id, "john");
    scene.enroll("eve", program_id, Some(&code)).unwrap();
    let eve = crate::ParticipantId::new(&program(program_id), &user("eve"));
    scene.memory.state::<crate::Participant>(&eve).referral().unwrap().status
}

#[test]
fn a_pair_whose_clearance_was_taken_back_is_flagged_at_the_next_occasion() {
    for reading in READINGS {
        for rejected in [FraudDecision::Rejected, FraudDecision::RejectedAndDeactivated] {
            let mut scene = cleared(reading);
            let (flag_id, _) = flag(&scene);
            assert_eq!(refer_in(&mut scene, "second"), ReferralStatus::Converted);
            assert_eq!(flags(&scene).len(), 1, "the two are cleared");
            decide(&mut scene, &flag_id, rejected);
            if rejected == FraudDecision::RejectedAndDeactivated {
                scene.reactivate("eve");
            }
            assert_eq!(refer_in(&mut scene, "third"), ReferralStatus::Held);
            let (_, raised) = flags(&scene).pop().unwrap();
            assert_eq!(raised.kind, FlagKind::SelfReferral);
            assert_eq!(raised.other_user_id, Some(user("john")));
        }
    }
}

#[test]
fn a_new_address_is_compared_with_a_user_whose_clearance_was_taken_back() {
    for reading in READINGS {
        let mut scene = cleared(reading);
        change_address(&mut scene, "eve", "j0hn@gmail.com", "johnn@gmail.com");
        let (flag_id, _) = flag(&scene);
        decide(&mut scene, &flag_id, FraudDecision::Rejected);
        let mut cleared = scene.clone();
        decide(&mut cleared, &flag_id, FraudDecision::Released);
        for (scene, count) in [(&mut scene, 2), (&mut cleared, 1)] {
            change_address(scene, "eve", "johnn@gmail.com", "jjohn@gmail.com");
            assert_eq!(flags(scene).len(), count);
        }
        let (_, raised) = flags(&scene).pop().unwrap();
        assert_eq!(
            (raised.occasion, raised.other_user_id),
            (Occasion::AddressChange, Some(user("john")))
        );
        // What has converted goes on.
        assert_eq!(scene.status("eve"), Some(ReferralStatus::Converted));
    }
}
