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
    all(|page_token| async move {
        let request =
            pb::ListProgramsRequest { page_size: AT_ONCE, page_token, ..Default::default() };
        let found = visit.look(request).await?;
        Ok((found.programs, found.next_page_token))
    })
    .await
}

/// All items of a program, also those that are off sale, the newest first.
pub(super) async fn all_items(
    visit: &Visit,
    program_id: &str,
    consistency_token: &str,
) -> Result<Vec<pb::Item>, Status> {
    all(|page_token| async move {
        let request = pb::ListItemsRequest {
            program_id: program_id.into(),
            page_size: AT_ONCE,
            page_token,
            consistency_token: consistency_token.into(),
            ..Default::default()
        };
        let found = visit.look(request).await?;
        Ok((found.items, found.next_page_token))
    })
    .await
}

/// The entries of all pages; reads the page of a token, and the token of the next one.
async fn all<Entry, Reading>(read: impl Fn(String) -> Reading) -> Result<Vec<Entry>, Status>
where
    Reading: Future<Output = Result<(Vec<Entry>, String), Status>>,
{
    let mut entries = Vec::new();
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let (found, next_page_token) = read(page_token).await?;
        entries.extend(found);
        page_token = next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(entries)
}
