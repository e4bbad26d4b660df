//! Machines ask, people decide, machines fetch their key.

use super::store::{self, Device, Shown};
use crate::accounts::{self, Identity};
use crate::app::App;
use crate::ledger::{self, Entry};
use crate::platform::db::Tx;
use crate::platform::fault::{Answer, Fault};
use envforge_api::ambient::opaque_token;
use envforge_api::http::sign_in::{DeviceStarted, MachineKey};
use envforge_api::pkce;
use envforge_core::access::Scopes;
use envforge_core::login::{DEVICE, Decision, DeviceGrant, LOOPBACK_CODE, MACHINE_KEY, Poll, UserCode, later};
use envforge_core::refusal::{Refusal, RefusalKind};
use envforge_core::secret::Secret;
use envforge_core::token::digest;
use serde_json::json;
use subtle::ConstantTimeEq as _;

/// Most machines of one source that may wait.
const WAITING_MAX: i64 = 20;
/// Longest name of a machine, in characters.
const MACHINE_MAX: usize = 64;
/// Length of a challenge: SHA-256 in unpadded base64url (RFC 7636, 4.2).
const CHALLENGE_LEN: usize = 43;

fn machine(name: &str) -> Answer<String> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > MACHINE_MAX || name.chars().any(char::is_control) {
        let message = format!("the name of a machine has 1 to {MACHINE_MAX} characters");
        return Err(Refusal::invalid("device.machine", message).into());
    }
    Ok(name.to_owned())
}

/// A machine begins to wait.
pub async fn start(app: &App, name: &str, source: &str) -> Answer<DeviceStarted> {
    let machine = machine(name)?;
    let mut tx = app.db.begin_installation().await?;
    if store::waiting_of(&mut tx, source).await? >= WAITING_MAX {
        return Err(Refusal::new(RefusalKind::Limit, "device.too_many", "too many machines of your network wait")
            .hint("wait some minutes")
            .retry_after(600)
            .into());
    }
    let device_code = opaque_token("", &*app.entropy);
    let grant = DeviceGrant::begin(app.now());
    let device = Device { id: app.mint(), machine, grant, user: None, challenge: None };
    let user_code = loop {
        let code = UserCode::generate(&*app.entropy);
        let shown = Shown { digest: digest(&device_code), user_code: Some(&code), source };
        if store::insert(&mut tx, &device, &shown).await? {
            break code;
        }
    };
    tx.commit().await?;
    let verification_uri = format!("{}/device", app.config.public_url);
    Ok(DeviceStarted {
        device_code,
        verification_uri_complete: format!("{verification_uri}?user_code={user_code}"),
        user_code: user_code.to_string(),
        verification_uri,
        expires_in: u32::try_from(DEVICE.as_secs()).unwrap_or(u32::MAX),
        interval: grant.interval,
    })
}

/// The machine that waits with this code.
pub async fn waiting(app: &App, code: &str) -> Answer<String> {
    let mut tx = app.db.begin_installation().await?;
    let device = find(&mut tx, code).await?;
    if device.grant.decision.is_some() || device.grant.expires_at <= app.now() {
        return Err(no_such());
    }
    Ok(device.machine)
}

fn no_such() -> Fault {
    Refusal::not_found("device.not_found", "no machine waits with this code")
        .hint("is it typed as shown? It works for 10 minutes")
        .into()
}

async fn find(tx: &mut Tx, code: &str) -> Answer<Device> {
    let code: UserCode = code.parse().map_err(|()| no_such())?;
    store::lock_by_user_code(tx, &code).await?.ok_or_else(no_such)
}

/// A key without limits comes of nothing less.
fn check_unlimited(identity: &Identity) -> Answer<()> {
    if *identity.credential.scopes() == Scopes::Unlimited {
        return Ok(());
    }
    let message = "a limited API key can't sign a machine in";
    Err(Refusal::new(RefusalKind::Forbidden, "access.scope", message).into())
}

/// A person decides.
pub async fn decide(app: &App, identity: &Identity, code: &str, decision: Decision) -> Answer<()> {
    check_unlimited(identity)?;
    let mut tx = app.db.begin_installation().await?;
    let mut device = find(&mut tx, code).await?;
    if !device.grant.decide(decision, app.now()) {
        return Err(no_such());
    }
    device.user = Some(identity.user);
    store::update(&mut tx, &device).await?;
    record_decision(app, &mut tx, identity, &device, decision).await?;
    tx.commit().await
}

async fn record_decision(
    app: &App,
    tx: &mut Tx,
    identity: &Identity,
    device: &Device,
    decision: Decision,
) -> Answer<()> {
    let actor = format!("user:{}", identity.user);
    let verb = if decision == Decision::Approved { "device.approved" } else { "device.denied" };
    let details = json!({ "machine": device.machine, "with": identity.credential.id().to_string() });
    ledger::record(app, tx, Entry::new(&actor, verb, device.id, "asked").details(details)).await
}

/// A machine polls.
pub async fn redeem(app: &App, device_code: &str) -> Answer<MachineKey> {
    let mut tx = app.db.begin_installation().await?;
    let expired = || Refusal::invalid("device.expired_token", "this took too long").hint("begin again");
    let found = store::lock_by_digest(&mut tx, &digest(device_code)).await?;
    let mut device = found.filter(|device| device.challenge.is_none()).ok_or_else(expired)?;
    let answer = device.grant.poll(app.now());
    let refusal = match answer {
        Poll::Approved => return key(app, tx, device).await,
        Poll::Expired => expired(),
        Poll::Denied => {
            Refusal::new(RefusalKind::Forbidden, "device.access_denied", "somebody said that this machine may not")
        }
        Poll::Pending => {
            let message = "nobody has allowed this machine yet";
            Refusal::invalid("device.authorization_pending", message).retry_after(device.grant.interval)
        }
        Poll::SlowDown(interval) => {
            Refusal::invalid("device.slow_down", "nobody has yet, and you ask too often").retry_after(interval)
        }
    };
    store::update(&mut tx, &device).await?;
    tx.commit().await?;
    Err(refusal.into())
}

/// Allows a program on the browser's own machine. The code that the browser brings to it.
pub async fn allow_loopback(
    app: &App,
    identity: &Identity,
    name: &str,
    challenge: &str,
    source: &str,
) -> Answer<Secret> {
    check_unlimited(identity)?;
    let is_challenge = challenge.len() == CHALLENGE_LEN
        && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !is_challenge {
        return Err(Refusal::invalid("device.challenge", "the program sent no PKCE challenge (S256)").into());
    }
    let code = Secret::new(opaque_token("", &*app.entropy));
    let grant = DeviceGrant {
        expires_at: later(app.now(), LOOPBACK_CODE),
        decision: Some(Decision::Approved),
        ..DeviceGrant::begin(app.now())
    };
    let device = Device {
        id: app.mint(),
        machine: machine(name)?,
        grant,
        user: Some(identity.user),
        challenge: Some(challenge.to_owned()),
    };
    let mut tx = app.db.begin_installation().await?;
    let shown = Shown { digest: digest(code.expose()), user_code: None, source };
    store::insert(&mut tx, &device, &shown).await?;
    record_decision(app, &mut tx, identity, &device, Decision::Approved).await?;
    tx.commit().await?;
    Ok(code)
}

/// A program redeems the code its browser brought. A wrong verifier uses the code up.
pub async fn redeem_loopback(app: &App, code: &str, verifier: &str) -> Answer<MachineKey> {
    let refused = || Refusal::invalid("device.code", "this code does not work any more").hint("begin again");
    let mut tx = app.db.begin_installation().await?;
    let found = store::lock_by_digest(&mut tx, &digest(code)).await?;
    let Some((device, challenge)) = found.and_then(|device| device.challenge.clone().map(|it| (device, it))) else {
        return Err(refused().into());
    };
    let shown = pkce::challenge(&Secret::new(verifier.to_owned()));
    let is_right: bool = shown.as_bytes().ct_eq(challenge.as_bytes()).into();
    if device.grant.expires_at <= app.now() || !is_right {
        store::delete(&mut tx, device.id).await?;
        tx.commit().await?;
        return Err(refused().into());
    }
    key(app, tx, device).await
}

/// Makes the key of a machine that was allowed, and forgets that it waited.
async fn key(app: &App, mut tx: Tx, device: Device) -> Answer<MachineKey> {
    let Some(user) = device.user else { return Err(no_such()) };
    store::delete(&mut tx, device.id).await?;
    let expires_at = later(app.now(), MACHINE_KEY);
    let made = accounts::ops::insert_key(app, &mut tx, user, &device.machine, Some(expires_at), "device").await?;
    tx.commit().await?;
    Ok(MachineKey { id: made.id, name: device.machine, value: made.value, expires_at })
}
