//! What a run has asked for and been told, for comparing it with the log afterwards.
//!
//! Every write has an id that says which run it is of and which number it has there, so that what the log
//! holds can be compared with what was answered, whatever else is in it.

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
    /// It was not sent, or nothing has been answered: nobody knows whether it is in the log.
    #[default]
    None,
    /// It is in the log.
    Acknowledged,
    /// It is not.
    Refused,
}

impl Answer {
    /// What a call that ended like this says about its write. Where the contract leaves open what has become
    /// of it, so does this.
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
    /// Of a run with this name, which leads all its ids.
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

    /// Notes what was answered.
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
        // A note is whole or not there, also if its writer came to grief.
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
