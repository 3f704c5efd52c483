//! Checks that the log contains exactly the acknowledged writes: none lost, none twice, none that was
//! refused.
//!
//! A server that loses writes is fast for the wrong reason, so a run whose log fails this check is a failure,
//! however good its numbers are.

use serde::Serialize;

use super::connections::Connections;
use super::ledger::{Answer, Ledger, Write};
use super::{LoadError, log};

/// The result of the check for one kind of write of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// How many were acknowledged.
    pub acknowledged: u64,
    /// How many the log holds.
    pub found: u64,
    /// How many of those were never answered. This is not a fault: the answer was lost, not the write.
    pub found_unanswered: u64,
    /// The number of faults.
    pub faults: u64,
    /// The first fault.
    pub first_fault: Option<String>,
}

/// Reads the log after a position and compares it with the answers.
///
/// # Errors
/// If the log cannot be read. Faults in the log are not errors; [`Checked`] holds them.
pub async fn check(
    connections: &Connections,
    ledger: &Ledger,
    after_position: i64,
) -> Result<(Checked, Checked), LoadError> {
    let (mut users, mut purchases) = (Vec::new(), Vec::new());
    let types = ["UserRegistered", "PurchaseRecorded"];
    log::read(connections, after_position, &types, |event| {
        let (write, found) = match event.event_type.as_str() {
            "UserRegistered" => (Write::User, &mut users),
            _ => (Write::Purchase, &mut purchases),
        };
        if let Some(number) = ledger.number(write, &event.aggregate_id) {
            let index = usize::try_from(number).unwrap_or_default();
            if found.len() <= index {
                found.resize(index + 1, 0);
            }
            found[index] += 1;
        }
    })
    .await?;
    Ok((compare(ledger, Write::User, &users), compare(ledger, Write::Purchase, &purchases)))
}

/// Compares answers with how often the log contains each write, both by the write's number.
fn compare(ledger: &Ledger, write: Write, found: &[u32]) -> Checked {
    let answers = ledger.answers(write);
    let mut checked = Checked::default();
    for index in 0..answers.len().max(found.len()) {
        let answer = answers.get(index).copied().unwrap_or_default();
        let times = found.get(index).copied().unwrap_or_default();
        checked.found += u64::from(times);
        checked.acknowledged += u64::from(answer == Answer::Acknowledged);
        checked.found_unanswered += u64::from(answer == Answer::None && times == 1);
        let fault = match (answer, times) {
            (Answer::Acknowledged, 0) => "was acknowledged and is not in the log".to_owned(),
            (Answer::Refused, 1..) => "was refused and is in the log".to_owned(),
            (_, 2..) => format!("is in the log {times} times"),
            _ => continue,
        };
        checked.faults += 1;
        checked.first_fault.get_or_insert_with(|| {
            let what = match write {
                Write::User => "the sign-up of",
                Write::Purchase => "purchase",
            };
            format!("{what} {} {fault}", ledger.id(write, index as u64))
        });
    }
    checked
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn compared(answers: &[Answer], found: &[u32]) -> Checked {
        let ledger = Ledger::new("load".into());
        for (number, &answer) in (0..).zip(answers) {
            ledger.note(Write::Purchase, number, answer);
        }
        compare(&ledger, Write::Purchase, found)
    }

    #[test]
    fn a_log_with_just_what_was_acknowledged_is_good() {
        let answers = [Answer::Acknowledged, Answer::Refused, Answer::None, Answer::None];
        let expected =
            Checked { acknowledged: 1, found: 2, found_unanswered: 1, ..Checked::default() };
        assert_eq!(compared(&answers, &[1, 0, 1]), expected);
    }

    #[test]
    fn the_first_write_that_is_missing_doubled_or_refused_is_named() {
        let fault = |answers: &[Answer], found: &[u32]| {
            let checked = compared(answers, found);
            assert_eq!(checked.faults, 1);
            checked.first_fault.unwrap()
        };
        let (yes, no) = (Answer::Acknowledged, Answer::Refused);
        assert_eq!(
            fault(&[yes, yes], &[1]),
            "purchase load-p1 was acknowledged and is not in the log"
        );
        assert_eq!(fault(&[yes, yes], &[2, 1]), "purchase load-p0 is in the log 2 times");
        assert_eq!(fault(&[yes, no], &[1, 1]), "purchase load-p1 was refused and is in the log");
        assert_eq!(fault(&[], &[0, 2]), "purchase load-p1 is in the log 2 times");
    }
}
