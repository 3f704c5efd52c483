//! The writes of a run and their answers, for a comparison with the log afterwards.
//!
//! Every write has an id that contains the name of its run and its number, so that the log can be compared
//! with the answers, regardless of what else it contains.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tonic::{Code, Status};

/// What a run writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A sign-up.
    User,
    /// A purchase.
    Purchase,
}

/// What was answered to a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// The write was not sent, or not answered: it may or may not be in the log.
    #[default]
    None,
    /// The write is in the log.
    Acknowledged,
    /// The write is not in the log.
    Refused,
}

impl Answer {
    /// The answer to the write of a call with this outcome; `None` if the contract leaves open whether the
    /// write was carried out.
    pub fn of<T>(outcome: &Result<T, Status>) -> Self {
        match outcome.as_ref().map_err(Status::code) {
            Ok(_) => Self::Acknowledged,
            Err(
                Code::Unknown
                | Code::Internal
                | Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::DataLoss
                | Code::Ok,
            ) => Self::None,
            Err(_) => Self::Refused,
        }
    }
}

/// The id of a write of a run.
#[must_use]
pub fn id_in(run: &str, write: Write, number: u64) -> String {
    let letter = match write {
        Write::User => 'u',
        Write::Purchase => 'p',
    };
    format!("{run}-{letter}{number}")
}

/// The answers to all writes of a run.
#[derive(Debug)]
pub struct Ledger {
    run: String,
    users: Mutex<Vec<Answer>>,
    purchases: Mutex<Vec<Answer>>,
}

impl Ledger {
    /// Creates the ledger of a run with this name, which is the prefix of all its ids.
    #[must_use]
    pub const fn new(run: String) -> Self {
        Self { run, users: Mutex::new(Vec::new()), purchases: Mutex::new(Vec::new()) }
    }

    /// The name of the run.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The id of a write.
    #[must_use]
    pub fn id(&self, write: Write, number: u64) -> String {
        id_in(&self.run, write, number)
    }

    /// The number of a write; `None` if the id is of another run.
    #[must_use]
    pub fn number(&self, write: Write, id: &str) -> Option<u64> {
        let number = id.rsplit_once(|letter: char| letter.is_ascii_lowercase())?.1.parse().ok()?;
        (self.id(write, number) == id).then_some(number)
    }

    /// Records the answer to a write.
    pub fn note(&self, write: Write, number: u64, answer: Answer) {
        let mut answers = self.lock(write);
        let index = usize::try_from(number).unwrap_or_default();
        if answers.len() <= index {
            answers.resize(index + 1, Answer::None);
        }
        answers[index] = answer;
    }

    /// All answers so far, by the number of the write.
    #[must_use]
    pub fn answers(&self, write: Write) -> Vec<Answer> {
        self.lock(write).clone()
    }

    fn lock(&self, write: Write) -> MutexGuard<'_, Vec<Answer>> {
        let answers = match write {
            Write::User => &self.users,
            Write::Purchase => &self.purchases,
        };
        // A record is complete or missing, even if its writer panicked.
        answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_number_in_its_own_run_only() {
        let ledger = Ledger::new("load-1a".into());
        let id = ledger.id(Write::Purchase, 17);
        assert_eq!(id, "load-1a-p17");
        assert_eq!(ledger.number(Write::Purchase, &id), Some(17));
        for other in ["load-1a-u17", "load-1b-p17", "load-1a-p017", "load-1a-p", "17", "", "é"] {
            assert_eq!(ledger.number(Write::Purchase, other), None, "{other}");
        }
    }

    #[test]
    fn only_a_clear_no_is_a_no() {
        let answer = |code| Answer::of(&Err::<(), _>(Status::new(code, "")));
        assert_eq!(answer(Code::AlreadyExists), Answer::Refused);
        assert_eq!(answer(Code::ResourceExhausted), Answer::Refused);
        assert_eq!(answer(Code::DeadlineExceeded), Answer::None);
        assert_eq!(answer(Code::Unavailable), Answer::None);
        assert_eq!(Answer::of(&Ok(())), Answer::Acknowledged);
    }

    #[test]
    fn what_was_not_answered_is_left_open() {
        let ledger = Ledger::new("load".into());
        ledger.note(Write::User, 2, Answer::Acknowledged);
        ledger.note(Write::User, 0, Answer::Refused);
        let expected = [Answer::Refused, Answer::None, Answer::Acknowledged];
        assert_eq!(ledger.answers(Write::User), expected);
        assert_eq!(ledger.answers(Write::Purchase), []);
    }
}
