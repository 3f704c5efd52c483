//! The names of sample people, and the chance by which they meet: the same each time, so that filling twice repeats
//! nothing.

const FIRST: [&str; 24] = [
    "Asha", "Ravi", "Meera", "Karthik", "Sana", "Dev", "Lena", "Jonas", "Amina", "Tomas", "Ines",
    "Marek", "Yuki", "Chen", "Olga", "Pedro", "Fatima", "Noah", "Emma", "Liam", "Zofia", "Kofi",
    "Nora", "Mateo",
];
const LAST: [&str; 20] = [
    "Rao",
    "Menon",
    "Iyer",
    "Khan",
    "Shah",
    "Weber",
    "Novak",
    "Silva",
    "Okafor",
    "Tanaka",
    "Larsen",
    "Rossi",
    "Petrova",
    "Garcia",
    "Dubois",
    "Nagy",
    "Haddad",
    "Mensah",
    "Lindqvist",
    "Moreau",
];

/// Somebody.
pub(super) struct Somebody {
    pub(super) user_id: String,
    pub(super) name: String,
    pub(super) email: String,
}

/// The person of a number.
pub(super) fn somebody(number: usize) -> Somebody {
    let first = FIRST[number % FIRST.len()];
    // Each round through the first names goes on with other last names.
    let last = LAST[(number + number / FIRST.len() * 7) % LAST.len()];
    let (given, family) = (first.to_lowercase(), last.to_lowercase());
    let user_id = match number {
        0 => given.clone(),
        _ => format!("{given}.{family}{number}"),
    };
    // Addresses that are not alike: those that are would be held for a check.
    let email = match number % 3 {
        0 => format!("{given}{number}@{family}.example.com"),
        1 => format!("{number}.{family}@{given}.example.org"),
        _ => format!("{family}-{number}-{given}@example.net"),
    };
    Somebody { user_id, name: format!("{first} {last}"), email }
}

/// Numbers that look like chance (`SplitMix64`).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % limit).unwrap_or_default()
    }

    /// Whether something happens that happens in so many of a hundred cases.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_of_them_have_one_id_or_address() {
        let people: Vec<Somebody> = (0..200).map(somebody).collect();
        let ids: HashSet<&str> = people.iter().map(|of| &*of.user_id).collect();
        let emails: HashSet<&str> = people.iter().map(|of| &*of.email).collect();
        assert_eq!((ids.len(), emails.len()), (200, 200));
    }
}
