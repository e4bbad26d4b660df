//! Puts the mail server and the identity providers of the settings in use.

use super::ops;
use crate::app::App;
use crate::platform::bus::Nudge;
use crate::platform::fault::Answer;
use crate::providers::identity::ProviderConfig;
use crate::providers::mail::MailConfig;
use envforge_core::refusal::Refusal;
use envforge_core::setting::Setting;
use std::time::Duration;
use tokio::sync::Mutex;

/// When it is tried again after it failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Whether the settings are in use as they are stored; held while they are put in use, so that the last one to do it
/// has read the newest.
#[derive(Debug, Default)]
pub struct InUse(Mutex<bool>);

/// Goes on for ever.
pub async fn run(app: App) {
    let mut listener = app.bus.listen();
    apply_soon(&app).await;
    loop {
        let is_current = *app.in_use.0.lock().await;
        tokio::select! {
            nudge = listener.next() => {
                if matches!(nudge, Nudge::Setting { org: None } | Nudge::Resync) {
                    apply_soon(&app).await;
                }
            }
            () = tokio::time::sleep(AGAIN), if !is_current => apply_soon(&app).await,
        }
    }
}

/// Puts the settings in use; if that fails, it is tried again by [`run`].
pub(crate) async fn apply_soon(app: &App) {
    let mut is_current = app.in_use.0.lock().await;
    let applied = apply(app).await;
    *is_current = applied.is_ok();
    if let Err(fault) = applied {
        tracing::error!(%fault, "changed settings can't be put in use now, it will be tried again");
    }
}

async fn apply(app: &App) -> Answer<()> {
    let mut tx = app.db.begin_installation().await?;
    let mail = ops::in_force(app, &mut tx, &Setting::find("mail", false)?).await?;
    let providers = ops::all_in_force(app, &mut tx, "oidc").await?;
    drop(tx);
    // What this version can't read keeps nothing else from being used.
    let unreadable = |setting: &dyn std::fmt::Display, refusal: &Refusal| {
        tracing::error!(%setting, cause = %refusal.message, "a setting can't be used");
    };
    let mail = mail
        .and_then(|values| MailConfig::from_setting(&values).inspect_err(|refusal| unreadable(&"mail", refusal)).ok());
    app.mailer.replace(mail.as_ref().or(app.config.mail.as_ref()))?;
    let mut all = app.config.identity_providers.clone();
    for (setting, values) in providers {
        let Some(name) = setting.instance() else { continue };
        if all.iter().any(|configured| configured.name == *name) {
            tracing::warn!(%setting, "a setting is not used: the server was started with a provider of this name");
            continue;
        }
        match ProviderConfig::from_setting(name.clone(), &values) {
            Ok(config) => all.push(config),
            Err(refusal) => unreadable(&setting, &refusal),
        }
    }
    Ok(app.identity.replace(&all)?)
}
