//! A secret where it crosses a process boundary.
//!
//! [`Secret`] can't be serialized. The few messages that carry one on purpose (a person sets it, a host fetches it) say so by
//! this type; it prints as little as a secret does, and its JSON is the value.

use envforge_core::secret::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A secret in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensitive(pub Secret);

impl Serialize for Sensitive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Sensitive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

impl schemars::JsonSchema for Sensitive {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sensitive".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "writeOnly": true })
    }
}
