//! What surrounds every page: the head, the sidebar of people who have signed in, the two halves of the door.

use maud::{DOCTYPE, Markup, html};

use crate::assets;
use crate::icons::{Icon, logo};
use crate::reader::{Reader, Theme};
use crate::text;

/// The id of the element in which celebrations stand.
pub const CELEBRATIONS: &str = "celebrations";

/// What a page follows while it is shown.
pub struct Live {
    /// The path of the stream.
    pub path: String,
    /// The token after which the stream goes on: the page shows everything up to it.
    pub token: String,
}

/// A page: its title, what is in it, and what surrounds it.
pub struct Page<'a> {
    /// Who reads.
    pub reader: &'a Reader,
    /// The title, in the tab of the browser.
    pub title: &'a str,
    /// What it follows.
    pub live: Option<Live>,
    /// What has just been done, as a message at the corner.
    pub done: Option<&'a str>,
    /// What celebrates something, if there is anything to celebrate.
    pub celebration: Option<Markup>,
    /// What is said to those who share the link of the page.
    pub shared: Option<Shared<'a>>,
}

/// How a page looks where its link is shared (Open Graph).
pub struct Shared<'a> {
    /// What the page is.
    pub title: &'a str,
    /// What it offers.
    pub description: &'a str,
    /// Its address.
    pub url: &'a str,
}

/// A link of the sidebar.
pub struct Link {
    /// The picture.
    pub icon: Icon,
    /// The name of the page.
    pub name: String,
    /// Its path, below the root.
    pub path: String,
    /// Whether it is the page that is shown.
    pub is_current: bool,
}

/// A group of links with a heading, which may be empty.
pub struct Links {
    /// The heading.
    pub title: &'static str,
    /// The links.
    pub links: Vec<Link>,
}

/// What the sidebar shows.
pub struct Sidebar<'a> {
    /// The name of who has signed in.
    pub name: &'a str,
    /// What they are.
    pub role: &'a str,
    /// The form token.
    pub form_token: &'a str,
    /// The links.
    pub groups: Vec<Links>,
    /// The programs that the person is in, as links to the dashboard of each: path, name, and whether it is shown.
    pub programs: Vec<Link>,
}

/// A page for those who have signed in.
#[must_use]
pub fn app(page: &Page<'_>, sidebar: &Sidebar<'_>, main: &Markup) -> String {
    let reader = page.reader;
    let body = html! {
        a.skip href="#main" { (text::SKIP) }
        header.topbar {
            button.button.quiet.square popovertarget="menu" aria-label=(text::MENU) { (Icon::MENU) }
            a.logo href=(reader.to("/")) { (logo()) (text::PRODUCT) }
            @if page.live.is_some() { span.live {} }
        }
        nav.sidebar #menu popover aria-label=(text::MAIN_MENU) { (sidebar.html(reader)) }
        main.main #main tabindex="-1" { (main) }
        (corner(page))
    };
    document(page, "app", &body)
}

/// A page for those who have not: what it is about at one side, a form at the other.
#[must_use]
pub fn door(page: &Page<'_>, side: &Markup, main: &Markup) -> String {
    let reader = page.reader;
    let body = html! {
        a.skip href="#main" { (text::SKIP) }
        section.door-side {
            a.logo href=(reader.to("/")) { (logo()) (text::PRODUCT) }
            div { (side) }
            small { (text::PRODUCT_IN_WORDS) }
        }
        main.door-main #main tabindex="-1" { (main) }
        (corner(page))
    };
    document(page, "door", &body)
}

/// What appears above the page: messages and celebrations.
fn corner(page: &Page<'_>) -> Markup {
    html! {
        div.toasts #toasts role="status" {
            @if let Some(done) = page.done { div.toast { p { (done) } } }
        }
        div id=(CELEBRATIONS) { @if let Some(celebration) = &page.celebration { (celebration) } }
    }
}

fn document(page: &Page<'_>, class: &str, body: &Markup) -> String {
    let reader = page.reader;
    let theme = Some(reader.theme.as_str()).filter(|theme| !theme.is_empty());
    let live = page.live.as_ref();
    let document = html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if page.shared.is_none() { meta name="robots" content="noindex"; }
                title { (page.title) " · " (text::PRODUCT) }
                @if let Some(shared) = &page.shared {
                    meta property="og:type" content="website";
                    meta property="og:title" content=(shared.title);
                    meta property="og:description" content=(shared.description);
                    meta property="og:url" content=(shared.url);
                    meta name="description" content=(shared.description);
                }
                link rel="icon" type="image/svg+xml" href=(reader.to(&assets::path("icon.svg")));
                link rel="stylesheet" href=(reader.to(&assets::path("style.css")));
                script type="module" src=(reader.to(&assets::path("live.js"))) {}
            }
            body class=(class) data-words=(text::words_of_script())
                data-live=[live.map(|live| reader.to(&live.path))] data-token=[live.map(|live| &live.token)] {
                (body)
            }
        }
    };
    // Browsers take it in either case; the other pages of the server have it in lower case.
    document.into_string().replacen("<!DOCTYPE html>", "<!doctype html>", 1)
}

impl Sidebar<'_> {
    fn html(&self, reader: &Reader) -> Markup {
        html! {
            a.logo href=(reader.to("/")) { (logo()) (text::PRODUCT) }
            @if self.programs.len() > 1 {
                details.switch {
                    summary {
                        @for link in self.programs.iter().filter(|link| link.is_current) { (link.name) }
                        @if !self.programs.iter().any(|link| link.is_current) { (text::YOUR_PROGRAMS) }
                    }
                    div.links { @for link in &self.programs { (link.html(reader)) } }
                }
            }
            div.links {
                @for group in &self.groups {
                    @if !group.title.is_empty() { h2.links-title { (group.title) } }
                    @for link in &group.links { (link.html(reader)) }
                }
            }
            div.sidebar-foot {
                (themes(reader, self.form_token))
                hr;
                div.person {
                    span.avatar aria-hidden="true" { (initials(self.name)) }
                    div { strong { (self.name) } small { (self.role) } }
                    form method="post" action=(reader.to("/sign-out")) {
                        input type="hidden" name="form_token" value=(self.form_token);
                        button.button.quiet.square aria-label=(text::SIGN_OUT) title=(text::SIGN_OUT) { (Icon::OUT) }
                    }
                }
            }
        }
    }
}

impl Link {
    fn html(&self, reader: &Reader) -> Markup {
        html! {
            a href=(reader.to(&self.path)) aria-current=[self.is_current.then_some("page")] { (self.icon) (self.name) }
        }
    }
}

/// The choice of the theme.
fn themes(reader: &Reader, form_token: &str) -> Markup {
    let name = |theme| match theme {
        Theme::System => text::THEME_SYSTEM,
        Theme::Light => text::THEME_LIGHT,
        Theme::Dark => text::THEME_DARK,
    };
    html! {
        form.segments method="post" action=(reader.to("/theme")) data-quiet data-theme role="group"
            aria-label=(text::THEME) {
            input type="hidden" name="form_token" value=(form_token);
            @for theme in Theme::ALL {
                button name="theme" value=(theme.as_str()) aria-pressed=(theme == reader.theme) { (name(theme)) }
            }
        }
    }
}

/// The first letters of the first and the last word of a name.
#[must_use]
pub fn initials(name: &str) -> String {
    let mut words = name.split_whitespace();
    let first = words.next().and_then(|word| word.chars().next());
    let last = words.next_back().and_then(|word| word.chars().next());
    first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
}
