//! How the pages of the console look. Messages of the contract come in, HTML goes out: no I/O, no clock, no routes, and
//! nothing that the API does not say. What pages do is in the server, in `src/api/console/`.
//!
//! - [`pages`] has a file per page: a `View` of what the page shows, and a function `page`.
//! - [`page`] is what surrounds every page, [`parts`] what many pages are made of, [`charts`] and [`qr`] draw.
//! - [`reader`] is who reads: the locale of numbers, the zone of times, the theme.
//! - [`names`] are what people, programs and items are shown by in place of their ids.
//! - [`text`] holds every sentence that people read.
//! - [`assets`] are style, script and icon.
//!
//! Everything that is put into a page is escaped by maud. Only [`icons`], [`charts`], [`qr`] and [`page`] mark
//! text as HTML, and none of it comes from outside. The content security policy forbids style attributes and scripts in
//! the page; the length of a bar is therefore an attribute of SVG.

pub mod assets;
pub mod charts;
pub mod icons;
pub mod names;
pub mod page;
pub mod pages;
pub mod parts;
pub mod program;
pub mod qr;
pub mod reader;
pub mod text;

pub use maud::Markup;
