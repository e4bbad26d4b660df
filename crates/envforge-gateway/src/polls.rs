//! What an open page asks by itself, again and again: a forgotten tab must not keep a runtime awake, nor wake it.
//!
//! A poll is a `GET` of one route by a script (browsers say so) that came at an even pace for a while; people don't click like
//! clockwork. From then on it stays one, also when it is refused and tried again at another pace, until the session
//! does something that no poll does: goes to a page, sends something, or asks for a route it did not ask for before.
//! Programs never poll in this sense: whoever runs one waits for the answer.

use http::{Method, Request};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;

/// So many gaps of about the same length make a poll.
const BEATS: u32 = 10;
/// What comes sooner after the one before is part of it: two widgets of a page ask for the same.
const AT_ONCE: SignedDuration = SignedDuration::from_millis(500);
/// Routes of one session that are looked at; of more, the one that was asked for longest ago is forgotten.
const ROUTES: usize = 64;

/// What one session asks for by script, by route.
#[derive(Debug, Default)]
pub(crate) struct Polls(Mutex<HashMap<u64, Rhythm>>);

#[derive(Debug, Clone, Copy)]
struct Rhythm {
    asked: Timestamp,
    gap: SignedDuration,
    beats: u32,
}

impl Polls {
    /// Whether this request is a poll. To be asked once of each request of the session.
    pub(crate) fn is_poll<B>(&self, request: &Request<B>, now: Timestamp) -> bool {
        let word = |name: &str| request.headers().get(name).map(http::HeaderValue::as_bytes);
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
        let mode = word("sec-fetch-mode");
        let is_act = !is_safe || mode == Some(b"navigate");
        let is_script =
            is_safe && mode.is_some() && mode != Some(b"websocket") && word("sec-fetch-dest") == Some(b"empty");
        if !is_act && !is_script {
            return false;
        }
        let mut routes = self.0.lock().expect("no panic while held");
        let route = route_of(request.uri().path());
        if is_script && let Some(rhythm) = routes.get_mut(&route) {
            return rhythm.ask(now);
        }
        // Somebody is there.
        for rhythm in routes.values_mut() {
            rhythm.beats = 0;
        }
        if is_script {
            let oldest = routes.iter().min_by_key(|(_, rhythm)| rhythm.asked).map(|(route, _)| *route);
            if let Some(oldest) = oldest.filter(|_| routes.len() >= ROUTES) {
                routes.remove(&oldest);
            }
            routes.insert(route, Rhythm { asked: now, gap: SignedDuration::ZERO, beats: 0 });
        }
        false
    }
}

impl Rhythm {
    fn ask(&mut self, now: Timestamp) -> bool {
        let gap = now.duration_since(self.asked);
        if gap >= AT_ONCE {
            if self.beats < BEATS {
                let is_even = (gap - self.gap).abs() * 4 <= self.gap;
                self.beats = if is_even { self.beats + 1 } else { 0 };
            }
            (self.asked, self.gap) = (now, gap);
        }
        self.beats >= BEATS
    }
}

/// Without the query, in which polls put the time.
fn route_of(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(polls: &Polls, method: &str, path: &str, mode: Option<&str>, millisecond: i64) -> bool {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(mode) = mode {
            let dest = if mode == "navigate" { "document" } else { "empty" };
            request = request.header("sec-fetch-mode", mode).header("sec-fetch-dest", dest);
        }
        let now = Timestamp::from_millisecond(millisecond).expect("in range");
        polls.is_poll(&request.body(()).expect("a request"), now)
    }

    /// Asks every five seconds, with the jitter of an answer's time, up to the time it is a poll.
    fn polling(polls: &Polls, from: i64) -> i64 {
        for beat in 0..=i64::from(BEATS) {
            let at = from + beat * 5_000 + beat % 3 * 90;
            assert!(!ask(polls, "GET", &format!("/api/news?at={beat}"), Some("cors"), at), "beat {beat}");
        }
        let now = from + (i64::from(BEATS) + 1) * 5_000;
        assert!(ask(polls, "GET", "/api/news", Some("cors"), now));
        now
    }

    // proves RUN-4
    #[test]
    fn what_a_page_asks_like_clockwork_is_a_poll_until_somebody_is_there() {
        for (method, path, mode) in [
            ("GET", "/", Some("navigate")),
            ("POST", "/api/news", Some("cors")),
            ("GET", "/api/other", Some("same-origin")),
        ] {
            let polls = Polls::default();
            let now = polling(&polls, 0);
            // Refused, it is tried again at another pace; at once; and after a night.
            for later in [1_000, 1_100, 3_000, 7_000, 36_000_000] {
                assert!(ask(&polls, "GET", "/api/news", Some("cors"), now + later), "{later} later");
            }
            assert!(!ask(&polls, method, path, mode, now + 36_000_100));
            polling(&polls, now + 37_000_000);
        }
    }

    // proves RUN-4
    #[test]
    fn people_and_programs_do_not_poll() {
        let polls = Polls::default();
        let mut now = 0;
        for click in 0..40 {
            now += [3_000, 900, 7_000, 20_000][click % 4];
            assert!(!ask(&polls, "GET", "/api/search", Some("cors"), now), "click {click}");
        }
        for second in 0..40 {
            assert!(!ask(&polls, "GET", "/wait", None, second * 1_000), "a program waits for its answer");
            assert!(!ask(&polls, "GET", "/", Some("navigate"), second * 1_000), "a reload");
        }
        for route in 0..1_000 {
            ask(&polls, "GET", &format!("/{route}"), Some("cors"), now + route);
        }
        assert_eq!(polls.0.lock().unwrap().len(), ROUTES);
    }
}
