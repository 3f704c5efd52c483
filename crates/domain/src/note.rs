//! A note: what an operator or a caller writes for people to read. Free text can say anything about anybody, so it is
//! stored outside the log; events carry short codes.

use std::fmt;

use serde_json::{Value, json};

use crate::{Halt, Personal, SideRow, Timestamp, User, UserId, Work, load};

/// The longest note, in characters.
pub const MAX_NOTE_CHARS: usize = 500;

/// The longest reason code, in characters.
pub const MAX_REASON_CODE_CHARS: usize = 64;

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteSubject {
    /// A refund of a purchase.
    Refund,
    /// Something for which an approval may be needed, as an adjustment: why it is asked for.
    Request,
    /// An approval that was declined: why.
    Decline,
    /// A reward that an operator holds or releases.
    RewardHold,
}

impl NoteSubject {
    /// The name used in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::Request => "request",
            Self::Decline => "decline",
            Self::RewardHold => "reward_hold",
        }
    }
}

/// The row of a note.
#[derive(Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub subject: NoteSubject,
    /// Which one.
    pub subject_id: String,
    /// The user with whose data it is erased; empty if it is about nobody in particular.
    pub user_id: UserId,
    /// Who wrote it, as the log names actors. A decision does not know that: it is set from the command's envelope.
    pub author: String,
    /// The text.
    pub note: Personal,
    /// When it was written.
    pub note_time: Timestamp,
}

impl fmt::Debug for Note {
    /// Prints the subject only: personal data stays out of logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Note")
            .field("subject", &self.subject)
            .field("subject_id", &self.subject_id)
            .finish_non_exhaustive()
    }
}

impl Note {
    /// The values of the row by column name.
    pub(crate) fn content(&self) -> Value {
        json!({
            "subject_kind": self.subject.as_str(),
            "subject_id": self.subject_id,
            "user_id": self.user_id,
            "author": self.author,
            "note": self.note.0,
            "note_time_us": self.note_time,
        })
    }
}

/// Writes a note, if there is one, unless its user was erased: nothing would delete it any more.
pub(crate) fn write_note(
    work: &mut dyn Work,
    subject: NoteSubject,
    subject_id: String,
    user_id: Option<&UserId>,
    note: Option<&Personal>,
) -> Result<(), Halt> {
    let Some(note) = note else { return Ok(()) };
    if let Some(user_id) = user_id
        && !load::<User>(work, user_id)?.exists()
    {
        return Ok(());
    }
    work.write_row(SideRow::Note(Box::new(Note {
        subject,
        subject_id,
        user_id: user_id.cloned().unwrap_or_default(),
        author: String::new(),
        note: note.clone(),
        note_time: work.now(),
    })));
    Ok(())
}

/// Whether a text is a reason code: 1 to [`MAX_REASON_CODE_CHARS`] of `a-z`, `0-9`, `_` and `-`.
#[must_use]
pub fn is_reason_code(text: &str) -> bool {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    (1..=MAX_REASON_CODE_CHARS).contains(&text.len()) && text.bytes().all(allowed)
}
