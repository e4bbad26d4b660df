//! Settings that are edited at run time: what there is, what each accepts, and how versions differ.
//!
//! A setting is a small form: named fields of a kind, some of them secret. [`DEFINITIONS`] is the one list; the API, the pages
//! and the CLI are made from it, and a name that is not in it is refused. A value is never changed in place: a change
//! makes a new version of the whole form, so that versions can be compared and restored. Secret fields are written, compared
//! and restored, and never shown.

use crate::name::Slug;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::usage::price::parse_amount;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Longest text of a field, in bytes: a Google service account file fits.
pub const TEXT_MAX: usize = 16 * 1024;

/// What a field accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One line.
    Text,
    /// `https://…`, or `http://` to this machine.
    Url,
    /// A whole number in this range.
    Number(i64, i64),
    /// Yes or no.
    Flag,
    /// A decimal that is not negative, such as `0.0125`, of at most six places.
    Amount,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A text that is never shown again.
    Secret,
}

/// A field of a setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it accepts.
    pub kind: Kind,
    /// Whether the setting is useless without it.
    pub is_required: bool,
    /// What it is, for a person.
    pub about: &'static str,
}

/// Whose a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The installation's, set by its operator.
    Installation,
    /// An org's.
    Org,
    /// Either's; an org's own comes before the installation's.
    Both,
}

/// A setting there can be.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name; with [`Definition::is_many`], what stands before the dot.
    pub name: &'static str,
    /// Whose it is.
    pub reach: Reach,
    /// Whether there can be several, each with a name of its own: `oidc.auth0`.
    pub is_many: bool,
    /// What it is for.
    pub about: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

const fn field(name: &'static str, kind: Kind, is_required: bool, about: &'static str) -> Field {
    Field { name, kind, is_required, about }
}

/// What an identity provider may make people; owners are made by owners.
const ORG_ROLES: &[&str] = &["admin", "developer", "reviewer", "billing"];

/// All settings.
pub const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "mail",
        reach: Reach::Installation,
        is_many: false,
        about: "The mail server that sends invitations and sign-in links",
        fields: &[
            field("host", Kind::Text, true, "Name of the SMTP server"),
            field("port", Kind::Number(1, 65_535), true, "465 for TLS, 587 for STARTTLS"),
            field("encryption", Kind::Choice(&["tls", "starttls", "none"]), true, "`none` is for this machine only"),
            field("username", Kind::Text, false, "Who signs in there"),
            field("password", Kind::Secret, false, "The password for it"),
            field("from", Kind::Text, true, "The sender's address, such as envforge@example.org"),
        ],
    },
    Definition {
        name: "oidc",
        reach: Reach::Installation,
        is_many: true,
        about: "An OpenID Connect provider people sign in with",
        fields: &[
            field("title", Kind::Text, true, "What the button says"),
            field("issuer", Kind::Url, true, "The issuer, exactly as the provider names itself"),
            field("client_id", Kind::Text, true, "The client registered there"),
            field("client_secret", Kind::Secret, false, "Its secret; none for a public client"),
            field("client_auth", Kind::Choice(&["basic", "post"]), false, "How the secret is shown; basic when absent"),
            field(
                "refresh",
                Kind::Choice(&["yes", "no"]),
                false,
                "Keep asking it about who is signed in; no when absent",
            ),
            field("sign_up", Kind::Text, true, "Who may make an account: closed, invited, domain:example.org or open"),
            field("org_claim", Kind::Text, false, "The claim that names the organization, such as org_id at Auth0"),
            field("orgs", Kind::Text, false, "Its values and the orgs they are: org_a1=acme,org_b2=globex"),
            field("org_role", Kind::Choice(ORG_ROLES), false, "What members of those organizations become"),
        ],
    },
    Definition {
        name: "llm",
        reach: Reach::Both,
        is_many: true,
        about: "A language model provider's default key",
        fields: &[
            field("protocol", Kind::Choice(&["anthropic", "openai", "google"]), true, "What it speaks"),
            field("base_url", Kind::Url, false, "When it is not the provider's own"),
            field("api_key", Kind::Secret, true, "The key"),
        ],
    },
    Definition {
        name: "google",
        reach: Reach::Both,
        is_many: false,
        about: "The Google Cloud service account for machines, registry and DNS",
        fields: &[
            field("project", Kind::Text, true, "The Google Cloud project"),
            field("service_account", Kind::Secret, true, "The account's JSON key file, whole"),
        ],
    },
    Definition {
        name: "tailscale",
        reach: Reach::Org,
        is_many: false,
        about: "The tailnet for private access",
        fields: &[
            field("tailnet", Kind::Text, true, "Its name"),
            field("client_id", Kind::Text, true, "The OAuth client"),
            field("client_secret", Kind::Secret, true, "Its secret"),
            field("tag", Kind::Text, true, "The tag devices get, such as tag:envforge"),
        ],
    },
    Definition {
        name: "object_storage",
        reach: Reach::Both,
        is_many: false,
        about: "Object storage for backups and buckets",
        fields: &[
            field("provider", Kind::Choice(&["s3", "gcs"]), true, "What it speaks"),
            field("endpoint", Kind::Url, false, "When it is not the provider's own"),
            field("region", Kind::Text, false, "Its region"),
            field("bucket", Kind::Text, true, "The bucket"),
            field("access_key", Kind::Text, false, "The access key's id"),
            field("secret_key", Kind::Secret, false, "The access key"),
        ],
    },
    Definition {
        name: "connecteam",
        reach: Reach::Org,
        is_many: false,
        about: "The Connecteam account",
        fields: &[field("api_key", Kind::Secret, true, "The key")],
    },
    Definition {
        name: "prices",
        reach: Reach::Installation,
        is_many: false,
        about: "What awake time costs. A change holds from the instant it names, a minute after it was made at the earliest",
        fields: &[
            field("currency", Kind::Text, true, "ISO 4217 code, such as EUR"),
            field("small", Kind::Amount, true, "Per hour at size small, such as 0.0125"),
            field("medium", Kind::Amount, true, "Per hour at size medium"),
            field("large", Kind::Amount, true, "Per hour at size large"),
            field("included_credit", Kind::Amount, false, "What an organization has free in each month; 0 when absent"),
            field(
                "month_minimum",
                Kind::Amount,
                false,
                "What an organization pays for a month at least; 0 when absent",
            ),
            field(
                "from",
                Kind::Text,
                false,
                "The instant from which it holds, such as 2026-12-01T00:00:00Z; soon when absent",
            ),
        ],
    },
    Definition {
        name: "billing",
        reach: Reach::Installation,
        is_many: false,
        about: "Where final receipts are reported as metered usage",
        fields: &[
            field("provider", Kind::Choice(&["stripe"]), true, "What it speaks"),
            field("base_url", Kind::Url, false, "When it is not the provider's own"),
            field("api_key", Kind::Secret, true, "A key that may write meter events"),
            field("event_name", Kind::Text, true, "The meter's event name"),
            field(
                "value",
                Kind::Choice(&["micros", "seconds"]),
                false,
                "Cost in micro-units, or awake seconds; micros when absent",
            ),
        ],
    },
    Definition {
        name: "billing_customer",
        reach: Reach::Installation,
        is_many: true,
        about: "An organization's customer at the provider of `billing`; the name after the dot is the organization's slug",
        fields: &[field("customer", Kind::Text, true, "The provider's id of the customer, such as cus_123")],
    },
    Definition {
        name: "cap_webhook",
        reach: Reach::Org,
        is_many: false,
        about: "Where the organization's caps are told: warnings, reached caps and overrides",
        fields: &[
            field("url", Kind::Url, true, "What is called, by POST"),
            field("secret", Kind::Secret, true, "Signs each call (HMAC-SHA-256)"),
        ],
    },
    Definition {
        name: "webhook_network",
        reach: Reach::Installation,
        is_many: false,
        about: "Where organizations' webhooks may lead",
        fields: &[field("private", Kind::Flag, true, "To private networks and this machine too, never to its link")],
    },
    Definition {
        name: "integration",
        reach: Reach::Org,
        is_many: true,
        about: "The key of another service",
        fields: &[field("base_url", Kind::Url, false, "Where it is"), field("api_key", Kind::Secret, true, "The key")],
    },
];

/// A setting by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// What it is.
    pub definition: &'static Definition,
    instance: Option<Slug>,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instance {
            Some(instance) => write!(f, "{}.{instance}", self.definition.name),
            None => f.write_str(self.definition.name),
        }
    }
}

impl Setting {
    /// Its own name where there can be several: `auth0` of `oidc.auth0`.
    pub fn instance(&self) -> Option<&Slug> {
        self.instance.as_ref()
    }

    /// The setting of this name, if an org (or else the installation) can have it.
    pub fn find(name: &str, is_org: bool) -> Result<Self, Refusal> {
        let (kind, instance) = match name.split_once('.') {
            Some((kind, instance)) => (kind, Some(instance)),
            None => (name, None),
        };
        let reaches = |definition: &&Definition| match definition.reach {
            Reach::Both => true,
            Reach::Org => is_org,
            Reach::Installation => !is_org,
        };
        let Some(definition) = DEFINITIONS.iter().filter(reaches).find(|definition| definition.name == kind) else {
            let all: Vec<_> = DEFINITIONS.iter().filter(reaches).map(|definition| definition.name).collect();
            let message = format!("there is no setting `{}` here", kind.escape_debug());
            return Err(Refusal::not_found("setting.not_found", message).hint(format!("there is {}", all.join(", "))));
        };
        let instance = match (definition.is_many, instance) {
            (false, None) => None,
            (true, Some(instance)) => Some(
                instance
                    .parse()
                    .map_err(|error| Refusal::invalid("setting.name", format!("the name after `{kind}.`: {error}")))?,
            ),
            (true, None) => {
                return Err(Refusal::invalid("setting.name", format!("there can be several `{kind}` settings"))
                    .hint(format!("name one: `{kind}.main`")));
            }
            (false, Some(_)) => {
                return Err(Refusal::invalid("setting.name", format!("there is only one `{kind}` setting"))
                    .hint(format!("it is called `{kind}`")));
            }
        };
        Ok(Self { definition, instance })
    }
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text, an address or a choice.
    Text(String),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// A secret.
    Secret(Secret),
}

/// A filled-in form: one version of a setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<&'static str, Value>);

/// How a field differs between two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Only the later has it.
    Added,
    /// Only the earlier has it.
    Removed,
    /// Both have it, with different values.
    Changed,
}

impl Values {
    /// The values after a change: fields it names are set, or taken away by `null`; others stay.
    pub fn changed(&self, definition: &'static Definition, change: &Map<String, Json>) -> Result<Self, Refusal> {
        let mut values = self.clone();
        for (name, given) in change {
            let Some(field) = definition.fields.iter().find(|field| field.name == name) else {
                let all: Vec<_> = definition.fields.iter().map(|field| field.name).collect();
                let message = format!("`{}` has no field `{}`", definition.name, name.escape_debug());
                return Err(Refusal::invalid("setting.field", message).hint(format!("there is {}", all.join(", "))));
            };
            if given.is_null() {
                values.0.remove(field.name);
            } else {
                values.0.insert(field.name, read(field, given)?);
            }
        }
        let missing = definition.fields.iter().find(|field| field.is_required && !values.0.contains_key(field.name));
        if let Some(field) = missing {
            let message = format!("`{}` needs the field `{}`", definition.name, field.name);
            return Err(Refusal::invalid("setting.missing", message).hint(field.about));
        }
        Ok(values)
    }

    /// The form as one text, to be sealed.
    pub fn to_text(&self) -> Secret {
        let fields = self.0.iter().map(|(name, value)| {
            let value = match value {
                Value::Text(text) => Json::from(text.as_str()),
                Value::Number(number) => Json::from(*number),
                Value::Flag(flag) => Json::from(*flag),
                Value::Secret(secret) => Json::from(secret.expose()),
            };
            ((*name).to_owned(), value)
        });
        Secret::new(Json::Object(fields.collect()).to_string())
    }

    /// Reads [`Values::to_text`]. Fields this program does not know (any more) are left out.
    pub fn from_text(definition: &'static Definition, text: &Secret) -> Result<Self, String> {
        let stored: Map<String, Json> = serde_json::from_str(text.expose()).map_err(|error| error.to_string())?;
        let mut values = Self::default();
        for field in definition.fields {
            if let Some(value) = stored.get(field.name).and_then(|value| take(field, value)) {
                values.0.insert(field.name, value);
            }
        }
        Ok(values)
    }

    /// The value of a field.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// A text of a field, also of an address or choice.
    pub fn text(&self, field: &str) -> Option<&str> {
        match self.get(field)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number of a field.
    pub fn number(&self, field: &str) -> Option<i64> {
        match self.get(field)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A secret of a field.
    pub fn secret(&self, field: &str) -> Option<&Secret> {
        match self.get(field)? {
            Value::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    /// What may be shown of a field: its value, unless it is secret.
    pub fn shown(&self, field: &str) -> Option<Json> {
        match self.get(field)? {
            Value::Text(text) => Some(Json::from(text.as_str())),
            Value::Number(number) => Some(Json::from(*number)),
            Value::Flag(flag) => Some(Json::from(*flag)),
            Value::Secret(_) => None,
        }
    }

    /// The fields in which a later version differs from this one.
    pub fn changes(&self, later: &Self) -> Vec<(&'static str, Change)> {
        let names: BTreeSet<&'static str> = self.0.keys().chain(later.0.keys()).copied().collect();
        let change = |name: &'static str| match (self.0.get(name), later.0.get(name)) {
            (None, _) => Some((name, Change::Added)),
            (_, None) => Some((name, Change::Removed)),
            (before, after) => (before != after).then_some((name, Change::Changed)),
        };
        names.into_iter().filter_map(change).collect()
    }
}

/// A given value as the field's, or what is wrong with it.
fn read(field: &Field, given: &Json) -> Result<Value, Refusal> {
    let wrong = |wanted: String| {
        Refusal::invalid("setting.value", format!("the field `{}` takes {wanted}", field.name)).hint(field.about)
    };
    let wanted = match field.kind {
        Kind::Text => format!("one line of at most {TEXT_MAX} bytes"),
        Kind::Url => "an address that begins with https://, or with http:// for this machine".to_owned(),
        Kind::Number(least, most) => format!("a whole number from {least} to {most}"),
        Kind::Flag => "true or false".to_owned(),
        Kind::Amount => "a decimal such as 0.0125, of at most six places, as a text".to_owned(),
        Kind::Choice(choices) => format!("one of {}", choices.join(", ")),
        Kind::Secret => format!("a text of at most {TEXT_MAX} bytes"),
    };
    take(field, given).ok_or_else(|| wrong(wanted))
}

fn take(field: &Field, given: &Json) -> Option<Value> {
    let line = |text: &&str| !text.is_empty() && text.len() <= TEXT_MAX && !text.chars().any(char::is_control);
    match field.kind {
        Kind::Text => given.as_str().filter(line).map(|text| Value::Text(text.to_owned())),
        Kind::Url => given.as_str().filter(line).filter(|url| is_safe_url(url)).map(|url| Value::Text(url.to_owned())),
        Kind::Number(least, most) => given.as_i64().filter(|number| (least..=most).contains(number)).map(Value::Number),
        Kind::Flag => given.as_bool().map(Value::Flag),
        Kind::Amount => {
            given.as_str().filter(|text| parse_amount(text).is_some()).map(|text| Value::Text(text.to_owned()))
        }
        Kind::Choice(choices) => {
            given.as_str().filter(|text| choices.contains(text)).map(|text| Value::Text(text.to_owned()))
        }
        Kind::Secret => {
            let text = given.as_str().filter(|text| !text.is_empty() && text.len() <= TEXT_MAX)?;
            Some(Value::Secret(Secret::new(text.to_owned())))
        }
    }
}

/// Whether a credential may be sent there: encrypted, or not leaving the machine.
fn is_safe_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let name = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    };
    let is_plain = !name.is_empty() && !authority.contains('@') && !url.contains(' ');
    let is_here = matches!(name, "localhost" | "127.0.0.1" | "::1");
    is_plain && (scheme == "https" || (scheme == "http" && is_here))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn object(value: Json) -> Map<String, Json> {
        match value {
            Json::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    fn mail() -> Setting {
        Setting::find("mail", false).unwrap()
    }

    fn filled(password: &str) -> Values {
        let form = json!({ "host": "mx.example.org", "port": 465, "encryption": "tls", "password": password,
            "from": "e@example.org" });
        Values::default().changed(mail().definition, &object(form)).unwrap()
    }

    // proves ORG-9
    #[test]
    fn a_change_keeps_what_it_does_not_name_and_null_takes_away() {
        let before = filled("hunter2hunter2");
        let after = before.changed(mail().definition, &object(json!({ "port": 587, "username": "me" }))).unwrap();
        assert_eq!(before.changes(&after), [("port", Change::Changed), ("username", Change::Added)]);
        assert_eq!(after.secret("password"), before.secret("password"));
        let without = after.changed(mail().definition, &object(json!({ "password": null }))).unwrap();
        assert_eq!(after.changes(&without), [("password", Change::Removed)]);
    }

    // proves ORG-9
    #[test]
    fn what_does_not_fit_is_refused_with_its_field() {
        for (change, code) in [
            (json!({ "port": 70_000 }), "setting.value"),
            (json!({ "port": "465" }), "setting.value"),
            (json!({ "encryption": "rot13" }), "setting.value"),
            (json!({ "host": "a\nb" }), "setting.value"),
            (json!({ "hots": "x" }), "setting.field"),
            (json!({ "host": null }), "setting.missing"),
        ] {
            let refused = filled("x").changed(mail().definition, &object(change.clone())).unwrap_err();
            assert_eq!(refused.code, code, "{change}");
        }
    }

    #[test]
    fn names_say_whose_and_which() {
        assert_eq!(Setting::find("oidc.auth0", false).unwrap().to_string(), "oidc.auth0");
        for (name, is_org, code) in [
            ("oidc", false, "setting.name"),
            ("mail.second", false, "setting.name"),
            ("oidc.Auth 0", false, "setting.name"),
            ("mail", true, "setting.not_found"),
            ("tailscale", false, "setting.not_found"),
            ("nothing", true, "setting.not_found"),
        ] {
            assert_eq!(Setting::find(name, is_org).unwrap_err().code, code, "{name}");
        }
    }

    #[test]
    fn credentials_go_to_encrypted_places_or_stay_here() {
        for url in ["https://idp.example.org/", "http://127.0.0.1:8080", "http://[::1]:1/x", "http://localhost"] {
            assert!(is_safe_url(url), "{url}");
        }
        for url in ["http://idp.example.org", "https://", "ftp://x", "https://a@b", "http://localhost@evil.org", "x"] {
            assert!(!is_safe_url(url), "{url}");
        }
    }

    proptest! {
        // proves ORG-8
        #[test]
        fn a_secret_survives_storage_and_is_never_shown(password in "[!-~]{8,40}") {
            let values = filled(&password);
            prop_assert_eq!(&Values::from_text(mail().definition, &values.to_text()).unwrap(), &values);
            let shown: Vec<String> =
                mail().definition.fields.iter().filter_map(|field| values.shown(field.name)).map(|v| v.to_string()).collect();
            let debug = format!("{shown:?} {values:?}");
            let leaks = debug.contains(&password);
            prop_assert!(!leaks);
        }
    }
}
