//! Plausible values for the fields of a request.

use contract::pb;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};

use crate::views::model::PROGRAMS;

/// How many values of one kind are remembered.
const MAX_KNOWN: usize = 200;
/// The maximum number of programs: the shipped ones and some of the run's own.
const OWN_PROGRAMS: usize = 5;

/// Random numbers that a seed repeats (xorshift).
pub struct Random(u64);

impl Random {
    pub fn of(seed: u64, number: usize) -> Self {
        let mut random = Self((seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_add(number as u64) | 1);
        for _ in 0..10 {
            random.below(2);
        }
        random
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

const TEXTS: [&str; 14] = [
    "",
    " ",
    "ada",
    "ädä",
    "日本語の名前",
    "🦀🦀🦀",
    "e\u{301}\u{301}\u{301}",
    "\u{202e}txet",
    "a\tb",
    "nul\0inside",
    "../../etc/passwd",
    "'; drop table events; --",
    "%s%n{}${jndi:x}",
    "\u{feff}bom",
];
const INTEGERS: [i64; 17] = [
    0,
    1,
    -1,
    2,
    50,
    999,
    1_000,
    1_001,
    2_147_483_647,
    -2_147_483_648,
    2_147_483_648,
    1_000_000_000_000_000,
    1_000_000_000_000_001,
    9_007_199_254_740_993,
    i64::MAX - 1,
    i64::MAX,
    i64::MIN,
];
const CURRENCIES: [&str; 8] = ["USD", "INR", "EUR", "POINTS", "CREDITS", "usd", "XXX", "ZZZZ"];
const EVENT_TYPES: [&str; 4] = ["PurchaseRecorded", "RewardGranted", "UserRegistered", "Nothing"];
const IPS: [&str; 4] = ["203.0.113.7", "2001:db8::1", "::ffff:1.2.3.4", "999.1.1.1"];

/// What earlier answers told.
pub struct Known {
    users: Vec<String>,
    codes: Vec<String>,
    purchases: Vec<String>,
    tokens: Vec<String>,
    programs: Vec<pb::Program>,
}

impl Known {
    pub fn of_shipped_programs() -> Self {
        let read = |name: &&str| {
            let json = std::fs::read_to_string(testing::program(name)).unwrap();
            contract::parse_program(&json).unwrap()
        };
        let programs = PROGRAMS.iter().map(read).collect();
        let (codes, purchases, tokens) = (Vec::new(), Vec::new(), Vec::new());
        Self { users: vec!["ada".into()], codes, purchases, tokens, programs }
    }

    pub fn user(&self, random: &mut Random) -> String {
        random.pick(&self.users).clone()
    }

    /// Remembers ids, codes and tokens of an answer.
    pub fn learn(&mut self, answer: &DynamicMessage) {
        for (field, value) in answer.fields() {
            self.learn_value(&field, value);
        }
    }

    fn learn_value(&mut self, field: &FieldDescriptor, value: &Value) {
        match value {
            Value::Message(message) => self.learn(message),
            Value::List(values) => {
                for value in values {
                    self.learn_value(field, value);
                }
            }
            Value::String(text) if !text.is_empty() => {
                let list = match field.name() {
                    name if name.ends_with("user_id") => &mut self.users,
                    "code" => &mut self.codes,
                    "purchase_id" => &mut self.purchases,
                    name if name.ends_with("_token") => &mut self.tokens,
                    _ => return,
                };
                if list.len() >= MAX_KNOWN {
                    list.remove(list.len() / 2);
                }
                list.push(text.clone());
            }
            _ => {}
        }
    }

    /// A request that looks valid.
    pub fn request(&self, random: &mut Random, message: &MessageDescriptor) -> DynamicMessage {
        let mut request = DynamicMessage::new(message.clone());
        for field in message.fields() {
            let is_needed = is_often_needed(field.name());
            if random.below(if is_needed { 12 } else { 3 }) == 0 {
                continue;
            }
            if field.is_list() {
                let count = random.below(4);
                let values = (0..count).map(|_| self.value(random, &field)).collect();
                request.set_field(&field, Value::List(values));
            } else if !field.is_map() {
                // Fields that only mean something now and then would refuse nearly every request.
                if is_needed || !is_seldom_valid(field.name()) || random.below(6) == 0 {
                    request.set_field(&field, self.value(random, &field));
                }
            }
        }
        request
    }

    fn value(&self, random: &mut Random, field: &FieldDescriptor) -> Value {
        let integer = *random.pick(&INTEGERS);
        match field.kind() {
            Kind::String => Value::String(self.text(random, field.name())),
            Kind::Bool => Value::Bool(random.below(2) == 0),
            Kind::Int32 => Value::I32(small(random, field.name(), integer)),
            Kind::Int64 => Value::I64(amount(random, field.name(), integer)),
            Kind::Uint32 => Value::U32(u32::try_from(integer).unwrap_or(u32::MAX)),
            Kind::Uint64 => Value::U64(integer.cast_unsigned()),
            Kind::Bytes => Value::Bytes(random.pick(&TEXTS).as_bytes().to_vec().into()),
            Kind::Enum(values) => {
                let numbers: Vec<i32> = values.values().map(|value| value.number()).collect();
                let any = *random.pick(&numbers);
                Value::EnumNumber(if random.below(20) == 0 { any + 99 } else { any })
            }
            Kind::Message(message) => Value::Message(match message.full_name() {
                "tributary.v1.Program" => self.program(random, &message),
                "google.protobuf.Timestamp" => timestamp(random, &message),
                _ => self.request(random, &message),
            }),
            other => panic!("no values of kind {other:?} for {}", field.full_name()),
        }
    }

    fn text(&self, random: &mut Random, name: &str) -> String {
        if random.below(12) == 0 {
            let text = *random.pick(&TEXTS);
            return if random.below(6) == 0 { text.repeat(200) } else { text.into() };
        }
        let fresh = |random: &mut Random| format!("f-{}", random.below(1 << 40));
        let one_of = |random: &mut Random, list: &[String]| {
            if list.is_empty() || random.below(10) == 0 {
                fresh(random)
            } else {
                random.pick(list).clone()
            }
        };
        match name {
            "user_id" if random.below(3) == 0 => fresh(random),
            "username" => fresh(random),
            "email" => format!("{}@example.com", fresh(random)),
            "password" => "Corr3ct horse battery staple".into(),
            "display_name" => random.pick(&["Ada", "Ädä Lovelace", "日本"]).to_string(),
            "client_ip" => random.pick(&IPS).to_string(),
            "currency_code" => random.pick(&CURRENCIES).to_string(),
            "program_id" => random.pick(&self.programs).program_id.clone(),
            "event_types" => random.pick(&EVENT_TYPES).to_string(),
            "purchase_id" if random.below(2) == 0 => fresh(random),
            "purchase_id" => one_of(random, &self.purchases),
            "referral_code" => one_of(random, &self.codes),
            "request_id" => format!("r-{}", random.below(500)),
            name if name.ends_with("user_id") => one_of(random, &self.users),
            name if name.ends_with("_token") => one_of(random, &self.tokens),
            _ => fresh(random),
        }
    }

    /// A shipped program, or one of the run's own that is made from it, with some fields changed.
    fn program(&self, random: &mut Random, message: &MessageDescriptor) -> DynamicMessage {
        let mut program = random.pick(&self.programs).clone();
        if random.below(2) == 0 {
            program.program_id = format!("own-{}", random.below(OWN_PROGRAMS));
            program.unit = "POINTS".into();
        }
        let mut dynamic = DynamicMessage::new(message.clone());
        dynamic.transcode_from(&program).unwrap();
        for _ in 0..random.below(3) {
            let fields: Vec<_> = message.fields().filter(|field| field.number() > 3).collect();
            let field = random.pick(&fields).clone();
            if field.is_list() {
                continue;
            }
            let value = match field.kind() {
                Kind::Message(kind) => Value::Message(self.request(random, &kind)),
                _ => self.value(random, &field),
            };
            dynamic.set_field(&field, value);
        }
        debug_assert_eq!(dynamic.descriptor().full_name(), "tributary.v1.Program");
        dynamic
    }
}

/// Fields without which hardly any request is valid.
fn is_often_needed(name: &str) -> bool {
    let names =
        ["program_id", "user_id", "buyer_user_id", "amount", "currency_code", "minor_units"];
    names.contains(&name) || ["username", "email", "program", "referee_user_id"].contains(&name)
}

/// Fields with which most requests are refused.
fn is_seldom_valid(name: &str) -> bool {
    name.ends_with("_token") || ["issue_api_key", "client_ip", "referrer_user_id"].contains(&name)
}

fn small(random: &mut Random, name: &str, integer: i64) -> i32 {
    let usual = match name {
        "page_size" | "limit" => 1 + random.below(100),
        "depth" | "max_level" | "level" => 1 + random.below(5),
        _ => random.below(50),
    };
    if random.below(4) > 0 {
        return i32::try_from(usual).unwrap();
    }
    i32::try_from(integer).unwrap_or(if integer > 0 { i32::MAX } else { i32::MIN })
}

fn amount(random: &mut Random, name: &str, integer: i64) -> i64 {
    if name == "after_position" || random.below(3) > 0 {
        return i64::try_from(random.below(200_000)).unwrap();
    }
    integer
}

fn timestamp(random: &mut Random, message: &MessageDescriptor) -> DynamicMessage {
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let ago = i64::try_from(random.below(2_000)).unwrap();
    let mut time = DynamicMessage::new(message.clone());
    let (seconds, nanos) = match random.below(10) {
        0 => (*random.pick(&INTEGERS), 0),
        1 => (now, *random.pick(&[-1, 1, 999_999_999, 1_000_000_000, i32::MIN])),
        2 => (*random.pick(&[-62_135_596_800, 253_402_300_799, 253_402_300_800]), 0),
        _ => (now - ago, 0),
    };
    time.set_field_by_name("seconds", Value::I64(seconds));
    time.set_field_by_name("nanos", Value::I32(nanos));
    time
}
