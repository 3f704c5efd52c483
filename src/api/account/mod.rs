//! `AccountService`: users.

mod registration;
mod status;
mod users;

use crate::api::Context;

pub(super) struct Handlers(pub(super) Context);
