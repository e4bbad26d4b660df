//! The phases of a request, in the order in which they run; a file each.
//!
//! Each phase either hands the request on or refuses it, and the order is the safety argument: nothing is
//! asked of the server before a session is verified, and nothing is woken before the policy allows the request.

pub(crate) mod answer;
mod deliver;
pub(crate) mod forward;
pub(crate) mod headers;
mod label;
mod member;
pub(crate) mod policy;
pub(crate) mod refused;
pub(crate) mod rewrite;
pub(crate) mod route;
pub(crate) mod session;
mod span;
pub(crate) mod wake;

use crate::access_log::{Asked, Entry, METHOD_MAX, Notes};
use crate::body::{AnswerBody, ClientBody};
use crate::hints::Hints;
use crate::serve::Client;
use crate::sessions::Admitted;
use crate::shared::Shared;
use crate::stats::{Outcome, Phase};
use crate::{entry, own, share};
use answer::Audience;
use deliver::{Delivery, Manners};
use forward::Outgoing;
use http::{Request, Response, Uri, Version};
use refused::Refused;
use span::WaitSpan;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::time::Instant;
use wake::Hold;

/// Answers a request, whatever it is. The answer carries its line of the access log, if there is one.
pub(crate) async fn handle(
    shared: &Arc<Shared>,
    client: &Arc<Client>,
    hints: Option<Hints>,
    mut request: Request<ClientBody>,
) -> Response<AnswerBody> {
    let begun = Instant::now();
    shared.stats.requests.add();
    let asked = shared.access_log.as_ref().map(|log| (log, asked(shared, client, begun, &request)));
    let audience = Audience::of(&request);
    let address = client.address_of(request.headers(), &shared.config.trusted);
    let label = label_of(shared, client, &mut request);
    // Programs are shown no card that a member could sign in from.
    let place = (audience != Audience::Program).then(|| request.uri().clone());
    let mut notes = Notes::default();
    let outcome = match &label {
        Ok(label) => walk(shared, client, address, label, audience, hints, request, &mut notes).await,
        Err(refused) => own::of_gateway(shared, &request).ok_or_else(|| refused.clone()),
    };
    let mut answer =
        outcome.unwrap_or_else(|refused| refuse(shared, label.as_deref().ok(), address, audience, place, refused));
    if let AnswerBody::Upstream(_) | AnswerBody::Tunnel(_) = answer.body() {
        shared.stats.time(Phase::Answer, begun.elapsed());
    }
    if let Some((log, asked)) = asked {
        let label = label.as_deref().unwrap_or_default();
        let entry = Entry::new(log, asked, label, notes, answer.status().as_u16());
        answer.extensions_mut().insert(Arc::new(Mutex::new(entry)));
    }
    answer
}

fn asked<B>(shared: &Shared, client: &Client, begun: Instant, request: &Request<B>) -> Asked {
    Asked {
        at: shared.now(),
        begun,
        client: client.address_of(request.headers(), &shared.config.trusted).to_string(),
        method: request.method().as_str().chars().take(METHOD_MAX).collect(),
        path: request.uri().path().to_owned(),
        protocol: match request.version() {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        },
    }
}

/// Answers with a refusal, and counts it. Strangers who ask too often get less of an answer.
fn refuse(
    shared: &Shared,
    label: Option<&str>,
    address: IpAddr,
    audience: Audience,
    place: Option<Uri>,
    mut refused: Refused,
) -> Response<AnswerBody> {
    if let Refused::Unverified(reason) | Refused::NoEntry(reason) = refused {
        shared.stats.unverified.add();
        shared.unverified.count(label.unwrap_or_default(), reason);
    }
    let is_stranger = matches!(
        refused,
        Refused::Unverified(_) | Refused::NoEntry(_) | Refused::DeadLink { .. } | Refused::BadRequest(_)
    );
    if is_stranger && let Err(wait) = shared.strangers.take(address) {
        refused = Refused::TooMany(wait);
    }
    shared.stats.count(refused.outcome());
    if let Refused::WaitingPage(_) = refused {
        shared.stats.waiting_pages.add();
    }
    let sign_in = place.and_then(|place| entry::sign_in_at(shared, &place));
    answer::refuse_or_sign_in(audience, &refused, sign_in.as_deref())
}

#[expect(clippy::too_many_arguments, reason = "all that is known of a request when it sets out")]
async fn walk(
    shared: &Arc<Shared>,
    client: &Arc<Client>,
    address: IpAddr,
    label: &Arc<str>,
    audience: Audience,
    hints: Option<Hints>,
    request: Request<ClientBody>,
    notes: &mut Notes,
) -> Result<Response<AnswerBody>, Refused> {
    if !shared.lease.holds() {
        return Err(Refused::LeaseOver);
    }
    if let Some(token) = share::token_of(request.uri().path()).map(str::to_owned) {
        shared.strangers.take(address).map_err(Refused::TooMany)?;
        let answer = share::answer(shared, label, &token, request).await;
        if answer.is_ok() {
            shared.stats.count(Outcome::Share);
        }
        return answer;
    }
    if entry::is_entry(shared, request.uri().path()) {
        shared.strangers.take(address).map_err(Refused::TooMany)?;
        let answer = entry::answer(shared, label, &request).await;
        if answer.is_ok() {
            shared.stats.count(Outcome::Entry);
        }
        return answer;
    }
    let (admitted, via) = session::admit(shared, client, address, label, request.headers()).await?;
    admitted.pace.take(shared.config.limits.link_rate, shared.since).map_err(Refused::TooMany)?;
    if shared.access_log.is_some() {
        let claims = &admitted.claims;
        notes.whose = Some((claims.holder.to_string(), claims.session, claims.workspace));
    }
    let permit = policy::check(&request, via, &admitted.claims.routes)?;
    if own::is_own(request.uri().path()) {
        let answer = own::answer(shared, client, label, &admitted, &request).await;
        if answer.is_ok() {
            shared.stats.count(Outcome::Own);
        }
        return answer;
    }
    let is_poll = admitted.polls.is_poll(&request, shared.now());
    let wait = WaitSpan::new(&request, admitted.claims.workspace);
    let outgoing = Outgoing::new(hints, request, permit.websocket);
    let alarm = client.memo.alarm(&admitted);
    let hold = Hold::new(shared, audience == Audience::Navigation);
    let manners = Manners { is_poll, is_reconnect: !permit.may_start, websocket: permit.websocket };
    let woke = None;
    let mut delivery =
        Delivery { shared, client, admitted: &admitted, label, alarm: &alarm, outgoing, hold, wait, manners, woke };
    let outcome = {
        let mut running = pin!(delivery.run());
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = running.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            alarm.set(cx);
            if admitted.has_ended() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    };
    delivery.note(notes);
    match outcome {
        Some(outcome) if !admitted.has_ended() => outcome.map_err(|refused| member::tell(shared, &admitted, refused)),
        _ => {
            shared.stats.ended.add();
            Err(ended(shared, &admitted))
        }
    }
}

/// The label of a request, which is in its one form then.
fn label_of<B>(shared: &Shared, client: &Client, request: &mut Request<B>) -> Result<Arc<str>, Refused> {
    if let Some(label) = client.memo.label(request) {
        return Ok(label);
    }
    let label = label::of(request, &shared.config.dev_domain)?.into();
    client.memo.keep_label(request, &label);
    Ok(label)
}

/// What a request is told whose session ended while it was under way.
fn ended(shared: &Shared, admitted: &Admitted) -> Refused {
    if !shared.lease.holds() {
        return Refused::LeaseOver;
    }
    Refused::Unverified(admitted.why(shared.now()))
}
