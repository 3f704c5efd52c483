//! The templates of mails: two files for each kind, `KIND.txt` and `KIND.html`. The first line of the text is the
//! subject. Files of a folder replace those that the server brings along.

use std::path::Path;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::facts::{Facts, Line, Membership};
use domain::MailKind;

/// Every file of `templates/`, as `(name, content)`.
const FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// What the first line of a text begins with.
const SUBJECT: &str = "Subject: ";

/// A mail, rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// For programs that show no HTML.
    pub text: String,
    /// A whole document.
    pub html: String,
}

/// The templates of all kinds.
pub struct Templates(Environment<'static>);

impl Templates {
    /// The templates that the server brings along, or those in a folder in place of them. Each is tried out.
    ///
    /// # Errors
    /// What is wrong, with the name of the file.
    pub fn load(folder: Option<&Path>) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_keep_trailing_newline(true);
        environment.set_auto_escape_callback(|name| {
            let is_html = Path::new(name).extension().is_some_and(|ending| ending == "html");
            if is_html { AutoEscape::Html } else { AutoEscape::None }
        });
        let own = folder.map_or_else(|| Ok(Vec::new()), read)?;
        for (name, content) in FILES {
            if !own.iter().any(|(of_own, _)| of_own == name) {
                environment.add_template(name, content).map_err(|error| fault(name, &error))?;
            }
        }
        for (name, content) in own {
            environment
                .add_template_owned(name.clone(), content)
                .map_err(|error| fault(&name, &error))?;
        }
        let templates = Self(environment);
        for kind in MailKind::ALL {
            for facts in samples() {
                templates.render(kind, &facts)?;
            }
        }
        Ok(templates)
    }

    /// Renders a mail.
    ///
    /// # Errors
    /// What is wrong with a template, with the name of its file. Without the facts, which are personal.
    pub fn render(&self, kind: MailKind, facts: &Facts) -> Result<Rendered, String> {
        let part = |ending: &str| {
            let name = format!("{}.{ending}", kind.as_str());
            let template = self.0.get_template(&name).map_err(|error| fault(&name, &error))?;
            template.render(facts).map_err(|error| fault(&name, &error))
        };
        let (text, html) = (part("txt")?, part("html")?);
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let Some(subject) = first.strip_prefix(SUBJECT).map(str::trim).filter(|of| !of.is_empty())
        else {
            let name = kind.as_str();
            return Err(format!("{name}.txt must begin with a line such as '{SUBJECT}Welcome'"));
        };
        let subject = subject.chars().filter(|character| !character.is_control()).collect();
        Ok(Rendered { subject, text: rest.trim_start().to_owned(), html })
    }
}

/// The fault of a template: its kind and line, not what was rendered.
fn fault(name: &str, error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(", line {line}")).unwrap_or_default();
    format!("{name}{line}: {}", error.kind())
}

/// The templates in a folder. Other files are an error, because a wrong name would otherwise go unnoticed.
fn read(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let wrong = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| wrong(folder, error))? {
        let path = entry.map_err(|error| wrong(folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.starts_with('.') {
            continue;
        }
        if !FILES.iter().any(|(known, _)| *known == name) {
            let known: Vec<&str> = FILES.iter().map(|(known, _)| *known).collect();
            return Err(format!(
                "{} is no template; there are {}",
                path.display(),
                known.join(", ")
            ));
        }
        let content = std::fs::read_to_string(&path).map_err(|error| wrong(&path, error))?;
        found.push((name, content));
    }
    Ok(found)
}

/// Facts to try templates out with: everything is there, and nothing is.
fn samples() -> [Facts; 2] {
    let membership = Membership {
        name: "A program".into(),
        code: "ABCD2345".into(),
        link: "https://example.com/join?ref=ABCD2345".into(),
    };
    let full = Facts {
        name: "Ada Lovelace".into(),
        username: "ada".into(),
        public_url: "https://rewards.example.com".into(),
        unsubscribe_url: "https://rewards.example.com/unsubscribe?token=abc".into(),
        program: "A program".into(),
        programs: vec![membership.clone(), membership],
        referee: "bo".into(),
        amount: "12.50 USD".into(),
        level: 1,
        tier: "Gold".into(),
        expire_date: "31 December 2026".into(),
        reason: "refund".into(),
        lines: vec![
            Line { amount: "10.00 USD".into(), purchase: "order-17".into() },
            Line { amount: "2.50 USD".into(), purchase: String::new() },
        ],
        balance: "-2.50 USD".into(),
        available: "-2.50 USD".into(),
        is_in_debt: true,
        link: "https://rewards.example.com/reset-password?token=abc".into(),
        link_minutes: 15,
        removed_second_factor: true,
    };
    [full, Facts::default()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_subject_a_text_and_html() {
        let templates = Templates::load(None).unwrap();
        assert_eq!(FILES.len(), 2 * MailKind::ALL.len() + 1);
        for kind in MailKind::ALL {
            let rendered = templates.render(kind, &samples()[0]).unwrap();
            assert!(!rendered.subject.contains('<'), "{rendered:?}");
            assert!(
                rendered.text.contains("Ada Lovelace") && !rendered.text.contains('<'),
                "{rendered:?}"
            );
            assert!(rendered.html.contains("Ada Lovelace"), "{rendered:?}");
            assert!(rendered.html.ends_with("</html>\n"), "{rendered:?}");
            let has_link = rendered.text.contains("reset-password")
                && rendered.html.contains("reset-password");
            assert_eq!(has_link, crate::mails::page_of(kind).is_some(), "{rendered:?}");
            assert_eq!(rendered.text.contains("unsubscribe"), kind.is_optional(), "{rendered:?}");
        }
    }

    #[test]
    fn names_are_escaped_in_html() {
        let templates = Templates::load(None).unwrap();
        let name = "<script>alert('x')</script> & \"co\"".to_owned();
        let facts = Facts { name: name.clone(), referee: name.clone(), ..samples()[0].clone() };
        for kind in MailKind::ALL {
            let rendered = templates.render(kind, &facts).unwrap();
            assert!(!rendered.html.contains("<script"), "{rendered:?}");
            assert!(rendered.html.contains("&lt;script&gt;"), "{rendered:?}");
            assert!(rendered.text.contains(&name), "{rendered:?}");
        }
    }

    #[test]
    fn templates_of_a_folder_replace_others_and_are_checked() {
        let folder =
            std::env::temp_dir().join(format!("tributary-templates-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, content: &str| std::fs::write(folder.join(name), content).unwrap();
        let fault = || Templates::load(Some(&folder)).err().unwrap_or_default();
        write("welcome.txt", "Subject: Hi {{ name }}\n\nYour name is {{ username }}.\n");
        let rendered = Templates::load(Some(&folder))
            .unwrap()
            .render(MailKind::Welcome, &samples()[0])
            .unwrap();
        assert_eq!(
            (&*rendered.subject, &*rendered.text),
            ("Hi Ada Lovelace", "Your name is ada.\n")
        );
        for (content, says) in [
            ("Subject: Hi\n\n{{ nmae }}", "welcome.txt, line 3: undefined value"),
            ("Subject: Hi\n\n{% if %}", "welcome.txt, line 3: syntax error"),
            ("Hi", "must begin with a line"),
            ("Subject: \n\nHi", "must begin with a line"),
        ] {
            write("welcome.txt", content);
            assert!(fault().contains(says), "{content}: {}", fault());
        }
        write("welcome.txt", "Subject: Hi\n\nHi");
        write("wellcome.html", "Hi");
        assert!(fault().contains("wellcome.html is no template"), "{}", fault());
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(fault().contains("tributary-templates"), "{}", fault());
    }
}
