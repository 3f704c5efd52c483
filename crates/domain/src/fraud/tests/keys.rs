//! Which addresses are one mailbox, which look alike, and which domains are disposable.

use super::address;
use crate::fraud::{Address, DisposableDomains};

fn mailbox(text: &str) -> String {
    address(text).mailbox_key()
}

fn look(text: &str) -> String {
    address(text).look_alike_key()
}

#[test]
fn a_plus_tag_is_cut_at_every_provider() {
    for text in
        ["ada+shop@example.com", "ADA+a+b@Example.com", "ada+@example.com", "ada@example.com"]
    {
        assert_eq!(mailbox(text), "ada@example.com", "{text}");
    }
    assert_eq!(mailbox("+tag@example.com"), "+tag@example.com", "a tag of nobody");
}

#[test]
fn dots_are_dropped_where_the_provider_ignores_them_and_kept_elsewhere() {
    for text in [
        "johnsmith@gmail.com",
        "john.smith@gmail.com",
        "J.o.h.n.Smith+x@GoogleMail.com",
        "john.smith@googlemail.com",
    ] {
        assert_eq!(mailbox(text), "johnsmith@gmail.com", "{text}");
    }
    for text in [
        "john.smith@outlook.com",
        "john.smith@yahoo.com",
        "john.smith@icloud.com",
        "john.smith@fastmail.com",
        "john.smith@example.com",
        "john.smith@gmail.com.example",
    ] {
        assert_eq!(mailbox(text), text);
    }
    assert_eq!(mailbox("...@gmail.com"), "...@gmail.com", "a name of dots only is kept");
}

#[test]
fn spellings_of_one_mailbox_count_as_one_where_the_provider_says_so() {
    for (texts, key) in [
        (
            &["ada.love-lace@proton.me", "ada_lovelace@pm.me", "AdaLovelace+x@protonmail.com"][..],
            "adalovelace@proton.me",
        ),
        (
            &["ada.lovelace@ya.ru", "ada-lovelace@yandex.com", "ada.lovelace@yandex.kz"],
            "ada-lovelace@yandex.ru",
        ),
        (&["ada@mac.com", "ada@me.com", "ada+news@icloud.com"], "ada@icloud.com"),
        (
            &["shop@ada.fastmail.com", "news@ada.fastmail.com", "ada+x@fastmail.com"],
            "ada@fastmail.com",
        ),
        (&["base-shop@yahoo.com", "base-news-2@yahoo.com"], "base-@yahoo.com"),
    ] {
        for text in texts {
            assert_eq!(mailbox(text), key, "{text}");
        }
    }
}

#[test]
fn what_no_provider_has_published_stays_different() {
    for (one, other) in [
        ("ada-lovelace@example.com", "adalovelace@example.com"),
        ("ada_lovelace@gmail.com", "adalovelace@gmail.com"),
        ("ada@yahoo.com", "ada@yahoo.de"),
        // The base of disposable addresses is not the name of the account.
        ("ada@yahoo.com", "ada-shop@yahoo.com"),
        ("ada@fastmail.com", "ada@fastmail.fm"),
        ("a@b.ada.fastmail.com", "ada@fastmail.com"),
        ("ada@outlook.com", "ada@hotmail.com"),
    ] {
        assert_ne!(mailbox(one), mailbox(other), "{one} and {other}");
    }
}

#[test]
fn a_mailbox_has_one_key_in_any_script_form_and_quotes() {
    for text in [
        "jörg@bücher.example",
        "JO\u{308}RG+tag@xn--bcher-kva.example",
        "\"jörg\"@BÜCHER.example",
        "jo\u{308}rg@bu\u{308}cher.example",
    ] {
        assert_eq!(mailbox(text), "jörg@bücher.example", "{text}");
    }
    assert_eq!(mailbox("Иван+магазин@пример.example"), "иван@пример.example");
    assert_eq!(mailbox("太郎@例え.example"), "太郎@例え.example");
    // A dot between a letter and its mark is dropped, and the two are one letter.
    assert_eq!(mailbox("i.\u{308}da@gmail.com"), "ïda@gmail.com");
    // Quotes that the text needs are a part of it.
    assert_eq!(mailbox("\"a b\"@example.com"), "\"a b\"@example.com");
}

#[test]
fn characters_that_are_taken_for_each_other_are_folded() {
    for (one, other) in [
        ("john@gmail.com", "j0hn@gmail.com"),
        ("bill@example.com", "b1ll@example.com"),
        ("bill@example.com", "biil@example.com"),
        ("modern@example.com", "modem@example.com"),
        ("savvy@example.com", "sawy@example.com"),
        ("vwvv@example.com", "wvw@example.com"),
        ("jess@example.com", "je5s@example.com"),
        ("ada@example.com", "ada@examp1e.com"),
        // Tags and dots change neither key.
        ("john.x+1@gmail.com", "j0hnx+2@gmail.com"),
    ] {
        assert_eq!(look(one), look(other), "{one} and {other}");
        assert_ne!(mailbox(one), mailbox(other), "{one} and {other}");
    }
}

#[test]
fn homographs_of_other_scripts_look_alike() {
    for (one, other) in [
        // Cyrillic а, е, о, р, с, у, х.
        ("ada@example.com", "\u{430}d\u{430}@example.com"),
        ("pea@example.com", "\u{440}\u{435}\u{430}@example.com"),
        ("cox@example.com", "\u{441}\u{43e}\u{445}@example.com"),
        // Greek ο, full-width j, script letters.
        ("john@example.com", "j\u{3bf}hn@example.com"),
        ("john@example.com", "\u{ff4a}ohn@example.com"),
        ("john@example.com", "\u{1d4bf}ohn@example.com"),
        // A domain of Cyrillic letters, and its ASCII form.
        ("ada@apec.example", "ada@\u{430}\u{440}\u{435}\u{441}.example"),
        // A soft hyphen cannot be seen.
        ("john@example.com", "jo\u{ad}hn@example.com"),
    ] {
        assert_eq!(look(one), look(other), "{one} and {other}");
    }
}

#[test]
fn different_people_do_not_look_alike() {
    let people = [
        "ann@company.example",
        "dan@company.example",
        "anna@company.example",
        "jose@company.example",
        "josé@company.example",
        "jörg@company.example",
        "jorg@company.example",
        "a.lee@company.example",
        "b.lee@company.example",
        "alee@company.example",
        "user1@company.example",
        "user2@company.example",
        "иван@company.example",
        "ivan@company.example",
    ];
    let looks: std::collections::BTreeSet<_> = people.iter().map(|text| look(text)).collect();
    assert_eq!(looks.len(), people.len());
}

/// Folding goes round by round until nothing changes; here every character that the standard folds is shown to
/// need few rounds.
#[test]
fn folding_any_character_twice_is_folding_it_once() {
    for character in '\0'..='\u{2ffff}' {
        let once = super::super::look_alikes::fold(&character.to_string());
        assert_eq!(super::super::look_alikes::fold(&once), once, "{character:?}");
    }
}

#[test]
fn a_text_without_a_domain_is_no_address() {
    for text in ["", "ada", "ada@", "ada@xn--a"] {
        assert_eq!(
            Address::parse(text).filter(|address| !address.domain().is_empty()),
            None,
            "{text}"
        );
    }
    let ada = address(" Ada@Example.COM");
    assert_eq!(
        (ada.as_str(), ada.local_part(), ada.domain()),
        ("ada@example.com", "ada", "example.com")
    );
    assert_eq!(address("\"a@b\"@example.com").local_part(), "\"a@b\"");
}

#[test]
fn a_disposable_domain_is_found_with_all_that_is_under_it() {
    let list = "# Ours\n\nMailinator.example\nb\u{fc}cher.example\n  trash.example.com.\r\n";
    let domains = DisposableDomains::parse(list).unwrap();
    assert_eq!(domains.len(), 3);
    for text in [
        "ada@mailinator.example",
        "ada@MAIL.Mailinator.example",
        "ada@a.b.mailinator.example",
        "ada@xn--bcher-kva.example",
        "ada@trash.example.com",
    ] {
        assert!(domains.contains(address(text).domain()), "{text}");
    }
    for text in [
        "ada@notmailinator.example",
        "ada@example",
        "ada@example.com",
        "ada@mailinator.example.org",
    ] {
        assert!(!domains.contains(address(text).domain()), "{text}");
    }
    assert!(DisposableDomains::default().is_empty());
    assert!(!DisposableDomains::default().contains("mailinator.example"));
}

#[test]
fn a_list_of_domains_names_the_first_line_that_is_none() {
    for (list, line) in [
        ("a.example\nada@b.example", 2),
        ("com", 1),
        ("a.example\n\n two words.example", 3),
        ("xn--a.example", 1),
        ("a.example\n*.b.example", 2),
    ] {
        assert_eq!(DisposableDomains::parse(list).unwrap_err(), line, "{list}");
    }
    let domains: DisposableDomains = ["a.example", "com", "B.example"].into_iter().collect();
    assert_eq!(domains.len(), 2);
}
