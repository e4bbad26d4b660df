//! Showing, changing and restoring settings.

use super::jobs;
use super::store::{self, Version};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::bus::Nudge;
use crate::platform::db::{OrgScope, Tx};
use crate::platform::fault::Answer;
use crate::platform::http::auth::{Operator, Permit};
use crate::providers::identity::{ProviderConfig, Providers};
use crate::providers::mail::MailConfig;
use crate::providers::webhook::{self, Reach};
use crate::vault;
use envforge_api::http::settings::{
    ChangeSetting, RestoreSetting, Setting as Shown, SettingChange, SettingField, SettingSummary, SettingVersion,
    SettingVersions, Settings,
};
use envforge_core::id::UserId;
use envforge_core::refusal::Refusal;
use envforge_core::setting::{self, Change, DEFINITIONS, Kind, Setting, Value, Values};
use envforge_core::usage::price::HOLDS_AFTER;
use envforge_core::usage::{PriceList, PriceVersion, Prices};
use serde_json::json;
use std::collections::BTreeMap;

/// Longest reason, in bytes.
const REASON_MAX: usize = 500;
/// Most settings of one org, or of the installation.
const SETTINGS_MAX: usize = 200;
/// Versions shown, the newest.
const VERSIONS_SHOWN: i64 = 100;

/// Whose settings, and who asks.
#[derive(Debug, Clone)]
pub struct Owner {
    scope: Option<OrgScope>,
    user: UserId,
    actor: String,
}

impl From<&Permit> for Owner {
    fn from(permit: &Permit) -> Self {
        Self { scope: Some(permit.scope), user: permit.user, actor: permit.actor() }
    }
}

impl From<&Operator> for Owner {
    fn from(operator: &Operator) -> Self {
        Self { scope: None, user: operator.user, actor: operator.actor() }
    }
}

impl Owner {
    async fn begin(&self, app: &App) -> Answer<Tx> {
        match self.scope {
            Some(scope) => app.db.begin(scope).await,
            None => app.db.begin_installation().await,
        }
    }

    fn setting(&self, name: &str) -> Answer<Setting> {
        Ok(Setting::find(name, self.scope.is_some())?)
    }
}

/// The values of a setting in force in this transaction's org, or installation; `None` when it is not set.
pub async fn in_force(app: &App, tx: &mut Tx, setting: &Setting) -> Answer<Option<Values>> {
    match store::newest(tx, &setting.to_string()).await? {
        Some(version) => {
            Ok(Some(open(app, tx, setting, &version).await?).filter(|values| *values != Values::default()))
        }
        None => Ok(None),
    }
}

/// The settings of one definition that are in force, by name: all `oidc.…`.
pub async fn all_in_force(app: &App, tx: &mut Tx, definition: &str) -> Answer<Vec<(Setting, Values)>> {
    let mut settings = Vec::new();
    for version in store::newest_of_all(tx).await? {
        let Ok(setting) = Setting::find(&version.name, tx.org().is_some()) else { continue };
        if setting.definition.name == definition {
            let values = open(app, tx, &setting, &version).await?;
            if values != Values::default() {
                settings.push((setting, values));
            }
        }
    }
    Ok(settings)
}

/// All settings, also those never set.
pub async fn list(app: &App, owner: &Owner) -> Answer<Settings> {
    let mut tx = owner.begin(app).await?;
    let mut newest: BTreeMap<String, Version> =
        store::newest_of_all(&mut tx).await?.into_iter().map(|version| (version.name.clone(), version)).collect();
    let mut settings = Vec::new();
    let reach = if owner.scope.is_some() { setting::Reach::Org } else { setting::Reach::Installation };
    for definition in DEFINITIONS.iter().filter(|found| found.reach == reach || found.reach == setting::Reach::Both) {
        let names: Vec<String> = if definition.is_many {
            let prefix = format!("{}.", definition.name);
            newest.keys().filter(|name| name.starts_with(&prefix)).cloned().collect()
        } else {
            vec![definition.name.to_owned()]
        };
        for name in names {
            let setting = owner.setting(&name)?;
            let version = newest.remove(&name);
            let values = match &version {
                Some(version) => open(app, &mut tx, &setting, version).await?,
                None => Values::default(),
            };
            settings.push(summary(&setting, version.as_ref(), &values));
        }
    }
    Ok(Settings { settings })
}

/// One setting.
pub async fn show(app: &App, owner: &Owner, name: &str) -> Answer<Shown> {
    let setting = owner.setting(name)?;
    let mut tx = owner.begin(app).await?;
    let version = store::newest(&mut tx, &setting.to_string()).await?;
    let values = match &version {
        Some(version) => open(app, &mut tx, &setting, version).await?,
        None => Values::default(),
    };
    Ok(shown(&setting, version.as_ref(), &values))
}

/// Changes a setting.
pub async fn change(app: &App, owner: &Owner, name: &str, request: &ChangeSetting) -> Answer<Shown> {
    let setting = owner.setting(name)?;
    check_reason(&request.reason)?;
    let mut tx = owner.begin(app).await?;
    let (version, before) = newest(app, &mut tx, &setting, request.from_version).await?;
    if version == 0 && store::newest_of_all(&mut tx).await?.len() >= SETTINGS_MAX {
        let message = format!("there are {SETTINGS_MAX} settings already");
        return Err(Refusal::conflict("setting.too_many", message).into());
    }
    let after = before.changed(setting.definition, &request.values)?;
    add(app, owner, tx, &setting, Draft { version, before, after, reason: &request.reason, restored: None }).await
}

/// Takes a setting out of force. Its history stays.
pub async fn clear(app: &App, owner: &Owner, name: &str) -> Answer<Shown> {
    let setting = owner.setting(name)?;
    let mut tx = owner.begin(app).await?;
    let (version, before) = newest(app, &mut tx, &setting, None).await?;
    let draft = Draft { version, before, after: Values::default(), reason: "cleared", restored: None };
    add(app, owner, tx, &setting, draft).await
}

/// Makes an earlier version the newest again, with its secrets.
pub async fn restore(app: &App, owner: &Owner, name: &str, request: &RestoreSetting) -> Answer<Shown> {
    let setting = owner.setting(name)?;
    check_reason(&request.reason)?;
    let mut tx = owner.begin(app).await?;
    let Some(wanted) = store::version(&mut tx, &setting.to_string(), request.version).await? else {
        let message = format!("`{setting}` has no version {}", request.version);
        return Err(Refusal::not_found("setting.version", message).hint("its history lists them").into());
    };
    let after = open(app, &mut tx, &setting, &wanted).await?;
    let (version, before) = newest(app, &mut tx, &setting, None).await?;
    let restored = Some(request.version);
    add(app, owner, tx, &setting, Draft { version, before, after, reason: &request.reason, restored }).await
}

/// The versions of a setting, each compared with the one before it.
pub async fn history(app: &App, owner: &Owner, name: &str) -> Answer<SettingVersions> {
    let setting = owner.setting(name)?;
    let mut tx = owner.begin(app).await?;
    // One more than is shown, to compare the oldest with.
    let stored = store::versions(&mut tx, &setting.to_string(), VERSIONS_SHOWN + 1).await?;
    let mut later: Option<(Version, Values)> = None;
    let mut versions = Vec::new();
    for version in stored {
        let values = open(app, &mut tx, &setting, &version).await?;
        if let Some((later, after)) = later.replace((version, values.clone())) {
            versions.push(compared(later, &values, &after));
        }
    }
    if let Some((first, after)) = later.filter(|(version, _)| version.number == 1) {
        versions.push(compared(first, &Values::default(), &after));
    }
    Ok(SettingVersions { versions })
}

fn check_reason(reason: &str) -> Answer<()> {
    if reason.trim().is_empty() || reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        let message = format!("a change needs a reason: one line of at most {REASON_MAX} bytes");
        return Err(Refusal::invalid("setting.reason", message).into());
    }
    Ok(())
}

/// The newest version's number and values; 0 and nothing when there is none.
async fn newest(app: &App, tx: &mut Tx, setting: &Setting, wanted: Option<u64>) -> Answer<(u64, Values)> {
    let (version, values) = match store::newest(tx, &setting.to_string()).await? {
        Some(version) => (version.number, open(app, tx, setting, &version).await?),
        None => (0, Values::default()),
    };
    match wanted {
        Some(wanted) if wanted != version => Err(changed_meanwhile(setting)),
        _ => Ok((version, values)),
    }
}

fn changed_meanwhile(setting: &Setting) -> crate::platform::fault::Fault {
    Refusal::conflict("setting.changed", format!("`{setting}` was changed meanwhile, nothing was changed"))
        .hint("look at it again, then repeat the change")
        .into()
}

/// A version to be.
struct Draft<'a> {
    /// The newest version so far.
    version: u64,
    before: Values,
    after: Values,
    reason: &'a str,
    restored: Option<u64>,
}

async fn add(app: &App, owner: &Owner, mut tx: Tx, setting: &Setting, draft: Draft<'_>) -> Answer<Shown> {
    let Draft { version, before, after, reason, restored } = draft;
    let changes = before.changes(&after);
    if changes.is_empty() {
        return show(app, owner, &setting.to_string()).await;
    }
    if after != Values::default() {
        check(app, setting, &after).await?;
    }
    let name = setting.to_string();
    let sealed = vault::ops::seal(app, &mut tx, &place(&name, version + 1), &after.to_text()).await?;
    let new = Version {
        name: name.clone(),
        number: version + 1,
        sealed,
        reason: reason.to_owned(),
        restored,
        created_by: owner.user,
        created_at: app.now(),
    };
    if !store::insert(&mut tx, app.mint::<envforge_core::id::SettingVersionId>(), &new).await? {
        return Err(changed_meanwhile(setting));
    }
    if setting.definition.name == "prices" {
        hold_prices(app, &mut tx, &new, &before, &after, restored.is_some()).await?;
    }
    let fields: Vec<_> = changes.iter().map(|(field, _)| *field).collect();
    let details = json!({ "version": new.number, "fields": fields, "restored": restored });
    ledger::record(app, &mut tx, Entry::new(&owner.actor, "setting.changed", &name, reason).details(details)).await?;
    let org = tx.org();
    tx.nudge(Nudge::Setting { org });
    tx.commit().await?;
    if org.is_none() {
        jobs::apply_soon(app).await;
    }
    Ok(shown(setting, Some(&new), &after))
}

/// The prices and from when each version of them holds.
pub async fn price_list(app: &App, tx: &mut Tx) -> Answer<PriceList> {
    let versions = store::price_versions(tx).await?.into_iter().map(|(version, holds_from, prices)| {
        let prices = prices.unwrap_or_else(|| app.config.prices.clone());
        PriceVersion { version, holds_from: Some(holds_from), prices }
    });
    Ok(PriceList::new(app.config.prices.clone(), versions))
}

/// Writes down from when a new version of the prices holds. None holds from the past, and there is one currency.
async fn hold_prices(
    app: &App,
    tx: &mut Tx,
    new: &Version,
    before: &Values,
    after: &Values,
    is_restored: bool,
) -> Answer<()> {
    let earliest = new.created_at.checked_add(HOLDS_AFTER).map_err(anyhow::Error::new)?;
    let (prices, from) = if *after == Values::default() {
        (None, None)
    } else {
        let (prices, from) = Prices::from_setting(after)?;
        (Some(prices), from)
    };
    let is_named = !is_restored && before.text("from") != after.text("from");
    if let Some(from) = from.filter(|from| is_named && *from < new.created_at) {
        let message = format!("prices can't hold from {from}, which is over: what was billed does not change");
        return Err(Refusal::invalid("prices.past", message).hint("name an instant to come, or none").into());
    }
    let list = price_list(app, tx).await?;
    let currency = prices.as_ref().map_or(&app.config.prices.currency, |prices| &prices.currency);
    if let Some(other) = list.other_currency(currency) {
        let message = format!("there are prices in {other}; sums would be of two currencies");
        return Err(Refusal::conflict("prices.currency", message)
            .hint("another currency needs another installation")
            .into());
    }
    let holds_from = from.map_or(earliest, |from| from.max(earliest));
    store::insert_prices(tx, new.number, holds_from, prices.as_ref()).await
}

/// Refuses what whoever uses the setting could not use.
async fn check(app: &App, setting: &Setting, values: &Values) -> Answer<()> {
    let checked = match setting.definition.name {
        "mail" => MailConfig::from_setting(values).map(drop),
        "cap_webhook" => {
            webhook::check(values.text("url").unwrap_or_default(), webhook_reach(app).await?).map_err(|error| {
                Refusal::invalid("setting.value", format!("the field `url` can't be called: {error}"))
                    .hint("give an address on the internet, or ask the installation's operator")
            })
        }
        "oidc" => {
            let name = setting.instance().ok_or_else(|| Refusal::invalid("setting.name", "it has no name"))?;
            let config = ProviderConfig::from_setting(name.clone(), values)?;
            Providers::new(&app.config.public_url, &[config]).map(drop).map_err(|error| {
                Refusal::invalid("setting.value", format!("this identity provider can't be used: {error:#}"))
            })
        }
        _ => Ok(()),
    };
    Ok(checked?)
}

/// Where the installation lets webhooks lead.
pub async fn webhook_reach(app: &App) -> Answer<Reach> {
    let mut tx = app.db.begin_installation().await?;
    let values = in_force(app, &mut tx, &Setting::find("webhook_network", false)?).await?;
    let is_private = values.is_some_and(|values| matches!(values.get("private"), Some(Value::Flag(true))));
    Ok(if is_private { Reach::PrivateToo } else { Reach::Internet })
}

fn place(name: &str, version: u64) -> String {
    format!("setting/{name}/{version}")
}

/// Seals some versions anew that lie under a retired data key, of this transaction's org or of the installation; how many
/// there were.
pub async fn reseal(app: &App, tx: &mut Tx, most: i64) -> Answer<usize> {
    let found = store::to_reseal(tx, most).await?;
    for version in &found {
        let place = place(&version.name, version.number);
        let value = vault::ops::open(app, tx, &place, &version.sealed).await?;
        let sealed = vault::ops::seal(app, tx, &place, &value).await?;
        store::reseal(tx, version, &sealed).await?;
    }
    Ok(found.len())
}

async fn open(app: &App, tx: &mut Tx, setting: &Setting, version: &Version) -> Answer<Values> {
    let text = vault::ops::open(app, tx, &place(&version.name, version.number), &version.sealed).await?;
    Values::from_text(setting.definition, &text)
        .map_err(|error| anyhow::anyhow!("the stored setting `{setting}`: {error}").into())
}

fn summary(setting: &Setting, version: Option<&Version>, values: &Values) -> SettingSummary {
    SettingSummary {
        name: setting.to_string(),
        about: setting.definition.about.to_owned(),
        version: version.map_or(0, |version| version.number),
        is_set: *values != Values::default(),
        changed_by: version.map(|version| version.created_by),
        changed_at: version.map(|version| version.created_at),
    }
}

fn shown(setting: &Setting, version: Option<&Version>, values: &Values) -> Shown {
    let fields = setting.definition.fields.iter().map(|field| {
        let (kind, choices) = match field.kind {
            Kind::Text => ("text", &[][..]),
            Kind::Url => ("url", &[][..]),
            Kind::Number(..) => ("number", &[][..]),
            Kind::Flag => ("flag", &[][..]),
            Kind::Amount => ("amount", &[][..]),
            Kind::Choice(choices) => ("choice", choices),
            Kind::Secret => ("secret", &[][..]),
        };
        SettingField {
            name: field.name.to_owned(),
            about: field.about.to_owned(),
            kind: kind.to_owned(),
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
            is_required: field.is_required,
            is_set: values.get(field.name).is_some(),
            value: values.shown(field.name),
        }
    });
    Shown { summary: summary(setting, version, values), fields: fields.collect() }
}

fn compared(version: Version, before: &Values, after: &Values) -> SettingVersion {
    let changes = before.changes(after).into_iter().map(|(field, change)| {
        let change = match change {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        };
        let (before, after) = (before.shown(field), after.shown(field));
        SettingChange { field: field.to_owned(), change: change.to_owned(), before, after }
    });
    SettingVersion {
        version: version.number,
        changed_by: version.created_by,
        changed_at: version.created_at,
        reason: version.reason,
        restored: version.restored,
        changes: changes.collect(),
    }
}
