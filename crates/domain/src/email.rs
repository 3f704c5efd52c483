//! E-mail addresses: which of them are one and the same.

use unicode_normalization::UnicodeNormalization;

/// An address as it is stored: without blanks around it, its letters composed (NFC). Systems that decompose
/// letters, such as macOS in file names, write the same address in other bytes.
#[must_use]
pub fn tidy(text: &str) -> String {
    text.trim().nfc().collect()
}

/// The form in which addresses are compared: composed, in lower case, the domain in its Unicode form. `None` if
/// the text has no domain that could exist.
#[must_use]
pub fn comparable(address: &str) -> Option<String> {
    let address = tidy(address);
    let (local_part, domain) = address.rsplit_once('@')?;
    let (domain, valid) = idna::domain_to_unicode(domain);
    valid.ok()?;
    // Writing in lower case can decompose a letter again.
    Some(format!("{local_part}@{domain}").to_lowercase().nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_one_form_however_it_is_written() {
        let forms =
            |texts: &[&str]| -> Vec<_> { texts.iter().map(|text| comparable(text)).collect() };
        let composed = "ada@bücher.example";
        for text in [
            "ada@bücher.example ",
            "\tADA@BÜCHER.EXAMPLE",
            "ada@bu\u{308}cher.example",
            "ada@xn--bcher-kva.example",
            "ADA@XN--BCHER-KVA.example",
        ] {
            assert_eq!(comparable(text).as_deref(), Some(composed), "{text}");
        }
        assert_eq!(comparable("Jose\u{301}@example.com").as_deref(), Some("josé@example.com"));
        assert_eq!(tidy(" Jose\u{301}@Example.com\n"), "José@Example.com");
        assert_eq!(forms(&["ada", "ada@xn--a", "ada@a\u{200B}b..example"])[..2], [None, None]);
    }

    #[test]
    fn addresses_of_different_people_stay_different() {
        let different = [
            "ada@example.com",
            "ada@example.org",
            "a.da@example.com",
            "ada@bücher.example",
            "ada@bucher.example",
        ];
        let forms: std::collections::BTreeSet<_> =
            different.iter().map(|text| comparable(text)).collect();
        assert_eq!(forms.len(), different.len());
    }
}
