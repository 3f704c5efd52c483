//! What providers of mail have published about addresses that lead to one mailbox.
//!
//! The list is short on purpose: an entry is here only if the provider itself says so. An unknown provider gets the
//! general rule: a plus tag is cut, everything else counts. `docs/fraud.md` shows the list with its sources.

/// How the addresses of a provider are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dialect<'a> {
    /// The domain under which its mailboxes are known here.
    pub domain: &'a str,
    /// The characters that do not count in a local part.
    pub ignored: &'static str,
    /// A character that counts as another one.
    pub same: Option<(char, char)>,
    /// What ends the base name of disposable addresses, which only their owner can make.
    pub base_ends_with: Option<char>,
}

/// A provider with the domains that it has.
struct Provider {
    /// Its domains. Under `one_mailbox`, the first one is the one under which mailboxes are known here.
    domains: &'static [&'static str],
    /// Whether the same name is the same mailbox under all of them.
    one_mailbox: bool,
    ignored: &'static str,
    same: Option<(char, char)>,
    base_ends_with: Option<char>,
}

const PLAIN: Provider =
    Provider { domains: &[], one_mailbox: true, ignored: "", same: None, base_ends_with: None };

const PROVIDERS: &[Provider] = &[
    // "Dots don't matter in Gmail addresses"; googlemail.com is the same service under its older name.
    Provider { domains: &["gmail.com", "googlemail.com"], ignored: ".", ..PLAIN },
    // "." "_" and "-" are "treated as transparent"; whoever has a name has it under every domain of Proton's.
    Provider {
        domains: &["proton.me", "protonmail.com", "protonmail.ch", "pm.me"],
        ignored: "._-",
        ..PLAIN
    },
    // A point and a hyphen are not distinguished; every mailbox has aliases in all domains.
    Provider {
        domains: &["yandex.ru", "yandex.com", "yandex.by", "yandex.kz", "yandex.ua", "ya.ru"],
        same: Some(('.', '-')),
        ..PLAIN
    },
    // Owners of the older domains have the same name at icloud.com.
    Provider { domains: &["icloud.com", "me.com", "mac.com"], ..PLAIN },
    // A disposable address is a base name, a hyphen and a keyword; names of accounts have no hyphen. The base
    // differs from the name of the account, so only disposable addresses of one base are known to be one person's.
    Provider {
        domains: &[
            "yahoo.com",
            "yahoo.ca",
            "yahoo.co.in",
            "yahoo.co.uk",
            "yahoo.com.au",
            "yahoo.com.br",
            "yahoo.de",
            "yahoo.es",
            "yahoo.fr",
            "yahoo.in",
            "yahoo.it",
            "myyahoo.com",
            "rocketmail.com",
            "ymail.com",
        ],
        one_mailbox: false,
        base_ends_with: Some('-'),
        ..PLAIN
    },
];

/// Providers where `anything@user.DOMAIN` leads to `user@DOMAIN`.
const USERS_IN_DOMAINS: &[&str] = &["fastmail.com", "fastmail.fm"];

/// How the addresses of a domain are read.
pub(super) fn dialect(domain: &str) -> Dialect<'_> {
    let is_of = |provider: &&Provider| provider.domains.contains(&domain);
    let Some(provider) = PROVIDERS.iter().find(is_of) else {
        return Dialect { domain, ..Dialect::default() };
    };
    let first = provider.domains.first().filter(|_| provider.one_mailbox);
    Dialect {
        domain: first.copied().unwrap_or(domain),
        ignored: provider.ignored,
        same: provider.same,
        base_ends_with: provider.base_ends_with,
    }
}

/// The user, and the provider's domain, of a domain that belongs to one user of a provider.
pub(super) fn user_in_domain(domain: &str) -> Option<(&str, &'static str)> {
    USERS_IN_DOMAINS.iter().find_map(|provider| {
        let user = domain.strip_suffix(provider)?.strip_suffix('.')?;
        (!user.is_empty() && !user.contains('.')).then_some((user, *provider))
    })
}
