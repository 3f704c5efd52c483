#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;

/// Pairs of texts, and the characters in blocks by difflib of Python 3.11, as the sum of the sizes of
/// `SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()`: in this order and in the reverse
/// order.
#[rustfmt::skip]
const BY_DIFFLIB: &[(&str, &str, usize, usize)] = &[
    ("john@gmail.com", "j0hn@gmail.com", 13, 13),
    ("user1@example.com", "user2@example.com", 16, 16),
    ("john.smith@example.com", "smith.john@example.com", 17, 17),
    ("tide", "diet", 1, 2),
    ("", "a", 0, 0),
    ("a", "b", 0, 0),
    ("modern.art@example.com", "modem.art@example.com", 20, 20),
    ("jörg@exämple.de", "jorg@example.de", 13, 13),
    ("babaabb", "aabbb", 4, 4),
    ("aabbbbabbaaaaaaa", "bbbbaaaba", 7, 8),
    ("aaabbabbab", "aabaabbaaaabaaaa", 8, 8),
    ("abbbaaabbaaa", "bbaba", 5, 5),
    ("aaa", "aababbab", 3, 3),
    ("aaaaab", "baabbaa", 3, 3),
    ("bbababbaa", "bab", 3, 3),
    ("bbbaabaaabaabb", "aaaaba", 6, 6),
    ("bbaabbbbababba", "bbbbaabaa", 7, 8),
    ("aabaabaabbaaab", "abbbbabbbabababba", 9, 9),
    ("baabba", "baaabaaabbab", 6, 6),
    ("abbaa", "abaabbbaabba", 4, 5),
    ("bbaaaabaabbbabaaa", "abbbabaabbaa", 9, 9),
    ("babaaaaabbaab", "baaaabbaabaaabbba", 10, 10),
    ("abaababb", "bbabaaaaaab", 6, 6),
    ("aaabbabbbbabaaaa", "aaaabaaaabbbba", 10, 9),
    ("aaabaaabaabaa", "baaaaaabbbab", 6, 8),
    ("bab", "bbbaaaaabbbb", 3, 3),
    ("abaababaaab", "bbabaa", 6, 6),
    ("aababb", "aaabb", 4, 4),
    ("baabaaaaaaabaabbb", "babababaaaabaaaaa", 9, 9),
    ("bbbaab", "bbbabbbaaa", 5, 5),
    ("bbbabbaaa", "aabbaabaaaaaaababa", 6, 6),
    ("bbaababaabb", "bbaabbabaaaaaaaa", 9, 9),
    ("acbadbbda", "cebacdaddddeabeee", 5, 5),
    ("caeabaeacb", "dcabbccdecacabedeebcabde", 7, 7),
    ("baddde", "dbbaebddeeeeeaedbad", 3, 5),
    ("aaecbbaabbaab", "ddeecbdbbab", 7, 7),
    ("ecddca", "cdaadbaedebbc", 4, 3),
    ("debbcaeebccecaebddaeaa", "deeecebdaedcebedadaeaeeb", 8, 12),
    ("dbcbeecccebdcccb", "caacdbcdbe", 5, 5),
    ("cecbeccdeabcacbdacdb", "aaaeccbaebcacac", 10, 10),
    ("daabaebbadcababa", "ccbeac", 2, 3),
    ("eedabaabaddaadcdbebacc", "cdd", 2, 2),
    ("eecebaabcab", "dccbacacace", 2, 5),
    ("edcdaacd", "abdccacdbd", 5, 5),
    ("ccdacedbceaddede", "dddccceaaecaadecbedbb", 7, 8),
    ("eaadccc", "cbbbedcebeadddbdaeacdee", 4, 4),
    ("aadbadcccbaeea", "caadcbaeb", 7, 7),
    ("dddaacddeaecbcbdacccdcd", "decacaaddeecbecdccdd", 6, 13),
    ("ebaadaeceaeebae", "badaabcebe", 7, 8),
    ("aecdcadad", "bdcebacceccdecdbddd", 6, 6),
    ("aaabeacdecaa", "dbdacbcca", 5, 5),
    ("bcebebeddeedddabdaabbbed", "bbeebbdaebcabacdbcbdbae", 11, 4),
    ("ced", "bdadcaaeaceeea", 2, 2),
    ("bbcaabbbecdb", "dcdbbcaaeecaaaddcaa", 8, 8),
    ("edecdebbbbbddcddada", "daaeeabbbdcadabedcbcacb", 10, 11),
    ("cbadcdde", "bedcedcacebcbd", 3, 4),
    ("bijjj.j@gmail.com", "bijjef.j@gma1il.com", 16, 16),
    ("jc.egi@example.org", "j.egi@example.o0rg", 17, 17),
    ("jfdd.g.dji@gmail.com", "dgfdd.g.dji@gmail.com", 19, 19),
    (".eicegbhcgh@example.org", ".eicegbhbecgh@example.org", 23, 23),
    ("haiidecba@gmail.com", "ehaiihhdecba@gmail.cod", 18, 18),
    ("adaijaeada@example.org", "adaijaeada@example.org", 22, 22),
    ("jchidi@example.org", "jchiidi@example.org", 18, 18),
    ("ddajigbh@example.org", "ddagjighh@example.or0a", 18, 18),
    ("f.ejdgfgda@example.org", "fb.ejdgfgda@example.org", 22, 22),
    ("jbjhafhehf@example.org", "jbjhafhehehf@examplebe.org", 22, 22),
    (".hhihec@gmail.com", ".hefihec@gdma0ail.com", 16, 16),
    ("jcd.cghgebe.@gmail.com", "jcehd.chgebe.@gmail.com", 21, 21),
    ("abaaaaabbbabbbaaabbabbbaaaabababbaaababbaaaaabaabaaaababaaabaababbaaaaabaabbaaababbbabaaababbaabbbbaaaaabbaabbbbaabbaaaa@bababaababbbababbabaababbbabbabbbabbabbaabbaaaababaabababbbbbabbababbbababaaababaaababaaaaaaababababababbaabba", "abaaaaabbbabbbaaabbabbbaaaabababbaaababbaaaaabaabaaaababaaababaabbaaababbbabaaababbaabbbbaaaaabbaabbbbaabbaaaa@bababaababbbababbabaababbbabbabbbabbabbaabbaaaababaabababbbbbabbababbbababaaababaaababaaaaaaababababababbaabba", 221, 221),
];

#[test]
fn blocks_are_those_of_difflib_in_either_order() {
    for (one, other, forth, back) in BY_DIFFLIB {
        assert_eq!(Pair::new(one, other).shared_in_order(), *forth, "{one:?} and {other:?}");
        assert_eq!(Pair::new(other, one).shared_in_order(), *back, "{other:?} and {one:?}");
        let similarity = Similarity::of(one, other);
        assert_eq!(similarity, Similarity::of(other, one));
        assert_eq!(similarity.shared as usize, 2 * forth.max(back));
    }
    let order_matters = BY_DIFFLIB.iter().filter(|(_, _, forth, back)| forth != back).count();
    assert!(order_matters > 10, "only {order_matters} pairs tell the orders apart");
}

/// Thousands of pairs from `difflib.py`, which makes the file again.
#[test]
fn thousands_of_pairs_are_as_alike_as_difflib_says() {
    let mut pairs = 0;
    let mut order_matters = 0;
    for line in include_str!("difflib.tsv").lines() {
        let [one, other, forth, back] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let (forth, back): (u32, u32) = (forth.parse().unwrap(), back.parse().unwrap());
        let characters = |text: &str| u32::try_from(text.chars().count()).unwrap();
        let similarity = Similarity::of(one, other);
        match characters(one) + characters(other) {
            0 => assert_eq!(similarity.ten_thousandths(), ONE),
            length => {
                let expected = Similarity { shared: 2 * forth.max(back), length };
                assert_eq!(similarity.shared, expected.shared, "{line}");
                assert_eq!(similarity.length, expected.length, "{line}");
            }
        }
        assert_eq!(similarity, Similarity::of(other, one), "{line}");
        let least = similarity.ten_thousandths();
        let at_least = Similarity::at_least(least, one, other);
        assert_eq!(at_least, Some(similarity).filter(|it| it.reaches(least)), "{line}");
        pairs += 1;
        order_matters += u32::from(forth != back);
    }
    assert!(pairs > 3_000 && order_matters > 500, "{pairs} pairs, {order_matters} with two ratios");
}

#[test]
fn what_is_at_least_so_alike_is_found_with_and_without_shortcuts() {
    for (one, other, ..) in BY_DIFFLIB {
        let similarity = Similarity::of(one, other);
        for least in (0..=ONE).step_by(500).chain([8_501, 8_572, 9_286]) {
            let found = Similarity::at_least(least, one, other);
            assert_eq!(found, Some(similarity).filter(|it| it.reaches(least)), "{one} {other}");
        }
    }
}

#[test]
fn a_zero_for_an_o_is_9286_of_10000() {
    let similarity = Similarity::of("john@gmail.com", "j0hn@gmail.com");
    assert_eq!(similarity.ten_thousandths(), 9_286);
    assert!(similarity.reaches(8_500));
    // Exactly 26 / 28, a little less than its rounded value.
    assert!(similarity.reaches(9_285) && !similarity.reaches(9_286));
}

#[test]
fn a_threshold_is_inclusive() {
    // 34 of 40 characters.
    let similarity = Similarity::of("abcdefghijklmnopqrst", "abcdefghijklmnopq123");
    assert_eq!(similarity.ten_thousandths(), 8_500);
    assert!(similarity.reaches(8_500) && !similarity.reaches(8_501));
}

#[test]
fn the_ends_of_the_scale() {
    for (one, other, expected) in
        [("", "", ONE), ("a", "", 0), ("a", "b", 0), ("a", "A", 0), ("a@b.c", "a@b.c", ONE)]
    {
        assert_eq!(Similarity::of(one, other).ten_thousandths(), expected, "{one:?} {other:?}");
    }
}

#[test]
fn a_long_address_of_few_letters_is_compared_as_well() {
    // Difflib would leave out characters that are frequent in a text of 200 and more.
    let address = format!("{}@{}.example", "ab".repeat(100), "ba".repeat(20));
    assert_eq!(Similarity::of(&address, &address).ten_thousandths(), ONE);
    assert!(Similarity::of(&address, &address[1..]).reaches(9_900));
}

#[test]
fn the_larger_is_more_alike() {
    let near = Similarity::of("john@gmail.com", "j0hn@gmail.com");
    let far = Similarity::of("john@gmail.com", "mary@gmail.com");
    assert!(near > far);
    assert_eq!([far, near].into_iter().max(), Some(near));
}

#[test]
fn shared_blocks_are_those_that_the_similarity_counts() {
    assert_eq!(shared_blocks("john", "j0hn"), ["j", "hn"]);
    assert_eq!(shared_blocks("anna.mueller", "hanna.mueller"), ["anna.mueller"]);
    assert!(shared_blocks("ann", "").is_empty());
    for (one, other) in [("farm7", "farm8"), ("abcdefg", "gfedcba"), ("tide", "diet")] {
        let length: usize = shared_blocks(one, other).iter().map(String::len).sum();
        let shared = Pair::new(one, other).shared(0).unwrap_or_default();
        assert_eq!(length, shared, "{one} {other}");
    }
}
