//! The enum fields of requests: numbers that this server does not know.
//!
//! A number that is not a value of its enum reads as the unspecified value, so a handler would take the unknown
//! choice of a newer client for no choice at all. The build generates a walk through every request, nested and
//! repeated messages included (`build/enums.rs`), and [`super::fields::Fields::of`] begins with what it finds.

use std::fmt;

/// The maximum number of such fields that are reported: a request can repeat a message many thousand times.
const MAX_FOUND: usize = 64;

/// The path of a field in a request, as in `program.rewards[1].kind`.
#[derive(Clone, Copy)]
pub(super) struct FieldPath<'a> {
    /// The path of the message that has the field; `None` for the request itself.
    pub(super) parent: Option<&'a FieldPath<'a>>,
    /// The name of the field.
    pub(super) field: &'static str,
    /// The index of the element, if the field is repeated.
    pub(super) index: Option<usize>,
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(formatter, "{parent}.")?;
        }
        formatter.write_str(self.field)?;
        match self.index {
            Some(index) => write!(formatter, "[{index}]"),
            None => Ok(()),
        }
    }
}

/// A message whose enum fields can be visited. Implemented for every request, and for every message in one, by
/// `build/enums.rs`.
pub(super) trait EnumFields {
    /// Adds the enum fields of this message, and of those in it, whose number is not a value of their enum.
    fn find_unknown(&self, at: Option<&FieldPath<'_>>, found: &mut UnknownNumbers);
}

/// The fields that have been found.
#[derive(Default)]
pub(super) struct UnknownNumbers(Vec<UnknownNumber>);

/// A field with a number that is not a value of its enum.
pub(super) struct UnknownNumber {
    /// The path of the field.
    pub(super) field: String,
    /// The number.
    pub(super) number: i32,
    /// The values that a client can choose, in words.
    pub(super) values: &'static str,
}

impl UnknownNumbers {
    /// Adds a field. `values` names the values that a client can choose.
    pub(super) fn add(&mut self, field: FieldPath<'_>, number: i32, values: &'static str) {
        if self.0.len() < MAX_FOUND {
            self.0.push(UnknownNumber { field: field.to_string(), number, values });
        }
    }

    /// Every such field of a request.
    pub(super) fn of(request: &impl EnumFields) -> Vec<UnknownNumber> {
        let mut found = Self::default();
        request.find_unknown(None, &mut found);
        found.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pb;

    #[test]
    fn a_number_that_is_no_value_is_found_wherever_it_stands() {
        let rule = |kind| pb::RewardRule { kind, ..Default::default() };
        let program = pb::Program {
            unknown_code: 9,
            earn_on: -1,
            rewards: vec![rule(1), rule(77)],
            ..Default::default()
        };
        let request = pb::PublishProgramRequest { program: Some(program), ..Default::default() };
        let found = UnknownNumbers::of(&request);
        let mut found: Vec<_> =
            found.iter().map(|unknown| (&*unknown.field, unknown.number)).collect();
        found.sort_unstable();
        let expected =
            [("program.earn_on", -1), ("program.rewards[1].kind", 77), ("program.unknown_code", 9)];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_request_with_many_thousand_unknown_numbers_costs_little() {
        let rule = pb::RewardRule { kind: 9, ..Default::default() };
        let program = pb::Program { rewards: vec![rule; 100_000], ..Default::default() };
        let request = pb::PublishProgramRequest { program: Some(program), ..Default::default() };
        let found = UnknownNumbers::of(&request);
        assert_eq!(found.len(), MAX_FOUND);
        let kinds = "REWARD_KIND_POINTS (1), REWARD_KIND_CREDIT (2), REWARD_KIND_BONUS (3) or \
                     REWARD_KIND_COMMISSION (4)";
        assert_eq!(found[0].values, kinds);
    }
}
