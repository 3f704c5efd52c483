//! Fuzz targets: random bytes for whatever reads text or messages of callers.
//!
//! `cargo test` tries some thousand values for each target. `.ci/run` tries each for a minute, by
//! `BOLERO_RANDOM_TEST_TIME_MS`; a failure prints the seed that repeats it (`BOLERO_RANDOM_SEED`). A target states a
//! property, because most faults of such code are not panics: an accepted value is accepted again as it was stored, and
//! a token or page is read as it was made.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bolero::TypeGenerator;

use super::fields::Fields;
use super::pages::Page;
use super::pb;
use super::program::rules;
use super::tokens;
use super::writes::Repeatable;
use crate::access::passwords;
use domain::{
    ClaimKind, ParticipantId, Program, ProgramId, ProgramVersion, PurchaseId, Timestamp, UserId,
    email,
};

/// How many values are tried if the environment does not say how long.
const VALUES: usize = 4_000;

/// Tries a property with random values.
fn check<T: TypeGenerator + std::fmt::Debug + 'static>(property: fn(&T)) {
    let target = bolero::check!().with_type::<T>();
    match std::env::var_os("BOLERO_RANDOM_TEST_TIME_MS") {
        Some(_) => target.for_each(property),
        None => target.with_iterations(VALUES).for_each(property),
    }
}

/// A text of letters that matter to what is parsed here, or of any characters.
#[derive(Clone, Debug, TypeGenerator)]
enum Text {
    Any(String),
    Letters(Vec<Letter>),
    Address { local_part: Vec<Letter>, domain: Vec<Letter> },
    Usual { name: [u8; 4], odd: Option<Letter> },
    Link { before: Vec<Letter>, code: Vec<Letter> },
}

/// Characters with a meaning in ids, addresses, links or base64.
#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Letter {
    Plain(u8),
    Ascii(u8),
    Special(u8),
    Wide(char),
}

impl Text {
    fn text(&self) -> String {
        let written = |letters: &[Letter]| {
            letters.iter().map(|letter| letter.character()).collect::<String>()
        };
        match self {
            Self::Any(text) => text.clone(),
            Self::Letters(letters) => written(letters),
            Self::Address { local_part, domain } => {
                format!("{}@{}.example", written(local_part), written(domain))
            }
            Self::Usual { name, odd } => {
                let name = written(&name.map(Letter::Plain));
                let odd = odd.map(Letter::character).map(String::from).unwrap_or_default();
                format!("{name}{odd}@{name}.example")
            }
            Self::Link { before, code } => {
                format!("https://shop.example/{}?ref={}", written(before), written(code))
            }
        }
    }
}

impl Letter {
    fn character(self) -> char {
        const SPECIAL: &[char] = &[
            '@', '.', '-', '_', '=', '?', '&', '#', '/', ':', '%', '<', '>', '+', '~', '|', ' ',
            '\t', '\0', 'ß', 'İ', '\u{308}', '\u{200d}', '\u{202e}', '\u{feff}', '\u{e000}',
        ];
        match self {
            Self::Plain(index) => char::from(b'a' + index % 26),
            Self::Ascii(byte) => char::from(byte & 0x7f),
            Self::Special(index) => SPECIAL[usize::from(index) % SPECIAL.len()],
            Self::Wide(any) => any,
        }
    }
}

/// How often each property met a value that the server accepts: a target that only meets refusals shows nothing.
struct Met(&'static str, AtomicUsize);

impl Met {
    const fn new(what: &'static str) -> Self {
        Self(what, AtomicUsize::new(0))
    }

    fn one(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    fn at_least_one(&self) {
        assert!(self.1.load(Ordering::Relaxed) > 0, "{}: none was accepted", self.0);
    }
}

/// What a check of one field accepted; `None` if it refused.
fn accepted<T>(check: impl FnOnce(&mut Fields) -> Option<T>) -> Option<T> {
    let mut fields = Fields::default();
    let read = check(&mut fields);
    let outcome = fields.finish(read);
    if let Err(status) = &outcome {
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.details().len() <= 4_096, "{} bytes of details", status.details().len());
    }
    outcome.ok()
}

#[test]
fn an_accepted_text_is_accepted_again_in_the_form_in_which_it_is_stored() {
    static USERNAMES: Met = Met::new("usernames");
    static ADDRESSES: Met = Met::new("addresses");
    static NAMES: Met = Met::new("display names");
    static IDS: Met = Met::new("ids");
    check::<Text>(|text| {
        let text = text.text();
        if let Some(username) = accepted(|fields| fields.username(&text)) {
            USERNAMES.one();
            assert_eq!(accepted(|fields| fields.username(&username)), Some(username));
        }
        if let Some(address) = accepted(|fields| fields.email(&text)) {
            ADDRESSES.one();
            assert_eq!(accepted(|fields| fields.email(&address)), Some(address.clone()));
            let compared = email::comparable(&address).unwrap();
            assert_eq!(email::comparable(&compared), Some(compared));
        }
        if let Some(name) = accepted(|fields| Some(fields.display_name(&text))) {
            NAMES.one();
            assert_eq!(accepted(|fields| Some(fields.display_name(&name))), Some(name));
        }
        if let Some(user_id) = accepted(|fields| fields.id("user_id", &text, UserId::parse)) {
            IDS.one();
            assert_eq!(user_id.as_str(), text);
            let program_id = ProgramId::parse("spring").unwrap();
            let participant = ParticipantId { program_id, user_id };
            assert_eq!(ParticipantId::parse(&participant.to_string()), Some(participant));
        }
        if let Some(id) = accepted(|fields| fields.id("purchase_id", &text, PurchaseId::parse)) {
            assert_eq!(id.to_string(), text);
        }
        accepted(|fields| {
            fields.request_id(&text);
            fields.client_ip(&text);
            fields.new_password("password", &text, false, &passwords::Settings::default());
            fields.referral_code(&text)
        });
    });
    for met in [&USERNAMES, &ADDRESSES, &NAMES, &IDS] {
        met.at_least_one();
    }
}

#[test]
fn the_code_in_a_pasted_text_is_read_as_itself() {
    static CODES: Met = Met::new("codes");
    check::<Text>(|text| {
        let code = ClaimKind::Code.normal_form(&text.text());
        // Anything else is the beginning of a text without a code, for the message that says so.
        if !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            CODES.one();
            assert_eq!(ClaimKind::Code.normal_form(&code), code);
            assert_eq!(code, code.to_uppercase());
        }
    });
    CODES.at_least_one();
}

#[test]
fn tokens_of_any_bytes_are_refused_or_read_as_they_were_made() {
    check::<(Text, i32, i64, i64)>(|(text, epoch, position, sequence)| {
        let text = text.text();
        tokens::check_any(&text, *epoch, *position, *sequence);
        let request =
            pb::ListPurchasesRequest { buyer_user_id: text.clone(), ..Default::default() };
        let page = Page::of(&mut Fields::default(), "ListPurchases", &request);
        let token = page.token_after(position);
        assert_eq!(accepted(|fields| page.before(fields, &token)), Some(*position));
        accepted(|fields| page.before(fields, &text));
        accepted(|fields| page.after_program(fields, &text));
    });
}

#[test]
fn any_bytes_that_are_a_request_have_one_canonical_form() {
    static REQUESTS: Met = Met::new("requests");
    fn canonical<M: Repeatable + Default + PartialEq>(bytes: &[u8]) {
        let Ok(message) = M::decode(bytes) else { return };
        REQUESTS.one();
        drop(Fields::of(&message));
        let canonical = message.canonical();
        assert_eq!(canonical.request_id(), "");
        assert!(canonical.canonical() == canonical);
        assert!(M::decode(&*canonical.encode_to_vec()).unwrap() == canonical);
    }
    check::<Vec<u8>>(|bytes| {
        canonical::<pb::RegisterUserRequest>(bytes);
        canonical::<pb::RecordPurchaseRequest>(bytes);
        canonical::<pb::ApplyReferralRequest>(bytes);
        canonical::<pb::EnrollParticipantRequest>(bytes);
        canonical::<pb::PublishProgramRequest>(bytes);
    });
    REQUESTS.at_least_one();
}

/// One change of a shipped program.
#[derive(Clone, Debug, TypeGenerator)]
enum Change {
    EarnOn(u8),
    Attach(u8),
    Leaderboard(u8),
    FirstPurchaseUsedBy(u8),
    UnknownCode(u8),
    MaxUses(Option<i16>),
    MaxReferrals(Option<i16>),
    Minimum(i64),
    CreditPurchases(bool),
    EnrollByDefault(bool),
    RuleKind(u8, u8),
    RuleLevel(u8, u8),
    RuleCap(u8, Option<i32>),
    ProgramId(Text),
    Unit(Text),
    BaseUrl(Text),
    Currency(Text),
    CodeAlphabet(Text),
    CodeLength(u8),
    SimilarAddress(Option<u16>, u8),
    SignUpsPerAddress(Option<i8>, u8),
}

impl Change {
    fn make(&self, program: &mut pb::Program) {
        let number = |number: u8| i32::from(number % 6);
        let mut rule = |index: u8, change: &dyn Fn(&mut pb::RewardRule)| {
            let rules = program.rewards.len().max(1);
            if let Some(rule) = program.rewards.get_mut(usize::from(index) % rules) {
                change(rule);
            }
        };
        match self {
            Self::RuleKind(index, kind) => rule(*index, &|rule| rule.kind = number(*kind)),
            Self::RuleLevel(index, level) => rule(*index, &|rule| rule.level = number(*level)),
            Self::RuleCap(index, cap) => {
                rule(*index, &|rule| rule.cap_minor = cap.map(i64::from));
            }
            Self::EarnOn(value) => program.earn_on = number(*value),
            Self::Attach(value) => program.attach = number(*value),
            Self::Leaderboard(value) => program.leaderboard = number(*value),
            Self::FirstPurchaseUsedBy(value) => program.first_purchase_used_by = number(*value),
            Self::UnknownCode(value) => program.unknown_code = number(*value),
            Self::MaxUses(value) => program.max_uses_per_code = value.map(i32::from),
            Self::MaxReferrals(value) => program.max_direct_referrals = value.map(i32::from),
            Self::Minimum(value) => program.minimum_purchase_minor = *value,
            Self::CreditPurchases(value) => program.credit_purchases = *value,
            Self::EnrollByDefault(value) => program.enroll_by_default = *value,
            Self::ProgramId(text) => program.program_id = text.text(),
            Self::Unit(text) => program.unit = text.text(),
            Self::BaseUrl(text) => program.base_url = text.text(),
            Self::Currency(text) => program.purchase_currency_code = text.text(),
            Self::CodeAlphabet(text) => {
                program.code.get_or_insert_default().alphabet = text.text();
            }
            Self::CodeLength(length) => {
                program.code.get_or_insert_default().length = i32::from(*length);
            }
            Self::SimilarAddress(similarity, policy) => {
                let check = pb::SimilarAddressCheck {
                    min_similarity_bps: similarity.map(i32::from),
                    min_local_part_similarity_bps: similarity.map(i32::from),
                    policy: number(*policy),
                };
                program.fraud_checks.get_or_insert_default().similar_address = Some(check);
            }
            Self::SignUpsPerAddress(limit, policy) => {
                let check = pb::SignUpsPerAddressCheck {
                    max_sign_ups: limit.map(i32::from),
                    window_hours: limit.map(i32::from),
                    policy: number(*policy),
                };
                program.fraud_checks.get_or_insert_default().sign_ups_per_address = Some(check);
            }
        }
    }
}

#[test]
fn rules_that_are_accepted_are_shown_as_they_were_given() {
    static RULES: Met = Met::new("rules");
    check::<(u8, Change, Option<Change>)>(|(base, change, other)| {
        let mut program = SHIPPED[usize::from(*base) % SHIPPED.len()].clone();
        for change in [Some(change), other.as_ref()].into_iter().flatten() {
            change.make(&mut program);
        }
        let read = accepted(|fields| rules::read_program(fields, &program));
        let Some((program_id, read)) = read else { return };
        RULES.one();
        let version =
            ProgramVersion { version: 1, rules: read.clone(), publish_time: Timestamp(0) };
        let shown = rules::program_message(&program_id, &Program::default(), &version);
        let again = accepted(|fields| rules::read_program(fields, &shown)).unwrap();
        assert_eq!(again, (program_id, read));
    });
    RULES.at_least_one();
}

/// Shipped programs of every kind of rule.
static SHIPPED: LazyLock<Vec<pb::Program>> = LazyLock::new(|| {
    const FILES: &[&str] = &[
        include_str!("../../programs/tiered-points.json"),
        include_str!("../../programs/first-purchase-bonus.json"),
        include_str!("../../programs/multi-level-commission.json"),
    ];
    FILES.iter().map(|file| contract::parse_program(file).unwrap()).collect()
});
