//! A consequence, as the rules demand it or as the log has it, and the comparison of the two.

use std::fmt;
use std::sync::Arc;

use domain::{Kind, StreamKey};

use super::super::audit::Finding;
use super::world::ProgramIndex;

/// The value of a field; `Absent` if an event leaves the field out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Absent,
    Number(i128),
    Text(Arc<str>),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => formatter.write_str("nothing"),
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => write!(formatter, "'{text}'"),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl From<i128> for Value {
    fn from(number: i128) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(holds: bool) -> Self {
        Self::Text(if holds { "yes" } else { "no" }.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

/// The fields of a consequence, each with its name.
pub(super) type Fields = Vec<(&'static str, Value)>;

/// A value that prints like the variant of an enum.
pub(super) fn debug(value: impl fmt::Debug) -> Value {
    Value::Text(format!("{value:?}").into())
}

/// A consequence of a command.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) program: ProgramIndex,
    pub(super) stream: StreamKey,
    /// The type of the event.
    pub(super) name: &'static str,
    pub(super) fields: Vec<(&'static str, Value)>,
    /// Where the log has it; 0 for one that is expected.
    pub(super) position: i64,
}

impl Effect {
    /// What is expected of a participant's stream.
    pub(super) fn on_participant(
        program: ProgramIndex,
        stream_id: Arc<str>,
        name: &'static str,
        fields: Vec<(&'static str, Value)>,
    ) -> Self {
        let stream = StreamKey { kind: Kind::Participant, id: stream_id };
        Self { program, stream, name, fields, position: 0 }
    }

    /// Takes over an effect that is a further part of this one: what is spent or taken back in one command is posted in
    /// a part for each lot, and the sum is what the rules demand. Returns it if it is not.
    pub(super) fn join(&mut self, part: Self) -> Option<Self> {
        let is_in_parts = matches!(
            self.name,
            "BalanceSpent"
                | "SpendingReturned"
                | "PurchaseCredited"
                | "PayoutReserved"
                | "PayoutReleased"
                | "PayoutReturned"
        );
        if !is_in_parts || self.name != part.name || self.stream != part.stream {
            return Some(part);
        }
        let mut sum = self.fields.clone();
        for ((name, own), (_, other)) in sum.iter_mut().zip(&part.fields) {
            match (&*own, other) {
                (Value::Number(amount), Value::Number(more))
                    if *name == "amount" && amount.signum() == more.signum() =>
                {
                    *own = Value::Number(amount + more);
                }
                _ if *own == *other => {}
                _ => return Some(part),
            }
        }
        self.fields = sum;
        None
    }

    fn equals(&self, other: &Self) -> bool {
        self.name == other.name && self.stream == other.stream && self.fields == other.fields
    }

    /// Whether two that differ are most likely meant to be the same: the same type at the same level, or on the same
    /// stream.
    fn resembles(&self, other: &Self) -> bool {
        let level = |of: &Self| of.fields.first().filter(|(name, _)| *name == "level").cloned();
        self.name == other.name
            && match level(self) {
                Some(own) => level(other) == Some(own),
                None => self.stream == other.stream,
            }
    }

    fn describe(&self) -> String {
        let fields = self.fields.iter().filter(|(_, value)| *value != Value::Absent);
        let fields: Vec<_> = fields.map(|(name, value)| format!("{name} {value}")).collect();
        format!("{} ({})", self.name, fields.join(", "))
    }

    fn difference(&self, found: &Self) -> String {
        let mut differences = Vec::new();
        if self.stream != found.stream {
            differences.push(format!("expected on {}, found on {}", self.stream, found.stream));
        }
        for (name, expected) in &self.fields {
            let value = found.fields.iter().find(|(other, _)| other == name);
            let value = value.map_or(&Value::Absent, |(_, value)| value);
            if value != expected {
                differences.push(format!("{name}: expected {expected}, found {value}"));
            }
        }
        format!("{}: {}", self.name, differences.join("; "))
    }
}

/// Removes from both what is equal.
pub(super) fn cancel(expected: &mut Vec<Effect>, found: &mut Vec<Effect>) {
    expected.retain(|effect| match found.iter().position(|other| effect.equals(other)) {
        Some(index) => {
            found.remove(index);
            false
        }
        None => true,
    });
}

/// Names what is left of both, after what is equal was removed. `position` is the end of the command, where what is
/// missing is missing.
pub(super) fn name_all(
    expected: Vec<Effect>,
    mut found: Vec<Effect>,
    position: i64,
    name: &mut dyn FnMut(Finding),
) {
    for effect in expected {
        let twin = found.iter().position(|other| effect.resembles(other));
        let (about, what, position) = if let Some(index) = twin {
            let other = found.remove(index);
            (other.stream.to_string(), effect.difference(&other), other.position)
        } else {
            let what = format!("expected {}, found nothing", effect.describe());
            (effect.stream.to_string(), what, position)
        };
        name(Finding { about, what, position });
    }
    for effect in found {
        let what = format!("expected nothing, found {}", effect.describe());
        name(Finding { about: effect.stream.to_string(), what, position: effect.position });
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::spending_fields;
    use super::*;

    fn effect(name: &'static str, redemption_id: &str, amount_minor: i64) -> Effect {
        let fields = spending_fields(redemption_id, "mug", 1, amount_minor, "USD");
        Effect::on_participant(0, "p/ana".into(), name, fields)
    }

    #[test]
    fn what_is_spent_in_parts_is_compared_as_a_whole() {
        let mut whole = effect("BalanceSpent", "r", -3);
        for part in [-4, -3] {
            assert!(whole.join(effect("BalanceSpent", "r", part)).is_none());
        }
        assert!(whole.equals(&effect("BalanceSpent", "r", -10)));
    }

    #[test]
    fn what_differs_in_more_than_the_amount_is_no_part() {
        let others = [
            effect("BalanceSpent", "another", -4),
            effect("BalanceSpent", "r", 4),
            effect("SpendingReturned", "r", -4),
        ];
        for other in others {
            let mut whole = effect("BalanceSpent", "r", -3);
            assert!(whole.join(other).is_some());
            assert!(whole.equals(&effect("BalanceSpent", "r", -3)));
        }
        let mut adjusted = effect("BalanceAdjusted", "r", -3);
        assert!(adjusted.join(effect("BalanceAdjusted", "r", -3)).is_some());
    }
}
