//! The services as tonic calls them: generated from the contract by `build/services.rs`.

use super::guard::{Guarded, admit};
use super::permissions::{NamedFields, Rule, TextFields, rule_of};
use super::watch::Messages;
use super::writes::Repeatable;
use super::{Context, MAX_MESSAGE_BYTES, pb};

include!(concat!(env!("OUT_DIR"), "/services.rs"));
