//! The phases of a request, in the order in which they run; a file each.
//!
//! Each phase either hands the request on or refuses it, and the order is the safety argument: nothing is
//! asked of the server before a session is verified, and nothing is woken before the policy allows the request.

pub(crate) mod answer;
mod deliver;
mod forward;
pub(crate) mod headers;
mod label;
pub(crate) mod policy;
pub(crate) mod refused;
pub(crate) mod route;
pub(crate) mod session;
mod span;
pub(crate) mod wake;

use crate::body::{AnswerBody, ClientBody};
use crate::hints::Hints;
use crate::serve::Client;
use crate::sessions::{Admitted, Unverified};
use crate::shared::Shared;
use crate::stats::Outcome;
use crate::{own, share};
use answer::Audience;
use deliver::Delivery;
use forward::Outgoing;
use http::{Request, Response};
use refused::Refused;
use span::WaitSpan;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use wake::Hold;

/// Answers a request, whatever it is.
pub(crate) async fn handle(
    shared: &Arc<Shared>,
    client: &Arc<Client>,
    hints: Option<Hints>,
    mut request: Request<ClientBody>,
) -> Response<AnswerBody> {
    shared.stats.requests.add();
    let audience = Audience::of(&request);
    let label = label_of(shared, client, &mut request);
    let outcome = match &label {
        Ok(label) => walk(shared, client, label, audience, hints, request).await,
        Err(refused) => match own::of_gateway(shared, &request) {
            Some(answer) => return answer,
            None => Err(refused.clone()),
        },
    };
    let refused = match outcome {
        Ok(response) => return response,
        Err(refused) => refused,
    };
    shared.stats.count(refused.outcome());
    match refused {
        Refused::Unverified(reason) => {
            shared.stats.unverified.add();
            shared.unverified.count(label.as_deref().unwrap_or_default(), reason);
        }
        Refused::WaitingPage(_) => shared.stats.waiting_pages.add(),
        _ => {}
    }
    answer::refuse(audience, &refused)
}

async fn walk(
    shared: &Arc<Shared>,
    client: &Arc<Client>,
    label: &Arc<str>,
    audience: Audience,
    hints: Option<Hints>,
    request: Request<ClientBody>,
) -> Result<Response<AnswerBody>, Refused> {
    if !shared.lease.holds() {
        return Err(Refused::LeaseOver);
    }
    if let Some(token) = share::token_of(request.uri().path()).map(str::to_owned) {
        let answer = share::answer(shared, label, &token, request).await;
        if answer.is_ok() {
            shared.stats.count(Outcome::Share);
        }
        return answer;
    }
    let (admitted, via) = session::admit(shared, client, label, request.headers()).await?;
    let permit = policy::check(&request, via, &admitted.claims.routes)?;
    if own::is_own(request.uri().path()) {
        let answer = own::answer(shared, client, label, &admitted, &request).await;
        if answer.is_ok() {
            shared.stats.count(Outcome::Own);
        }
        return answer;
    }
    let wait = WaitSpan::new(&request, admitted.claims.workspace);
    let outgoing = Outgoing::new(hints, request, permit.websocket);
    let alarm = client.memo.alarm(&admitted);
    let hold = Hold::new(shared, audience == Audience::Navigation);
    let may_start = permit.may_start;
    let mut delivery =
        Delivery { shared, client, admitted: &admitted, label, alarm: &alarm, outgoing, hold, wait, may_start };
    let mut running = pin!(delivery.run());
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(outcome) = running.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        alarm.set(cx);
        if admitted.has_ended() { Poll::Ready(None) } else { Poll::Pending }
    });
    match outcome.await {
        Some(outcome) if !admitted.has_ended() => outcome,
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
    Refused::Unverified(match admitted.why(shared.now()) {
        Unverified::Expired => Unverified::Expired,
        _ => Unverified::Revoked,
    })
}
