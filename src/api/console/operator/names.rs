//! The names of those whom a page is about, in place of their ids.

use std::collections::BTreeSet;

use console::names::Names;
use console::reader::Reader;

use crate::api::console::lists::{all_items, all_programs};
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many users are named at most: as many as a call can name.
const MAX_PEOPLE: usize = 1_000;

/// Ids whose names are wanted, each once.
#[derive(Default)]
pub(in crate::api::console) struct Ids(BTreeSet<String>);

impl Ids {
    /// These ids, without empty ones.
    pub(in crate::api::console) fn of<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        Self(ids.into_iter().filter(|id| !id.is_empty()).map(str::to_owned).collect())
    }
}

/// The visitor, who knows the names of all programs and of these users. What cannot be read now is shown by its id:
/// such a page is better than none.
pub(in crate::api::console) async fn knowing(visit: &Visit, user_ids: Ids) -> Reader {
    visit.reader().knowing(names(visit, user_ids).await)
}

/// The same, with the names of items of these programs.
pub(super) async fn knowing_items(visit: &Visit, user_ids: Ids, program_ids: Ids) -> Reader {
    let mut names = names(visit, user_ids).await;
    for program_id in program_ids.0 {
        for item in &all_items(visit, &program_id, "").await.unwrap_or_default() {
            names.add_item(item);
        }
    }
    visit.reader().knowing(names)
}

async fn names(visit: &Visit, Ids(wanted): Ids) -> Names {
    let user_ids: Vec<String> = wanted.into_iter().take(MAX_PEOPLE).collect();
    let people = async {
        // Without an id, the call would list everybody.
        if user_ids.is_empty() {
            return Vec::new();
        }
        let request = pb::ListUsersRequest { user_ids, ..Default::default() };
        visit.look(request).await.map(|found| found.users).unwrap_or_default()
    };
    let (people, programs) = tokio::join!(people, all_programs(visit));
    let mut names = Names::default();
    people.into_iter().filter_map(|of| of.user).for_each(|user| names.add_user(user));
    programs.into_iter().flatten().for_each(|of| names.add_program(&of));
    names
}

/// The user who did something, as the log names actors; empty if it was somebody else.
pub(super) fn user_of(actor: &str) -> &str {
    actor.strip_prefix("user:").unwrap_or_default()
}

/// Everybody whom an approval names.
pub(super) fn of_approval(approval: &pb::Approval) -> [&str; 3] {
    [&approval.user_id, user_of(&approval.asked_by), user_of(&approval.decided_by)]
}

/// Everybody whom a flag names.
pub(in crate::api::console) fn of_flag(flag: &pb::FraudFlag) -> impl Iterator<Item = &str> {
    let parties = [&flag.referee, &flag.other, &flag.referrer].into_iter().flatten();
    let authors = flag.notes.iter().map(|note| user_of(&note.author));
    parties
        .map(|party| &*party.user_id)
        .chain(flag.findings.iter().map(|finding| &*finding.other_user_id))
        .chain([user_of(&flag.resolved_by)])
        .chain(authors)
}
