//! The ledger of a participant as a file for spreadsheets.

use axum::extract::Path;
use axum::response::Response;
use console::pages::participant::entries::{self, Rules};
use console::reader::{moment, places, plain};
use console::text::participant::CSV_HEAD;

use super::versions;
use crate::api::console::answers;
use crate::api::console::answers::Refused;
use crate::api::console::visit::Visit;
use crate::api::pb;

/// How many entries are read at a time.
const ENTRIES: i32 = 1_000;
/// How many entries the file has at most: the newest ones.
const MAX_ENTRIES: usize = 20_000;

pub(super) async fn download(
    visit: Visit,
    Path(program_id): Path<String>,
) -> Result<Response, Refused> {
    let at = visit.participating(&program_id).await?;
    let mut csv = row(CSV_HEAD.map(String::from));
    let (mut page_token, mut count, mut others) = (String::new(), 0, Vec::new());
    loop {
        let request = pb::ListBalanceEntriesRequest {
            program_id: program_id.clone(),
            user_id: at.person.user_id(),
            page_size: ENTRIES,
            page_token,
            ..Default::default()
        };
        let answer = visit.call(request).await?;
        count += answer.entries.len();
        let wanted = versions::of_entries(&answer.entries);
        versions::add(&visit, &at.program, &mut others, wanted).await;
        let rules = Rules { program: &at.program, others: &others };
        for entry in &answer.entries {
            csv += &row(cells(entry, rules, &visit));
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() || count >= MAX_ENTRIES {
            break;
        }
    }
    Ok(answers::download(&format!("{program_id}.csv"), "text/csv; charset=utf-8", csv))
}

fn cells(entry: &pb::BalanceEntry, rules: Rules<'_>, visit: &Visit) -> [String; 9] {
    let (program, words) = (rules.program, entries::words(entry, rules, visit.reader()));
    let (_, bucket) = entries::bucket(entry.bucket());
    let time = entry.create_time.as_ref().and_then(moment);
    let kind = entry.kind().as_str_name();
    let amount = |money: Option<&pb::Money>| {
        money.map_or_else(String::new, |money| plain(money.minor_units, places(&program.unit)))
    };
    [
        time.map(|time| time.to_string()).unwrap_or_default(),
        kind.trim_start_matches("ENTRY_KIND_").to_lowercase(),
        words.title.clone(),
        words.explained(),
        bucket.into(),
        entry.purchase_id.clone(),
        amount(entry.amount.as_ref()),
        amount(entry.balance.as_ref()),
        program.unit.clone(),
    ]
}

/// A row of RFC 4180.
fn row(cells: [String; 9]) -> String {
    let mut row = cells.map(|cell| self::cell(&cell)).join(",");
    row += "\r\n";
    row
}

/// A cell. A text that a spreadsheet would take for a formula has an apostrophe before it; numbers are none.
fn cell(text: &str) -> String {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    let is_formula = !is_number && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_a_formula() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("=1+1", "'=1+1"),
            ("@x,y", "\"'@x,y\""),
            ("-12.50", "-12.50"),
            ("-a", "'-a"),
            ("", ""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}
