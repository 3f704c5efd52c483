//! Properties of any two addresses.

use proptest::prelude::*;

use crate::fraud::Address;
use crate::similarity::Similarity;

/// Addresses with few different characters, so that two of them are often one mailbox or look alike.
fn any_address() -> impl Strategy<Value = Address> {
    let local_part = "[a-cA-C01lImrnvwéаоС.+_\u{308}\"-]{1,8}";
    let domain = prop_oneof![
        Just("gmail.com"),
        Just("googlemail.com"),
        Just("pm.me"),
        Just("proton.me"),
        Just("ya.ru"),
        Just("yandex.com"),
        Just("yahoo.com"),
        Just("me.com"),
        Just("fastmail.com"),
        Just("a+b.fastmail.com"),
        Just("mail.fastmail.fm"),
        Just("example.com"),
        Just("bücher.example"),
        Just("xn--bcher-kva.example"),
        Just("аррlе.example"),
    ];
    (local_part, domain).prop_filter_map("no address", |(local_part, domain)| {
        Address::parse(&format!("{local_part}@{domain}"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_key_of_a_key_is_the_key(address in any_address()) {
        let key = address.mailbox_key();
        prop_assert_eq!(Address::parse(&key).unwrap().mailbox_key(), key.clone());
        let look = address.look_alike_key();
        prop_assert_eq!(super::super::look_alikes::fold(&look), look.clone());
        prop_assert_eq!(super::super::look_alikes::fold(&key), look);
    }

    #[test]
    fn a_form_of_an_address_is_read_as_the_same_address(address in any_address()) {
        prop_assert_eq!(Address::parse(address.as_str()).unwrap(), address);
    }

    #[test]
    fn whoever_has_the_same_mailbox_looks_the_same(one in any_address(), other in any_address()) {
        if one.mailbox_key() == other.mailbox_key() {
            prop_assert_eq!(one.look_alike_key(), other.look_alike_key());
        }
    }

    #[test]
    fn a_tag_is_the_same_mailbox(
        name in "[a-z][a-z.]{0,8}[a-z]",
        tag in "[a-z0-9.+-]{0,8}",
        domain in prop_oneof![Just("gmail.com"), Just("example.com"), Just("yahoo.com")],
    ) {
        let plain = super::address(&format!("{name}@{domain}"));
        let tagged = super::address(&format!("{name}+{tag}@{domain}"));
        prop_assert_eq!(plain.mailbox_key(), tagged.mailbox_key());
    }

    #[test]
    fn a_comparison_has_no_direction(
        one in any_address(),
        other in any_address(),
        whole in 0..=10_000_u32,
        local_part in 0..=10_000_u32,
    ) {
        let score = |one: &Address, other: &Address| {
            one.similarity(other.as_str(), whole, local_part).map(Similarity::ten_thousandths)
        };
        prop_assert_eq!(score(&one, &other), score(&other, &one));
        prop_assert_eq!(one.similarity(one.as_str(), 10_000, 10_000).map(Similarity::ten_thousandths), Some(10_000));
    }
}
