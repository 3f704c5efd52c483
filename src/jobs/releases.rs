//! Ends hold periods when their time has come: one command for each purchase or referral. A command that is repeated
//! finds nothing to end.

use super::timed::{Names, Timed};
use crate::engine::{Engine, Failure, Submission};
use crate::store::releases::Release;
use crate::store::{Actor, Database, Door};
use domain::decide::{Command, EndHoldPeriod};

impl Timed for Release {
    const NAMES: Names = Names {
        prefix: "releases",
        done: "Hold periods that this server has ended",
        failed: "Hold periods that this server could not end, and that are tried again",
        waiting: "Hold periods in the database that are over and not ended, counted up to 10000",
        late: "How long the first of those hold periods has been over",
    };

    async fn carry_out(&self, engine: &Engine, _: &Database) -> Result<(), Failure> {
        let command = Command::EndHoldPeriod(EndHoldPeriod {
            program_id: self.program_id.clone(),
            source_user_id: self.source_user_id.clone(),
            purchase_id: self.purchase_id.clone(),
        });
        let submission = Submission::new(command, Actor::SYSTEM, Door::job(Self::NAMES.prefix));
        engine.execute(submission.in_the_background()).await.map(drop)
    }
}
