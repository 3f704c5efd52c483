//! JSON in which a key stands twice. Readers of JSON differ in which of the two values they take, so neither is what
//! the writer can have meant.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Checks that no object of a JSON text has a field twice. The two spellings of a field of the contract, as in
/// `user_id` and `userId`, are one field.
///
/// # Errors
/// The name and the place of the field, or what makes the text no JSON.
pub fn check_unique_keys(json: &str) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Value.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Any value, of which only the keys are of interest.
#[derive(Clone, Copy)]
struct Value;

impl<'de> DeserializeSeed<'de> for Value {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut known: HashMap<String, String> = HashMap::new();
        while let Some(key) = fields.next_key::<String>()? {
            let fault = match known.insert(in_camel_case(&key), key.clone()) {
                None => {
                    fields.next_value_seed(self)?;
                    continue;
                }
                Some(before) if before == key => format!("the field '{key}' is given twice"),
                Some(before) => format!("'{before}' and '{key}' are one field, given twice"),
            };
            return Err(A::Error::custom(fault));
        }
        Ok(())
    }
}

/// The name of a field as JSON of protobuf writes it.
fn in_camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_given_twice_is_named_with_its_place() {
        for json in [
            r#"{"user_id":"ada","user_id":"bob"}"#,
            r#"{"userId":"ada","user_id":"ada"}"#,
            r#"{"a":[1,{"b":{"c":null,"c":null}}]}"#,
        ] {
            let refused = check_unique_keys(json).map_err(|error| error.to_string());
            let refused = refused.err().unwrap_or_default();
            assert!(refused.contains("given twice at line 1 column"), "{json}: {refused}");
        }
    }

    #[test]
    fn fields_of_different_objects_may_have_one_name() {
        let json = r#" {"a":{"b":1,"c":-2.5},"b":[{"b":true},{"b":"x\n"}],"c":null} "#;
        assert!(check_unique_keys(json).is_ok());
        assert!(check_unique_keys("{} {}").is_err());
        assert!(check_unique_keys("{").is_err());
    }
}
