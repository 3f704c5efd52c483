//! Settings that can be switched off.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How a setting is switched off. An empty text says the same.
const NONE: &str = "none";

/// A value, or `none`, which is what such a setting is by default: a flag can take back what a file sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Optional<T> {
    /// Switched off.
    None,
    /// The value.
    Value(T),
}

impl<T> Optional<T> {
    /// The value that a setting has.
    pub(super) fn of(given: Option<Self>) -> Option<T> {
        match given {
            Some(Self::Value(value)) => Some(value),
            Some(Self::None) | None => None,
        }
    }

    /// The values of a list, in which `none` is no element.
    pub(super) fn list(given: Option<Vec<Self>>) -> Vec<T> {
        given.into_iter().flatten().filter_map(|element| Self::of(Some(element))).collect()
    }
}

impl<T: FromStr> FromStr for Optional<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            NONE | "" => Ok(Self::None),
            text => text.parse().map(Self::Value),
        }
    }
}

impl<T: Serialize> Serialize for Optional<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => NONE.serialize(serializer),
            Self::Value(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Optional<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A file or a directory. A file that is called `none` is written `./none`.
pub(super) type OptionalPath = Optional<PathBuf>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_and_an_empty_text_switch_a_setting_off() {
        for off in ["none", ""] {
            assert_eq!(off.parse::<Optional<u16>>(), Ok(Optional::None));
        }
        assert_eq!("7".parse::<Optional<u16>>(), Ok(Optional::Value(7)));
        assert!("seven".parse::<Optional<u16>>().is_err());
        assert_eq!(Optional::<u16>::of(Some(Optional::None)), None);
        assert_eq!(Optional::of(Some(Optional::Value(7))), Some(7));
        assert_eq!(Optional::list(Some(vec![Optional::None, Optional::Value(7)])), [7]);
    }
}
