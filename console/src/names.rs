//! Names in place of ids: of the people, programs and items that a page is about, as far as its reader may see them.
//! What is not known is shown by its id.

use std::collections::HashMap;

use contract::pb::{Item, Program, User, UserStatus};
use maud::{Markup, html};

use crate::text::ERASED_USER;

/// The longest id that a table shows in full, in characters. Generated ones are longer.
const LONGEST: usize = 24;
/// How much of a longer one is shown: its beginning and its end.
const SHOWN: (usize, usize) = (8, 4);

/// The names that a page knows.
#[derive(Clone, Debug, Default)]
pub struct Names {
    people: HashMap<String, Person>,
    programs: HashMap<String, String>,
    items: HashMap<(String, String), String>,
}

/// The names of somebody. Each of them may be empty.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// The name that is shown.
    pub shown: String,
    /// The username.
    pub username: String,
    /// Whether the user was erased: then there are no names.
    pub is_erased: bool,
}

impl Names {
    /// Notes the names of a user.
    pub fn add_user(&mut self, user: User) {
        let is_erased = user.status() == UserStatus::Erased;
        let person = Person { shown: user.display_name, username: user.username, is_erased };
        self.people.insert(user.user_id, person);
    }

    /// Notes the name of a program.
    pub fn add_program(&mut self, program: &Program) {
        if !program.display_name.is_empty() {
            self.programs.insert(program.program_id.clone(), program.display_name.clone());
        }
    }

    /// Notes the name of an item of a program.
    pub fn add_item(&mut self, item: &Item) {
        let key = (item.program_id.clone(), item.item_id.clone());
        self.items.insert(key, item.name.clone());
    }

    /// The name of a user: the one that is shown, else the username; of one who was erased, that they were; `None` if
    /// nothing is known.
    #[must_use]
    pub fn user(&self, user_id: &str) -> Option<&str> {
        let person = self.people.get(user_id)?;
        if person.is_erased {
            return Some(ERASED_USER);
        }
        [&*person.shown, &*person.username].into_iter().find(|name| !name.is_empty())
    }

    /// The username of a user who has a name besides; `None` for others.
    #[must_use]
    pub fn username(&self, user_id: &str) -> Option<&str> {
        let person = self.people.get(user_id)?;
        let differs = !person.shown.is_empty() && person.shown != person.username;
        Some(&*person.username).filter(|username| differs && !username.is_empty())
    }

    /// Whether a user is known to be erased.
    #[must_use]
    pub fn is_erased(&self, user_id: &str) -> bool {
        self.people.get(user_id).is_some_and(|person| person.is_erased)
    }

    /// The name of a program, else its id.
    #[must_use]
    pub fn program<'a>(&'a self, program_id: &'a str) -> &'a str {
        self.programs.get(program_id).map_or(program_id, |name| name)
    }

    /// The name of an item; `None` if it is not known.
    #[must_use]
    pub fn item(&self, program_id: &str, item_id: &str) -> Option<&str> {
        self.items.get(&(program_id.to_owned(), item_id.to_owned())).map(|name| &**name)
    }
}

/// An id as a table shows it: a long one by its beginning and its end, with the whole as its title.
#[must_use]
pub fn short(id: &str) -> Markup {
    html! {
        @match shortened(id) {
            Some(shortened) => span title=(id) { (shortened) },
            None => (id),
        }
    }
}

/// An id as text of a sentence.
#[must_use]
pub fn short_text(id: &str) -> String {
    shortened(id).unwrap_or_else(|| id.into())
}

fn shortened(id: &str) -> Option<String> {
    let chars: Vec<char> = id.chars().collect();
    let (start, end) = SHOWN;
    (chars.len() > LONGEST).then(|| {
        let (first, last) = (&chars[..start], &chars[chars.len() - end..]);
        first.iter().chain(&['…']).chain(last).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_are_shortened_and_have_the_whole_as_their_title() {
        let generated = "019a1b2c-3d4e-7f00-8000-0123456789ab";
        assert_eq!(short_text(generated), "019a1b2c…89ab");
        let html = short(generated).into_string();
        assert_eq!(html, format!("<span title=\"{generated}\">019a1b2c…89ab</span>"));
        // Those that people have chosen mean something.
        for own in ["order-1042", "", "a-rather-long-name-of-24"] {
            assert_eq!((short_text(own), short(own).into_string()), (own.into(), own.into()));
        }
        assert_eq!(short_text(&"ä".repeat(25)), format!("{}…{}", "ä".repeat(8), "ä".repeat(4)));
    }

    #[test]
    fn people_are_shown_by_the_name_that_they_chose_else_by_their_username() {
        let mut names = Names::default();
        let user = |user_id: &str, display_name: &str, username: &str| User {
            user_id: user_id.into(),
            display_name: display_name.into(),
            username: username.into(),
            ..Default::default()
        };
        names.add_user(user("1", "Asha Rao", "asha"));
        names.add_user(user("2", "", "ravi"));
        names.add_user(user("3", "", ""));
        names.add_user(user("4", "sana", "sana"));
        let erased = UserStatus::Erased.into();
        names.add_user(User { user_id: "6".into(), status: erased, ..Default::default() });
        let both = |id| (names.user(id), names.username(id));
        assert_eq!(both("1"), (Some("Asha Rao"), Some("asha")));
        assert_eq!(both("2"), (Some("ravi"), None));
        assert_eq!(both("6"), (Some("Erased user"), None));
        assert!(names.is_erased("6") && !names.is_erased("1") && !names.is_erased("5"));
        // Not read, or never heard of.
        assert_eq!((both("3"), both("5")), ((None, None), (None, None)));
        assert_eq!(both("4"), (Some("sana"), None), "not twice the same");
        assert_eq!(names.program("points"), "points");
        assert_eq!(names.item("points", "mug"), None);
    }
}
