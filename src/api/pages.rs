//! Pages of lists.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use sha2::{Digest, Sha256};

use super::MAX_MESSAGE_BYTES;
use super::fields::Fields;
use super::guard::Call;
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

/// A request for a page of a list. Implemented for every request with a `page_token`, by `build/services.rs`.
pub(super) trait Paged: Message + Sized {
    /// The size of the page; 0 for the default.
    fn page_size(&self) -> i32;

    /// What the list is of: the request without the fields that may differ from page to page. A page token is
    /// good for the same list only.
    fn list(&self) -> Self;
}

/// Identifies a list: a hash of the RPC and of everything that selects and orders the rows, such as filters and
/// the subject.
type ListHash = [u8; 8];

/// A requested page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    list: ListHash,
    size: usize,
}

impl Page {
    /// Reads which page a call asks for.
    pub(super) fn read<M: Paged>(fields: &mut Fields, call: &Call<M>) -> Self {
        Self::of(fields, call.rpc(), &call.message)
    }

    pub(super) fn of<M: Paged>(fields: &mut Fields, rpc: &str, request: &M) -> Self {
        let page_size = request.page_size();
        if !(0..=MAX_PAGE_SIZE).contains(&page_size) {
            let message = format!("must be 0 (for {DEFAULT_PAGE_SIZE}) to {MAX_PAGE_SIZE}");
            fields.fault("page_size", ErrorReason::InvalidPageSize, message);
        }
        let size = if page_size == 0 { DEFAULT_PAGE_SIZE } else { page_size };
        let list = list_hash(rpc, request);
        Self { list, size: usize::try_from(size).unwrap_or_default() }
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

    /// The messages of a page, made of the rows that were found, and the token of the next page; empty if there is
    /// none. `key` is the key of a row in the order of the list.
    pub(super) fn answer<R, K: Display, M: Message>(
        self,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> K,
        message: impl FnMut(R) -> M,
    ) -> (Vec<M>, String) {
        let next_page_token = self.cut(&mut rows, &key);
        let keys: Vec<K> = rows.iter().map(key).collect();
        let mut messages: Vec<M> = rows.into_iter().map(message).collect();
        let next_page_token =
            self.fit(&mut messages, keys.len(), next_page_token, |index| &keys[index]);
        (messages, next_page_token)
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

    /// The token of the page after the one that ends with `last`. It begins with the hash of the list, so that the
    /// token of one list is not accepted by another.
    pub(super) fn token_after(self, last: impl Display) -> String {
        let mut bytes = self.list.to_vec();
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
            .and_then(|bytes| String::from_utf8(bytes.strip_prefix(&self.list)?.into()).ok())
            .and_then(|key| parse(&key));
        if key.is_none() {
            let message = "is not a token that this list gave; a token is good for the same RPC with the \
                           same filters only";
            fields.fault(PAGE_TOKEN, ErrorReason::InvalidPageToken, message);
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

fn list_hash(rpc: &str, request: &impl Paged) -> ListHash {
    // The contract has no maps, so the encoding is deterministic.
    let list = request.list().encode_to_vec();
    let digest = Sha256::new().chain_update(rpc).chain_update([0]).chain_update(list).finalize();
    let mut hash = ListHash::default();
    for (byte, of_digest) in hash.iter_mut().zip(digest) {
        *byte = of_digest;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pb;

    fn page(request: &pb::ListPurchasesRequest) -> Page {
        Page::of(&mut Fields::default(), "ListPurchases", request)
    }

    #[test]
    fn a_page_has_a_successor_only_if_more_was_found_than_it_takes() {
        let mut fields = Fields::default();
        let page = page(&pb::ListPurchasesRequest { page_size: 2, ..Default::default() });
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
        let of = |buyer: &str| pb::ListPurchasesRequest {
            buyer_user_id: buyer.into(),
            ..Default::default()
        };
        let token = page(&of("ada")).token_after(8);
        // The size of the page, the token itself and the consistency token may differ.
        let same = pb::ListPurchasesRequest {
            page_size: 7,
            page_token: token.clone(),
            consistency_token: "new".into(),
            ..of("ada")
        };
        let mut fields = Fields::default();
        assert_eq!(page(&same).before(&mut fields, &token), Some(8));
        for other in [of("bob"), of("")] {
            assert_eq!(page(&other).before(&mut fields, &token), None);
        }
        let users = Page::of(&mut fields, "ListUsers", &pb::ListUsersRequest::default());
        assert_eq!(users.before(&mut fields, &token), None);
        assert!(fields.finish(Some(())).is_err());
    }

    #[test]
    fn a_page_that_becomes_too_large_ends_earlier_but_never_before_its_first_row() {
        let page = page(&pb::ListPurchasesRequest::default());
        let job = |bytes| pb::Job { payload_json: "x".repeat(bytes), ..Default::default() };
        let mut small = vec![job(10), job(10)];
        assert_eq!(page.fit(&mut small, 2, "next".into(), |index| index), "next");
        assert_eq!(small.len(), 2);
        let third = MAX_PAGE_BYTES / 3;
        let mut large = vec![job(third), job(third), job(third), job(third)];
        let token = page.fit(&mut large, 4, String::new(), |index| index);
        assert_eq!(large.len(), 2);
        assert_eq!(page.before(&mut Fields::default(), &token), Some(1));
        let mut huge = vec![job(3 * third + 3), job(1)];
        let token = page.fit(&mut huge, 2, String::new(), |index| index);
        assert_eq!((huge.len(), page.before(&mut Fields::default(), &token)), (1, Some(0)));
        assert_eq!(page.fit(&mut Vec::<pb::Job>::new(), 0, String::new(), |index| index), "");
    }
}
