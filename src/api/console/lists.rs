//! Lists that pages show as a whole: all programs, all items of a program. The API has them page by page.

use tonic::Status;

use super::visit::Visit;
use crate::api::pb;

/// How many entries are read at once: as many as a page of the API can have.
const AT_ONCE: i32 = 1_000;
/// How many pages are read at most. There are some thousands of programs at most, and 500 items in each.
const MAX_PAGES: usize = 20;

/// All programs, by their ids.
pub(super) async fn all_programs(visit: &Visit) -> Result<Vec<pb::Program>, Status> {
    let mut programs = Vec::new();
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let request =
            pb::ListProgramsRequest { page_size: AT_ONCE, page_token, ..Default::default() };
        let found = visit.look(request).await?;
        programs.extend(found.programs);
        page_token = found.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(programs)
}

/// All items of a program, also those that are off sale, the newest first.
pub(super) async fn all_items(
    visit: &Visit,
    program_id: &str,
    consistency_token: &str,
) -> Result<Vec<pb::Item>, Status> {
    let mut items = Vec::new();
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let request = pb::ListItemsRequest {
            program_id: program_id.into(),
            page_size: AT_ONCE,
            page_token,
            consistency_token: consistency_token.into(),
            ..Default::default()
        };
        let found = visit.look(request).await?;
        items.extend(found.items);
        page_token = found.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(items)
}
