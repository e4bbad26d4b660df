//! Settings that are edited at run time, and their history.

use envforge_core::id::UserId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Settings there are, set or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// In the order of the product's list.
    pub settings: Vec<SettingSummary>,
}

/// A setting in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingSummary {
    /// Its name.
    #[schema(example = "mail")]
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Its newest version; 0 when it was never set.
    pub version: u64,
    /// Whether it is set.
    pub is_set: bool,
    /// Who changed it last.
    pub changed_by: Option<UserId>,
    /// When.
    #[schema(value_type = Option<String>)]
    pub changed_at: Option<Timestamp>,
}

/// A setting with its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// What it is, and its newest version.
    #[serde(flatten)]
    pub summary: SettingSummary,
    /// Its fields.
    pub fields: Vec<SettingField>,
}

/// A field of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingField {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// What it accepts: `text`, `url`, `number`, `flag`, `choice` or `secret`.
    pub kind: String,
    /// What a choice offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Whether the setting is useless without it.
    pub is_required: bool,
    /// Whether it has a value.
    pub is_set: bool,
    /// Its value; never a secret's.
    pub value: Option<Value>,
}

/// Changes a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSetting {
    /// The fields to set; `null` takes one away, others stay as they are.
    pub values: Map<String, Value>,
    /// The version the change was made from; when another is there by now, nothing is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_version: Option<u64>,
    /// Why, for the history and the ledger.
    pub reason: String,
}

/// Makes an earlier version the newest again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreSetting {
    /// The version to restore.
    pub version: u64,
    /// Why.
    pub reason: String,
}

/// Versions of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingVersions {
    /// Newest first.
    pub versions: Vec<SettingVersion>,
}

/// A version of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingVersion {
    /// Its number.
    pub version: u64,
    /// Who made it.
    pub changed_by: UserId,
    /// When.
    #[schema(value_type = String)]
    pub changed_at: Timestamp,
    /// Why.
    pub reason: String,
    /// The version it restored.
    pub restored: Option<u64>,
    /// How it differs from the one before it.
    pub changes: Vec<SettingChange>,
}

/// How a field differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingChange {
    /// The field.
    pub field: String,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// Its value before; never a secret's.
    pub before: Option<Value>,
    /// Its value after; never a secret's.
    pub after: Option<Value>,
}
