//! Domains of providers of disposable addresses.

use std::collections::HashSet;

/// A set of domains, from a list that is kept elsewhere. Empty, it contains nothing.
#[derive(Clone, Debug, Default)]
pub struct DisposableDomains(HashSet<Box<str>>);

impl DisposableDomains {
    /// The domains of a list: one in each line, in any letter case, in its Unicode or its ASCII form. Empty lines and
    /// lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// The number of the first line, from 1, that is no domain.
    pub fn parse(list: &str) -> Result<Self, usize> {
        let mut domains = HashSet::new();
        for (index, line) in list.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            domains.insert(domain(line).ok_or(index + 1)?);
        }
        Ok(Self(domains))
    }

    /// The number of domains.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no domain.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the domain of an address, or a domain that it belongs to, is in the set.
    #[must_use]
    pub fn contains(&self, domain: &str) -> bool {
        let mut rest = Some(domain);
        while let Some(domain) = rest {
            if self.0.contains(domain) {
                return true;
            }
            rest = domain.split_once('.').map(|(_, parent)| parent);
        }
        false
    }
}

impl<'a> FromIterator<&'a str> for DisposableDomains {
    /// A text that is no domain is left out: it could match no address.
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        Self(texts.into_iter().filter_map(domain).collect())
    }
}

/// A domain in the form in which addresses are compared; `None` for a text that is none.
fn domain(text: &str) -> Option<Box<str>> {
    let text = text.trim().trim_end_matches('.');
    let has_other =
        |text: &str| text.contains(|character: char| character == '@' || character.is_whitespace());
    // A subdomain is matched anyway, so that a pattern such as `*.example.com` would only look as if it did something.
    let is_usual = |text: &str| {
        text.chars().all(|of| !of.is_ascii() || of.is_ascii_alphanumeric() || "-._".contains(of))
    };
    if !text.contains('.') || text.starts_with('.') || !is_usual(text) || has_other(text) {
        return None;
    }
    let (domain, valid) = idna::domain_to_unicode(text);
    valid.ok()?;
    Some(domain.into())
}
