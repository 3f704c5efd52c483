//! Pages of lists.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use sha2::{Digest, Sha256};

use super::MAX_MESSAGE_BYTES;
use super::fields::Fields;
use super::pb::ErrorReason;
use domain::ProgramId;

/// The largest page.
const MAX_PAGE_SIZE: i32 = 1_000;
/// The default page size.
const DEFAULT_PAGE_SIZE: i32 = 50;
/// The size in bytes at which a page ends although it could have more rows. Clients accept 4 MiB by default, and
/// one more row can be large.
pub(super) const MAX_PAGE_BYTES: usize = MAX_MESSAGE_BYTES / 2;
/// The field of the page token.
const PAGE_TOKEN: &str = "page_token";

/// A requested page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    rpc: &'static str,
    size: usize,
}

impl Page {
    /// Reads the size of a page of an RPC's list; the default if it is 0.
    pub(super) fn read(fields: &mut Fields, rpc: &'static str, page_size: i32) -> Self {
        if !(0..=MAX_PAGE_SIZE).contains(&page_size) {
            let message = format!("must be 0 (for {DEFAULT_PAGE_SIZE}) to {MAX_PAGE_SIZE}");
            fields.fault("page_size", ErrorReason::InvalidPageSize, message);
        }
        let size = if page_size == 0 { DEFAULT_PAGE_SIZE } else { page_size };
        Self { rpc, size: usize::try_from(size).unwrap_or_default() }
    }

    /// The maximum number of rows of the page.
    pub(super) fn size(self) -> usize {
        self.size
    }

    /// How many rows to query: one more than the page has shows whether there is a next page.
    pub(super) fn rows(self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Cuts the rows that were found to the size of the page. Returns the token of the next page, which
    /// begins after the last row that is kept; empty if there is none.
    pub(super) fn cut<R, K: Display>(self, rows: &mut Vec<R>, key: impl Fn(&R) -> K) -> String {
        let is_last = rows.len() <= self.size;
        rows.truncate(self.size);
        match rows.last() {
            Some(last) if !is_last => self.token_after(key(last)),
            _ => String::new(),
        }
    }

    /// Ends a page of messages before it becomes too large for a client, but not before its first message.
    /// `wanted` is how many messages the page would have. Returns the token of the next page: the given one,
    /// unless the page ends earlier. `key` is the key of the message at an index.
    pub(super) fn fit<M: Message, K: Display>(
        self,
        messages: &mut Vec<M>,
        wanted: usize,
        next_page_token: String,
        key: impl Fn(usize) -> K,
    ) -> String {
        let mut bytes = 0;
        let fits = |message: &&M| {
            bytes += message.encoded_len();
            bytes <= MAX_PAGE_BYTES
        };
        let fitting = messages.iter().take_while(fits).count().max(1);
        if fitting >= wanted {
            return next_page_token;
        }
        messages.truncate(fitting);
        self.token_after(key(fitting - 1))
    }

    /// The token of the page after the one that ends with `last`. It begins with a hash of the RPC, so that the
    /// token of one list is not accepted by another.
    pub(super) fn token_after(self, last: impl Display) -> String {
        let mut bytes = rpc_hash(self.rpc).to_vec();
        bytes.extend(last.to_string().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key after which the page of a token begins, read with `parse`; `first` for the first page.
    pub(super) fn start<K>(
        self,
        fields: &mut Fields,
        token: &str,
        first: K,
        parse: impl Fn(&str) -> Option<K>,
    ) -> Option<K> {
        if token.is_empty() {
            return Some(first);
        }
        let decoded = URL_SAFE_NO_PAD.decode(token).ok();
        let key = decoded
            .and_then(|bytes| {
                String::from_utf8(bytes.strip_prefix(&rpc_hash(self.rpc))?.into()).ok()
            })
            .and_then(|key| parse(&key));
        if key.is_none() {
            fields.bad_token(PAGE_TOKEN, ErrorReason::InvalidPageToken);
        }
        key
    }

    /// The position before which the page of a token begins; past the end of everything for the first page.
    pub(super) fn before(self, fields: &mut Fields, token: &str) -> Option<i64> {
        self.start(fields, token, i64::MAX, |key| key.parse().ok())
    }

    /// The program after which the page of a token begins; empty for the first page.
    pub(super) fn after_program(self, fields: &mut Fields, token: &str) -> Option<String> {
        self.start(fields, token, String::new(), |key| {
            ProgramId::parse(key).ok().map(|program_id| program_id.to_string())
        })
    }
}

fn rpc_hash(rpc: &str) -> [u8; 3] {
    let digest = Sha256::digest(rpc);
    [digest[0], digest[1], digest[2]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_successor_only_if_more_was_found_than_it_takes() {
        let mut fields = Fields::default();
        let page = Page::read(&mut fields, "ListUsers", 2);
        assert_eq!(page.rows(), 3);
        let (mut full, mut more) = (vec![9, 8], vec![9, 8, 7]);
        assert_eq!(page.cut(&mut full, |row| *row), "");
        let token = page.cut(&mut more, |row| *row);
        assert_eq!(more, [9, 8]);
        assert_eq!(page.before(&mut fields, &token), Some(8));
        assert_eq!(page.before(&mut fields, ""), Some(i64::MAX));
        assert!(fields.finish(Some(())).is_ok());
    }

    #[test]
    fn the_token_of_one_list_is_none_of_another() {
        let mut fields = Fields::default();
        let page = Page::read(&mut fields, "ListUsers", 0);
        let other = Page::read(&mut fields, "ListPurchases", 0);
        assert_eq!(other.before(&mut fields, &page.token_after(8)), None);
        assert!(fields.finish(Some(())).is_err());
    }
}
