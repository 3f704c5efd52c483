//! Recording a purchase by hand.

use maud::html;

use crate::page::{Page, Sidebar, app};
use crate::parts::{self, Field, FormKeys, Sent};
use crate::reader::Reader;
use crate::text::operator as text;

/// What the page shows.
pub struct View {
    /// What was sent, and what is wrong with it.
    pub sent: Sent,
    /// What the form carries.
    pub keys: FormKeys,
}

/// The page.
#[must_use]
pub fn page(view: &View, sidebar: &Sidebar<'_>, reader: &Reader) -> String {
    let field = |name, label, hint| Field {
        name,
        label,
        hint,
        autocomplete: "off",
        required: true,
        ..Field::default()
    };
    let buyer = field("buyer", text::BUYER, text::BUYER_HINT);
    let amount = Field { inputmode: "decimal", ..field("amount", text::AMOUNT, text::AMOUNT_HINT) };
    let currency = field("currency", text::CURRENCY, text::CURRENCY_HINT);
    let id = Field {
        required: false,
        ..field("purchase_id", text::PURCHASE_ID, text::PURCHASE_ID_HINT)
    };
    let main = html! {
        (parts::head(text::RECORD_PURCHASE, text::RECORD_WORDS, &html! {}))
        section.card {
            (parts::problems(&view.sent))
            form.form method="post" action=(reader.to("/o/record")) {
                (view.keys)
                (buyer.html(&view.sent))
                div.columns { (amount.html(&view.sent)) (currency.html(&view.sent)) }
                (id.html(&view.sent))
                div.actions { button.button.first { (text::RECORD) } }
            }
        }
    };
    let page = Page {
        reader,
        title: text::RECORD_PURCHASE,
        live: None,
        done: None,
        celebration: None,
        shared: None,
    };
    app(&page, sidebar, &main)
}
