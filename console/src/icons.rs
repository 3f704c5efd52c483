//! Pictures: small ones in one colour, the logo, and medals of tiers. Drawn here, so that the tree has none of others.

use maud::{Markup, PreEscaped, html};

/// A small picture, by its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icon(&'static str);

impl Icon {
    #![allow(missing_docs, reason = "the names say what the pictures show")]
    pub const HOME: Self =
        Self("<path d='M4 11 12 4l8 7v8a1 1 0 0 1-1 1h-4v-6h-6v6H5a1 1 0 0 1-1-1z'/>");
    pub const CHART: Self = Self("<path d='M4 20V4M4 20h16M8 16v-4M12 16V8M16 16v-6'/>");
    pub const PEOPLE: Self = Self(
        "<circle cx='9' cy='8' r='3.2'/><path d='M3 20c.4-3.6 2.8-5.5 6-5.5s5.6 1.9 6 5.5M16 5.2a3 3 0 0 1 0 5.7\
         M18 14.8c1.8.8 2.8 2.6 3 5.2'/>",
    );
    pub const TROPHY: Self = Self(
        "<path d='M8 4h8v6a4 4 0 0 1-8 0zM8 6H5c0 3 1 4.5 3.3 4.8M16 6h3c0 3-1 4.5-3.3 4.8M12 14v3M8.5 20h7\
         M10 20c0-1.8.5-3 2-3s2 1.2 2 3'/>",
    );
    pub const GIFT: Self = Self(
        "<path d='M4 11h16v8a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1zM3 7.5h18V11H3zM12 7.5V20M12 7.5c-1-3.5-5.5-4.5-5.5-2 0 1.7 \
         2.5 2 5.5 2zM12 7.5c1-3.5 5.5-4.5 5.5-2 0 1.7-2.5 2-5.5 2z'/>",
    );
    pub const BOOK: Self = Self(
        "<path d='M5 5a2 2 0 0 1 2-2h12v15H7a2 2 0 0 0-2 2zM5 20a1.5 1.5 0 0 0 1.5 1.5H19V18M9 7.5h6'/>",
    );
    pub const USER: Self =
        Self("<circle cx='12' cy='8' r='3.7'/><path d='M4.5 20.5c.7-4 3.5-6 7.5-6s6.8 2 7.5 6'/>");
    pub const MENU: Self = Self("<path d='M4 7h16M4 12h16M4 17h16'/>");
    pub const COPY: Self = Self(
        "<rect x='9' y='9' width='11' height='11' rx='2'/><path d='M5 15V6a2 2 0 0 1 2-2h9'/>",
    );
    pub const SHARE: Self =
        Self("<path d='M12 15V4M8 7.5 12 3.5l4 4M5 12v7a1 1 0 0 0 1 1h12a1 1 0 0 0 1-1v-7'/>");
    pub const COIN: Self = Self(
        "<circle cx='12' cy='12' r='8.5'/><path d='M9 9.5c.4-1.3 1.5-2 3-2 1.7 0 3 .8 3 2.2C15 13 9 11 9 14.3c0 1.4 \
         1.3 2.2 3 2.2 1.5 0 2.6-.7 3-2M12 5.5v2M12 16.5v2'/>",
    );
    pub const CLOCK: Self = Self("<circle cx='12' cy='12' r='8.5'/><path d='M12 7v5l3.5 2'/>");
    pub const CHECK: Self = Self("<path d='m5 12.5 4.5 4.5L19 7.5'/>");
    pub const FLAG: Self = Self("<path d='M5 21V4h11l-1.5 4L16 12H5'/>");
    pub const SEARCH: Self = Self("<circle cx='11' cy='11' r='6.5'/><path d='m16 16 4.5 4.5'/>");
    pub const WARN: Self = Self("<path d='M12 4 2.8 20h18.4zM12 10v4.5M12 17.2v.3'/>");
    pub const INFO: Self =
        Self("<circle cx='12' cy='12' r='8.5'/><path d='M12 11v5.5M12 7.5v.3'/>");
    pub const OUT: Self =
        Self("<path d='M14 4h5a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1h-5M4 12h11M11 8l4 4-4 4'/>");
    pub const MAIL: Self =
        Self("<rect x='3.5' y='5' width='17' height='14' rx='2'/><path d='m4 7 8 6 8-6'/>");
    pub const CART: Self = Self(
        "<path d='M3 4h2.5l2 11h10l2-8H6.5'/><circle cx='9' cy='19' r='1.3'/><circle cx='16.5' cy='19' r='1.3'/>",
    );
    pub const BANK: Self =
        Self("<path d='M4 10 12 4l8 6zM6 10v7M10 10v7M14 10v7M18 10v7M4 20h16'/>");
    pub const LIST: Self = Self("<path d='M8 6h12M8 12h12M8 18h12M4 6h.1M4 12h.1M4 18h.1'/>");
    pub const GEAR: Self = Self(
        "<path d='M4 7h9M17 7h3M4 17h3M11 17h9'/><circle cx='15' cy='7' r='2'/><circle cx='9' cy='17' r='2'/>",
    );
    pub const BACK: Self = Self("<path d='M20 12H5M11 6l-6 6 6 6'/>");
}

impl maud::Render for Icon {
    fn render(&self) -> Markup {
        html! { svg.icon viewBox="0 0 24 24" aria-hidden="true" { (PreEscaped(self.0)) } }
    }
}

/// The logo.
#[must_use]
pub fn logo() -> Markup {
    html! {
        svg viewBox="0 0 32 32" aria-hidden="true" {
            rect width="32" height="32" rx="9" fill="#0a666c" {}
            path d="M9 6c0 8 7 7 7 14v6M23 6c0 6-7 6-7 12" fill="none" stroke="#fff" stroke-width="3"
                stroke-linecap="round" {}
        }
    }
}

/// The medal of a tier, by its place among the tiers: the highest is gold, the lowest bronze.
#[must_use]
pub fn medal(place: usize, tiers: usize) -> Markup {
    let metal = match (place + 1, tiers) {
        (place, tiers) if place >= tiers && tiers > 1 => "gold",
        (1, _) => "bronze",
        _ => "silver",
    };
    html! {
        svg class={ "tier-mark " (metal) } viewBox="0 0 48 48" aria-hidden="true" {
            path d="M15 4h18l-5 14h-8z" fill="currentColor" opacity=".35" {}
            circle cx="24" cy="29" r="15" fill="currentColor" {}
            circle cx="24" cy="29" r="11" fill="none" stroke="#fff" stroke-opacity=".55" stroke-width="1.5" {}
            path d="m24 21.5 2.3 4.9 5.2.6-3.9 3.6 1 5.2-4.6-2.6-4.6 2.6 1-5.2-3.9-3.6 5.2-.6z" fill="#fff" {}
        }
    }
}
