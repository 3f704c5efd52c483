//! Lets lots expire when their time has come, and announces that by mail. A command that is repeated finds nothing to
//! let expire, and each lot has one mail.

use super::timed::{Names, Timed};
use crate::engine::{Engine, Failure, Submission};
use crate::store::expirations::{Expiration, announce};
use crate::store::{Actor, Database, Door, in_time};
use domain::decide::Command;

impl Timed for Expiration {
    const NAMES: Names = Names {
        prefix: "expirations",
        done: "Lots that this server has let expire, and announcements of that",
        failed: "Lots that this server could not let expire or announce, and that are tried again",
        waiting: "Lots in the database that are due to expire or to be announced, counted up to 10000",
        late: "How long the first of those lots has been over",
    };

    async fn carry_out(&self, engine: &Engine, database: &Database) -> Result<(), Failure> {
        if self.is_announcement {
            let announced = announce(database.pool(), &self.participant, self.expire_time);
            return in_time(announced).await.map_err(|error| {
                tracing::warn!(%error, "a lot cannot be announced; trying again");
                Failure::DatabaseUnavailable
            });
        }
        let command = Command::ExpireBalance(self.participant.clone());
        let submission = Submission::new(command, Actor::SYSTEM, Door::job(Self::NAMES.prefix));
        engine.execute(submission.in_the_background()).await.map(drop)
    }
}
