//! An e-mail address in the forms in which fraud checks compare it.

use unicode_normalization::UnicodeNormalization;

use super::look_alikes;
use super::providers::{self, Dialect};
use crate::email;
use crate::similarity::{self, Similarity};

/// An e-mail address: composed (NFC), in lower case, the domain in its Unicode form. Characters are code points.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    text: String,
    /// Where the last `@` is, in bytes.
    at: usize,
}

impl Address {
    /// Reads an address; `None` if the text has no domain that could exist.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = email::comparable(text)?;
        let at = text.rfind('@')?;
        Some(Self { text, at })
    }

    /// An address that is in the form already in which addresses are compared.
    #[must_use]
    pub fn of_comparable(text: &str) -> Option<Self> {
        let at = text.rfind('@')?;
        Some(Self { text: text.into(), at })
    }

    /// The whole address, as it is compared.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is before the `@`.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }

    /// What is after the `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// The mailbox that the address leads to: two addresses with the same key are the same person's.
    ///
    /// A plus tag is cut everywhere. What else leads to the same mailbox depends on the provider and is decided by
    /// what that provider has published (`providers.rs`). The key has the form of an address, and the key of a
    /// key is the key itself.
    #[must_use]
    pub fn mailbox_key(&self) -> String {
        let (local_part, domain) = mailbox(self.local_part(), self.domain());
        // Letters that a dropped character kept apart are composed.
        format!("{local_part}@{domain}").nfc().collect()
    }

    /// What the mailbox looks like: its key with characters folded that people take for each other.
    #[must_use]
    pub fn look_alike_key(&self) -> String {
        look_alikes::fold(&self.mailbox_key())
    }

    /// What is before the `@` of both, in order: the blocks by which their similarity is counted.
    #[must_use]
    pub fn shared_parts(&self, other: &Self) -> Vec<String> {
        similarity::shared_blocks(self.local_part(), other.local_part())
    }

    /// How alike this address and another one are, if the whole addresses are at least `whole_bps` alike and the parts
    /// before the `@` at least `local_part_bps`, both in ten-thousandths. The other one is in the form in which
    /// addresses are compared, or it is similar to none.
    ///
    /// The parts before the `@` are compared too because a long domain makes all addresses under it alike: `ann@`
    /// and `dan@` of one company are.
    #[must_use]
    pub fn similarity(
        &self,
        other: &str,
        whole_bps: u32,
        local_part_bps: u32,
    ) -> Option<Similarity> {
        let (local_part, _) = other.rsplit_once('@')?;
        // The shorter texts first: they rule nearly all addresses out.
        Similarity::at_least(local_part_bps, self.local_part(), local_part)?;
        Similarity::at_least(whole_bps, &self.text, other)
    }
}

/// A mailbox, as fraud checks compare it. Finding out costs more than a decision should, so callers of decisions do it
/// beforehand where they can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// An address that leads to it.
    pub address: Address,
    /// [`Address::mailbox_key`].
    pub key: String,
    /// [`Address::look_alike_key`].
    pub look_alike: String,
}

impl Mailbox {
    /// The mailbox of an address.
    #[must_use]
    pub fn of(address: Address) -> Self {
        let (key, look_alike) = (address.mailbox_key(), address.look_alike_key());
        Self { address, key, look_alike }
    }

    /// The mailbox that the text of an address leads to; `None` if it is no address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Address::parse(text).map(Self::of)
    }
}

/// The mailbox of an address, as a local part and a domain.
fn mailbox<'a>(local_part: &'a str, domain: &'a str) -> (String, &'a str) {
    let local_part = unquoted(local_part);
    if local_part.contains('"') {
        // What is in quotes has no meaning that anybody has published.
        return (local_part.into(), domain);
    }
    if let Some((user, domain)) = providers::user_in_domain(domain) {
        return mailbox(user, domain);
    }
    let Dialect { domain, ignored, same, base_ends_with } = providers::dialect(domain);
    let mut kept = before_tag(local_part, '+');
    if let Some(separator) = base_ends_with {
        kept = through_separator(kept, separator);
    }
    let (from, to) = same.unzip();
    let folded: String = kept
        .chars()
        .filter(|character| !ignored.contains(*character))
        .map(|character| if Some(character) == from { to.unwrap_or(character) } else { character })
        .collect();
    // Somebody whose whole name is punctuation has no other name.
    if folded.is_empty() { (kept.into(), domain) } else { (folded, domain) }
}

/// What is before the tag; the whole if nothing is before it.
fn before_tag(local_part: &str, separator: char) -> &str {
    match local_part.split_once(separator) {
        Some((before, _)) if !before.is_empty() => before,
        _ => local_part,
    }
}

/// The base name of a disposable address with its separator: `base-` of `base-shop`.
fn through_separator(local_part: &str, separator: char) -> &str {
    match local_part.split_once(separator) {
        Some((before, _)) if !before.is_empty() => {
            &local_part[..before.len() + separator.len_utf8()]
        }
        _ => local_part,
    }
}

/// `"ada"@example.com` is `ada@example.com` (RFC 5321, section 4.1.2): quotes that nothing needs are left out.
fn unquoted(local_part: &str) -> &str {
    let inner = local_part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let needs_none = |inner: &&str| {
        let is_plain = |character: char| {
            character.is_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(character)
        };
        !inner.is_empty() && inner.chars().all(is_plain)
    };
    inner.filter(needs_none).unwrap_or(local_part)
}
