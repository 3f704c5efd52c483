//! The fields of a request: each is converted to the domain's type, and all faults are collected and reported
//! together.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use email_address::{EmailAddress, Options};
use prost_types::Timestamp as PbTimestamp;
use tonic::Status;
use tonic_types::FieldViolation;

use super::enums::{EnumFields, UnknownNumbers};
use super::errors::{invalid_fields, reason_name};
use super::pb::{ErrorReason, Money};
use crate::access::passwords::{self, Fault};
use crate::store::FraudKeys;
use domain::currency::{currency_fault, is_unit};
use domain::money::MAX_AMOUNT_MINOR;
use domain::text::unseen;
use domain::{
    InvalidId, MAX_NOTE_CHARS, MAX_REASON_CODE_CHARS, ParticipantId, Personal, ProgramId,
    Timestamp, UserId, email, is_reason_code,
};

/// The valid seconds of a protobuf timestamp: the years 1 to 9999.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// How far ahead of the log's clock a purchase may be dated, to allow for clock differences.
const MAX_AHEAD_SECONDS: i64 = 5 * 60;
/// The longest fingerprint, in characters.
const MAX_FINGERPRINT_CHARS: usize = 256;
/// The longest username, in characters.
const MAX_USERNAME_CHARS: usize = 64;
/// The longest display name, in characters.
const MAX_DISPLAY_NAME_CHARS: usize = 128;
/// The longest deliverable e-mail address, in bytes (RFC 5321).
const MAX_EMAIL_BYTES: usize = 254;
/// The longest text that is taken for a referral code, in bytes: links are, too, and can be long.
const MAX_CODE_BYTES: usize = 2 * 1024;
/// The longest request id, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// The longest text that is taken for a username or an e-mail address, in bytes.
const MAX_LOGIN_BYTES: usize = 320;

/// The faults of a request so far.
#[derive(Default)]
pub struct Fields {
    violations: Vec<FieldViolation>,
}

impl Fields {
    /// Begins to check a request. The enum fields with numbers that this server does not know are faults already.
    pub(super) fn of(request: &impl EnumFields) -> Self {
        let mut fields = Self::default();
        for unknown in UnknownNumbers::of(request) {
            let message = format!("must be {}; {} is unknown here", unknown.values, unknown.number);
            fields.fault(unknown.field, ErrorReason::OutOfRange, message);
        }
        fields
    }

    /// Whether a fault of this field has been recorded.
    pub(super) fn has_fault(&self, field: &str) -> bool {
        self.violations.iter().any(|violation| violation.field == field)
    }

    /// Records a fault.
    pub fn fault(
        &mut self,
        field: impl Into<String>,
        reason: ErrorReason,
        message: impl Into<String>,
    ) {
        self.violations.push(FieldViolation {
            field: field.into(),
            description: message.into(),
            reason: reason_name(reason).into(),
            ..FieldViolation::default()
        });
    }

    /// Records that a text is no token of the kind that the field takes.
    pub fn bad_token(&mut self, field: &str, reason: ErrorReason) {
        let message = match reason {
            ErrorReason::InvalidConsistencyToken => "must be the consistency_token of an answer",
            ErrorReason::InvalidPageToken => {
                "must be the next_page_token of an answer to the same call with the same filters"
            }
            _ => "must be a resume_token of the same stream",
        };
        self.fault(field, reason, message);
    }

    /// The value, if there are no faults.
    ///
    /// # Errors
    /// A status with all faults.
    #[allow(clippy::result_large_err, reason = "a status is what callers return")]
    pub fn finish<T>(self, read: Option<T>) -> Result<T, Status> {
        match read {
            Some(read) if self.violations.is_empty() => Ok(read),
            _ => Err(invalid_fields(self.violations)),
        }
    }

    /// Checks that a text is present and can be stored.
    fn text<'a>(&mut self, field: &str, text: &'a str) -> Option<&'a str> {
        if text.is_empty() {
            self.fault(field, ErrorReason::FieldRequired, "is required");
            return None;
        }
        if text.contains('\0') {
            self.fault(field, ErrorReason::NulCharacter, "must not contain NUL");
            return None;
        }
        Some(text)
    }

    /// A required identifier.
    pub fn id<T>(
        &mut self,
        field: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, InvalidId>,
    ) -> Option<T> {
        let text = self.text(field, text)?;
        parse(text)
            .map_err(|invalid| {
                let reason = match invalid {
                    InvalidId::Empty => ErrorReason::FieldRequired,
                    InvalidId::TooLong(_) | InvalidId::Character(_) | InvalidId::Punctuation => {
                        ErrorReason::InvalidId
                    }
                };
                self.fault(field, reason, invalid.to_string());
            })
            .ok()
    }

    /// An identifier that may be missing.
    pub fn optional_id<T>(
        &mut self,
        field: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, InvalidId>,
    ) -> Option<T> {
        if text.is_empty() { None } else { self.id(field, text, parse) }
    }

    /// A required participant.
    pub fn participant(&mut self, program_id: &str, user_id: &str) -> Option<ParticipantId> {
        let program_id = self.id("program_id", program_id, ProgramId::parse);
        let user_id = self.id("user_id", user_id, UserId::parse);
        let (program_id, user_id) = program_id.zip(user_id)?;
        Some(ParticipantId { program_id, user_id })
    }

    /// A required id of a reward: the participant who earned it, and its sequence.
    pub fn reward_id(&mut self, field: &str, text: &str) -> Option<(ParticipantId, i64)> {
        let text = self.text(field, text)?;
        let parsed = text.rsplit_once('/').and_then(|(participant, sequence)| {
            let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0);
            ParticipantId::parse(participant).zip(sequence)
        });
        if parsed.is_none() {
            let message = "must be the reward_id of a reward, such as spring/ana/7";
            self.fault(field, ErrorReason::InvalidId, message);
        }
        parsed
    }

    /// A request id, which may be missing.
    pub fn request_id(&mut self, text: &str) {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if text.len() > MAX_REQUEST_ID_BYTES {
            let message = format!("must be at most {MAX_REQUEST_ID_BYTES} characters long");
            self.fault("request_id", ErrorReason::InvalidId, message);
        } else if !printable {
            self.fault("request_id", ErrorReason::InvalidId, "must be printable ASCII characters");
        }
    }

    /// A required username.
    pub fn username(&mut self, text: &str) -> Option<String> {
        let text = self.text("username", text)?;
        if text.chars().count() > MAX_USERNAME_CHARS {
            let message = format!("must be at most {MAX_USERNAME_CHARS} characters long");
            self.fault("username", ErrorReason::InvalidUsername, message);
            return None;
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let message = if !text.bytes().all(allowed) {
            "may only contain A-Z, a-z, 0-9, '.', '_' and '-'; display_name takes any letters"
        } else if !text.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            "must have at least one letter or digit"
        } else {
            return Some(text.into());
        };
        self.fault("username", ErrorReason::InvalidUsername, message);
        None
    }

    /// A display name, which may be missing.
    pub fn display_name(&mut self, text: &str) -> String {
        let name = text.trim();
        if text.contains('\0') {
            self.fault("display_name", ErrorReason::NulCharacter, "must not contain NUL");
        } else if text.chars().count() > MAX_DISPLAY_NAME_CHARS {
            let message = format!("must be at most {MAX_DISPLAY_NAME_CHARS} characters long");
            self.fault("display_name", ErrorReason::FieldTooLong, message);
        } else if !text.is_empty()
            && let Some(unseen) = unseen(name)
        {
            let reason = ErrorReason::InvalidDisplayName;
            self.fault("display_name", reason, unseen.to_string());
        }
        name.into()
    }

    /// A required name of an API key.
    pub fn key_name(&mut self, text: &str) -> Option<String> {
        let name = self.text("name", text)?.trim();
        if name.chars().count() > MAX_DISPLAY_NAME_CHARS {
            let message = format!("must be at most {MAX_DISPLAY_NAME_CHARS} characters long");
            self.fault("name", ErrorReason::FieldTooLong, message);
        } else if let Some(unseen) = unseen(name) {
            self.fault("name", ErrorReason::InvalidDisplayName, unseen.to_string());
        } else {
            return Some(name.into());
        }
        None
    }

    /// A required e-mail address, in the form in which it is stored.
    pub fn email(&mut self, text: &str) -> Option<String> {
        let text = self.text("email", text)?;
        let tidy = email::tidy(text);
        let text = self.text("email", &tidy)?;
        if text.len() > MAX_EMAIL_BYTES {
            let message = format!("must be at most {MAX_EMAIL_BYTES} bytes long");
            self.fault("email", ErrorReason::FieldTooLong, message);
            return None;
        }
        let options =
            Options::default().with_required_tld().without_display_text().without_domain_literal();
        let is_address = EmailAddress::parse_with_options(text, options).is_ok()
            && email::comparable(text).is_some()
            && unseen(text).is_none();
        if !is_address {
            self.fault(
                "email",
                ErrorReason::InvalidEmail,
                "must be an e-mail address such as ada@example.com",
            );
            return None;
        }
        Some(text.into())
    }

    /// A new password; required unless `optional`. All rules that it breaks are faults.
    pub fn new_password(
        &mut self,
        field: &str,
        text: &str,
        optional: bool,
        settings: &passwords::Settings,
    ) {
        if text.is_empty() {
            if !optional {
                self.fault(field, ErrorReason::FieldRequired, "is required");
            }
            return;
        }
        for fault in settings.faults(text) {
            let (reason, message) = match fault {
                Fault::TooShort(least) => {
                    let message = format!("must be at least {least} characters long");
                    (ErrorReason::WeakPassword, message)
                }
                Fault::TooLong(most) => {
                    let message = format!("must be at most {most} characters long");
                    (ErrorReason::FieldTooLong, message)
                }
                Fault::NoUpper => {
                    (ErrorReason::PasswordWithoutUpper, "must have an upper-case letter".into())
                }
                Fault::NoLower => {
                    (ErrorReason::PasswordWithoutLower, "must have a lower-case letter".into())
                }
                Fault::NoDigit => (ErrorReason::PasswordWithoutDigit, "must have a digit".into()),
                Fault::NoSpecial => {
                    let message = "must have a character that is neither letter nor digit";
                    (ErrorReason::PasswordWithoutSpecial, message.into())
                }
            };
            self.fault(field, reason, message);
        }
    }

    /// A required password that is to be verified.
    pub fn old_password(&mut self, field: &str, text: &str) -> Option<String> {
        if text.is_empty() {
            self.fault(field, ErrorReason::FieldRequired, "is required");
            return None;
        }
        if text.chars().count() > passwords::MAX_CHARS {
            let message = format!("must be at most {} characters long", passwords::MAX_CHARS);
            self.fault(field, ErrorReason::FieldTooLong, message);
            return None;
        }
        Some(text.into())
    }

    /// A required secret that was issued to the caller.
    pub fn secret(&mut self, field: &str, text: &str) -> Option<String> {
        self.text(field, text).map(Into::into)
    }

    /// A required username or e-mail address. One that cannot exist is not refused here, but as one that does not.
    pub fn login(&mut self, text: &str) -> Option<String> {
        let text = self.text("login", text)?;
        if text.len() > MAX_LOGIN_BYTES {
            let message = format!("must be at most {MAX_LOGIN_BYTES} bytes long");
            self.fault("login", ErrorReason::FieldTooLong, message);
            return None;
        }
        Some(email::tidy(text))
    }

    /// A required text of any form.
    pub fn required<'a>(&mut self, field: &str, text: &'a str) -> Option<&'a str> {
        self.text(field, text)
    }

    /// A referral code or a link that carries one, which may be missing. A text that cannot be a code is not
    /// refused here: it is an unknown code, and the program says what an unknown code does.
    pub fn referral_code(&mut self, text: &str) -> Option<String> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        if text.len() > MAX_CODE_BYTES {
            let message = format!("must be a code or a link of at most {MAX_CODE_BYTES} bytes");
            self.fault("referral_code", ErrorReason::InvalidReferralCode, message);
            return None;
        }
        Some(text.into())
    }

    /// The keyed hash of what recognises a device or a means of payment, which may be missing. Nothing else of it is
    /// kept.
    pub fn fingerprint(&mut self, text: &str, keys: &FraudKeys) -> Option<String> {
        let text = text.trim();
        if text.contains('\0') {
            self.fault("fingerprint", ErrorReason::NulCharacter, "must not contain NUL");
            return None;
        }
        if text.chars().count() > MAX_FINGERPRINT_CHARS {
            let message = format!("must be at most {MAX_FINGERPRINT_CHARS} characters long");
            self.fault("fingerprint", ErrorReason::FieldTooLong, message);
            return None;
        }
        (!text.is_empty()).then(|| keys.hash("fingerprint", text))
    }

    /// A client's address, which may be missing.
    pub fn client_ip(&mut self, text: &str) -> Option<IpAddr> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let address = text.parse().ok();
        if address.is_none() {
            self.fault(
                "client_ip",
                ErrorReason::InvalidIpAddress,
                "must be an IPv4 or IPv6 address such as 192.0.2.7 or 2001:db8::7",
            );
        }
        address
    }

    /// A required amount of a currency: its minor units and its code.
    pub fn money(&mut self, field: &str, money: Option<&Money>) -> Option<(i64, String)> {
        let Some(money) = money else {
            self.fault(field, ErrorReason::FieldRequired, "is required");
            return None;
        };
        let code_field = format!("{field}.currency_code");
        let code = self.text(&code_field, &money.currency_code);
        let fault = code.and_then(currency_fault);
        let known = code.filter(|_| fault.is_none());
        if let Some(fault) = fault {
            self.fault(code_field, ErrorReason::InvalidCurrency, fault);
        }
        let amount_field = format!("{field}.minor_units");
        if money.minor_units <= 0 {
            let message = "must be at least 1 minor unit";
            self.fault(amount_field, ErrorReason::AmountNotPositive, message);
            return None;
        }
        if money.minor_units > MAX_AMOUNT_MINOR {
            let message = format!("must be at most {MAX_AMOUNT_MINOR} minor units");
            self.fault(amount_field, ErrorReason::AmountTooLarge, message);
            return None;
        }
        known.map(|code| (money.minor_units, code.into()))
    }

    /// A required signed amount of a program's unit, not 0: its minor units and the unit.
    pub fn signed_money(&mut self, field: &str, money: Option<&Money>) -> Option<(i64, String)> {
        let Some(money) = money else {
            self.fault(field, ErrorReason::FieldRequired, "is required");
            return None;
        };
        let code_field = format!("{field}.currency_code");
        let code = self.text(&code_field, &money.currency_code);
        let known = code.filter(|code| is_unit(code));
        if code.is_some() && known.is_none() {
            let message = "must be the program's unit, such as USD or POINTS";
            self.fault(code_field, ErrorReason::InvalidCurrency, message);
        }
        let amount_field = format!("{field}.minor_units");
        if money.minor_units == 0 {
            self.fault(amount_field, ErrorReason::AmountIsZero, "must not be 0");
            return None;
        }
        if money.minor_units.unsigned_abs() > MAX_AMOUNT_MINOR.unsigned_abs() {
            let message = format!("must be -{MAX_AMOUNT_MINOR} to {MAX_AMOUNT_MINOR} minor units");
            self.fault(amount_field, ErrorReason::AmountTooLarge, message);
            return None;
        }
        known.map(|code| (money.minor_units, code.into()))
    }

    /// A required reason code.
    pub fn reason_code(&mut self, field: &str, text: &str) -> Option<String> {
        let code = self.text(field, text)?;
        if is_reason_code(code) {
            return Some(code.into());
        }
        let message =
            format!("must be 1 to {MAX_REASON_CODE_CHARS} characters of a-z, 0-9, _ and -");
        self.fault(field, ErrorReason::InvalidReasonCode, message);
        None
    }

    /// A note of an operator or a caller, which may be missing.
    pub fn note(&mut self, field: &str, text: &str) -> Option<Personal> {
        self.line(field, text, MAX_NOTE_CHARS).map(|note| Personal(note.into()))
    }

    /// A line that people read, without the white space around it, which may be missing.
    pub fn line<'a>(&mut self, field: &str, text: &'a str, max_chars: usize) -> Option<&'a str> {
        let line = text.trim();
        if text.contains('\0') {
            self.fault(field, ErrorReason::NulCharacter, "must not contain NUL");
        } else if line.is_empty() {
            return None;
        } else if let Some(unseen) = unseen(line) {
            self.fault(field, ErrorReason::InvalidNote, unseen.to_string());
        } else if line.chars().count() > max_chars {
            let message = format!("must be at most {max_chars} characters long");
            self.fault(field, ErrorReason::FieldTooLong, message);
        }
        Some(line)
    }

    /// A moment, not in the future, which may be missing.
    pub fn past_time(
        &mut self,
        field: &str,
        time: Option<&PbTimestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let time = self.time(field, time)?;
        if time > now.plus_seconds(MAX_AHEAD_SECONDS) {
            let message = "must not be more than 5 minutes ahead of the database's clock";
            self.fault(field, ErrorReason::TimeInFuture, message);
            return None;
        }
        Some(time)
    }

    /// A moment, which may be missing.
    pub fn time(&mut self, field: &str, time: Option<&PbTimestamp>) -> Option<Timestamp> {
        let time = time?;
        let nanos = i64::from(time.nanos);
        let micros = time
            .seconds
            .checked_mul(Timestamp::PER_SECOND)
            .and_then(|micros| micros.checked_add(nanos / 1_000))
            .filter(|_| TIMESTAMP_SECONDS.contains(&time.seconds))
            .filter(|_| (0..1_000_000_000).contains(&nanos));
        let Some(micros) = micros else {
            let message = "must be of the years 1 to 9999, in seconds since 1970, with nanos of 0 to 999,999,999";
            self.fault(field, ErrorReason::InvalidTime, message);
            return None;
        };
        Some(Timestamp(micros))
    }

    /// A period from `start_time` to `end_time`, either of which may be missing. One that ends before it starts has
    /// nothing in it, and is a mistake of the caller.
    pub fn period(
        &mut self,
        start: Option<&PbTimestamp>,
        end: Option<&PbTimestamp>,
    ) -> (Option<Timestamp>, Option<Timestamp>) {
        let (start, end) = (self.time("start_time", start), self.time("end_time", end));
        if start.zip(end).is_some_and(|(start, end)| end < start) {
            self.fault("end_time", ErrorReason::InvalidTime, "must not be before start_time");
        }
        (start, end)
    }

    /// A number within a range; `default` if it is 0.
    pub fn number(
        &mut self,
        field: &str,
        number: i32,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        match u32::try_from(number) {
            Ok(0) => default,
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = range.into_inner();
                let message = format!("must be 0 (for {default}) or {least} to {most}");
                self.fault(field, ErrorReason::OutOfRange, message);
                default
            }
        }
    }
}
