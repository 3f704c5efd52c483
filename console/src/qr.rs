//! QR codes, as one path of SVG.

use std::fmt::Write;

use maud::{Markup, html};
use qrcode::{Color, QrCode};

/// The QR code of a text, with what it is for those who cannot see it; nothing if the text is too long for one.
#[must_use]
pub fn qr(text: &str, label: &str) -> Option<Markup> {
    let code = QrCode::new(text).ok()?;
    let width = code.width();
    let mut path = String::new();
    for (index, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            // Writing into a string cannot fail.
            let _ = write!(path, "M{} {}h1v1h-1z", index % width, index / width);
        }
    }
    Some(html! {
        svg.qr viewBox={ "0 0 " (width) " " (width) } role="img" aria-label=(label) shape-rendering="crispEdges" {
            path fill="currentColor" d=(path) {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_path_and_a_text_that_does_not_fit_has_none() {
        let short =
            qr("https://rewards.example.com/join/ASHA8K2Q", "Your link").map(Markup::into_string);
        assert!(short.is_some_and(|svg| svg.matches("<path").count() == 1 && svg.len() < 12_000));
        assert!(qr(&"x".repeat(4_000), "").is_none());
    }
}
