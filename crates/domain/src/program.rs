//! A program: a named set of rules with every version that was ever in force.

use std::sync::Arc;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::events::events;
use super::ledger::Posting;
use super::registry::{Posts, State};
use super::rules::ProgramRules;
use super::{ProgramId, Refusal, Timestamp};

/// The maximum number of versions of one program. All versions stay in memory, because a purchase may be
/// dated back to any of them.
pub const MAX_VERSIONS: u32 = 1_000;

/// A new version of a program's rules came into force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProgramPublished {
    /// 1, 2, 3, ...
    pub version: u32,
    /// When the version came into force, in microseconds since 1970.
    pub publish_time_us: Timestamp,
    /// The complete rules.
    pub rules: Arc<ProgramRules>,
}

events! {
    /// What can happen to a program.
    ProgramEvent {
        ProgramPublished = "1.0.0",
    }
}

/// The commands of a program.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum ProgramCommand {
    /// Puts rules into force. Rules that equal those in force change nothing.
    Publish { program_id: ProgramId, rules: Arc<ProgramRules>, now: Timestamp },
}

/// One version of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProgramVersion {
    /// 1, 2, 3, ...
    pub version: u32,
    /// When it came into force.
    pub publish_time: Timestamp,
    /// The rules of this version.
    pub rules: Arc<ProgramRules>,
}

/// A program with its versions, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Program {
    versions: Vec<ProgramVersion>,
}

impl Program {
    /// The version in force now; `None` if the program does not exist.
    #[must_use]
    pub fn current(&self) -> Option<&ProgramVersion> {
        self.versions.last()
    }

    /// Whether users who sign up without naming a program are enrolled at present.
    #[must_use]
    pub fn enrolls_by_default(&self) -> bool {
        self.current().is_some_and(|version| version.rules.enroll_by_default)
    }

    /// All versions, oldest first.
    #[must_use]
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = &ProgramVersion> {
        self.versions.iter()
    }

    /// The version with that number.
    #[must_use]
    pub fn version(&self, version: u32) -> Option<&ProgramVersion> {
        self.versions.iter().find(|candidate| candidate.version == version)
    }

    /// The version that was in force at `time`; the first one for any time before it.
    #[must_use]
    pub fn in_force_at(&self, time: Timestamp) -> Option<&ProgramVersion> {
        self.versions
            .iter()
            .rev()
            .find(|version| version.publish_time <= time)
            .or_else(|| self.versions.first())
    }
}

impl Aggregate for Program {
    const TYPE: &'static str = "Program";
    type Command = ProgramCommand;
    type Event = ProgramEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: ProgramCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refusal> {
        let ProgramCommand::Publish { program_id, rules, now } = command;
        let mut version = 1;
        let mut publish_time_us = now;
        if let Some(current) = self.current() {
            if current.rules == rules {
                return Ok(());
            }
            if current.rules.unit != rules.unit {
                return Err(Refusal::UnitIsFixed { program_id, unit: current.rules.unit.clone() });
            }
            if current.version >= MAX_VERSIONS {
                return Err(Refusal::TooManyVersions { program_id, limit: MAX_VERSIONS });
            }
            version = current.version + 1;
            // Two servers' clocks may differ; versions must not come into force out of order.
            publish_time_us = now.max(current.publish_time);
        }
        let event = ProgramPublished { version, publish_time_us, rules };
        sink.write(event.into(), self).await;
        Ok(())
    }

    fn apply(&mut self, event: ProgramEvent) {
        let ProgramEvent::ProgramPublished(event) = event;
        self.versions.push(ProgramVersion {
            version: event.version,
            publish_time: event.publish_time_us,
            rules: event.rules,
        });
    }
}

impl Posts for ProgramEvent {
    fn posting(&self) -> Option<&Posting> {
        match self {
            Self::ProgramPublished(_) => None,
        }
    }
}

impl State for Program {
    fn user_of(_: &str) -> Option<&str> {
        None
    }
}
