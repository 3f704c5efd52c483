//! What callers who are no admins see of addresses: enough to compare two of them, not enough to write to anybody.
//!
//! The domain is shown. Of what is before the `@`, each hidden character is one asterisk. Of two addresses that are
//! largely the same, what they share is hidden and what differs is shown: that is what a reviewer looks at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::fraud::Address;

/// An address, with the first and the last character of what is before the `@`.
pub(super) fn masked(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local_part, domain)) => format!("{}@{domain}", but_ends(local_part)),
        None => but_ends(address),
    }
}

/// An address beside one that it was compared with: what they share before the `@` is hidden, and what differs is
/// shown. Two that share less than half are masked apart, because showing what differs would hide nothing.
pub(super) fn masked_beside(address: &str, other: &str) -> String {
    let pair = Address::of_comparable(address).zip(Address::of_comparable(other));
    let Some((one, other)) = pair else { return masked(address) };
    let blocks = one.shared_parts(&other);
    let shared: usize = blocks.iter().map(|block| block.chars().count()).sum();
    if 2 * shared < one.local_part().chars().count() {
        return masked(address);
    }
    format!("{}@{}", but_differences(one.local_part(), &blocks), one.domain())
}

/// A text as asterisks, but for its first and its last character. Of two characters, the last would leave nothing out.
fn but_ends(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let shown = |index| last > 0 && (index == 0 || (index == last && last > 1));
    let masked = |(index, character)| if shown(index) { character } else { '*' };
    text.chars().enumerate().map(masked).collect()
}

/// A text in which blocks, which follow each other in it, are asterisks.
fn but_differences(text: &str, blocks: &[String]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    for block in blocks {
        let Some((before, after)) = rest.split_once(block.as_str()) else { continue };
        masked.push_str(before);
        masked.extend(block.chars().map(|_| '*'));
        rest = after;
    }
    masked + rest
}

/// The network that a client's address is in; empty for what is no address.
pub(super) fn network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V4(address)) => {
            let [one, two, three, _] = address.octets();
            format!("{}/24", Ipv4Addr::new(one, two, three, 0))
        }
        Ok(IpAddr::V6(address)) => {
            let [one, two, three, ..] = address.segments();
            format!("{}/48", Ipv6Addr::new(one, two, three, 0, 0, 0, 0, 0))
        }
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_before_the_at_is_masked_but_for_its_ends() {
        assert_eq!(masked("johann@mail.example.com"), "j****n@mail.example.com");
        assert_eq!(masked("ann@x.org"), "a*n@x.org");
        assert_eq!(masked("jo@x.org"), "j*@x.org");
        assert_eq!(masked("j@x.org"), "*@x.org");
        assert_eq!(masked("müller@bücher.example"), "m****r@bücher.example");
        assert_eq!(masked("no address"), "n********s");
    }

    #[test]
    fn of_two_addresses_that_are_largely_the_same_only_the_differences_are_shown() {
        for (one, other, masked_one, masked_other) in [
            ("john@gmail.com", "j0hn@gmail.com", "*o**@gmail.com", "*0**@gmail.com"),
            ("ada+1@mail.example", "ada@mail.example", "***+1@mail.example", "***@mail.example"),
            ("a.da@gmail.com", "ada@googlemail.com", "*.**@gmail.com", "***@googlemail.com"),
            ("farm7@x.example", "farm8@x.example", "****7@x.example", "****8@x.example"),
            // A Cyrillic letter.
            (
                "p\u{430}ypal@x.example",
                "paypal@x.example",
                "*\u{430}****@x.example",
                "*a****@x.example",
            ),
        ] {
            assert_eq!(masked_beside(one, other), masked_one);
            assert_eq!(masked_beside(other, one), masked_other);
        }
    }

    #[test]
    fn addresses_with_little_in_common_are_masked_apart() {
        assert_eq!(masked_beside("ann@x.example", "zoe@x.example"), "a*n@x.example");
        assert_eq!(masked_beside("annabel@x.example", "zoe.ann@x.example"), "a*****l@x.example");
        assert_eq!(masked_beside("ann@x.example", "no address"), "a*n@x.example");
    }

    #[test]
    fn never_is_more_than_half_of_an_address_shown() {
        let addresses =
            ["ada", "ad", "a", "adam.smith", "4d4", "ada.ada.ada", "xadax", "smith.adam"];
        for one in addresses {
            for other in addresses {
                let shown =
                    masked_beside(&format!("{one}@x.example"), &format!("{other}@x.example"));
                let shown = shown.split('@').next().unwrap_or_default();
                assert_eq!(shown.chars().count(), one.chars().count(), "{one} and {other}");
                let hidden = shown.chars().filter(|character| *character == '*').count();
                assert!(2 * hidden >= one.len() || one.len() <= 3, "{one} and {other}: {shown}");
                assert!(hidden > 0, "{one} and {other}: {shown}");
            }
        }
    }

    #[test]
    fn client_addresses_are_masked_to_their_networks() {
        assert_eq!(network("192.0.2.17"), "192.0.2.0/24");
        assert_eq!(network("2001:db8:1:2::9"), "2001:db8:1::/48");
        assert_eq!(network("nowhere"), "");
    }
}
