//! Secrets in every channel that takes one, real work and wrong uses of all of them, and a search of everything that was
//! written meanwhile.
//!
//! ```text
//!   plant ─► work, wrong uses ─► answers, dump, metrics, backup … as files ─► grep ─► found, but not allowed: a leak
//! ```
//!
//! [`plant`] puts values in, [`work`] uses and misuses them, [`places`] collects where they could have gone and says where each
//! of them may be: in the environment of the service that declares it, or in a file of keys that only its owner reads. That they
//! are found there is what shows that the search finds.

mod places;
mod plant;
mod work;

use super::sample::Member;
use crate::support::TestBox;
use envforge_testkit::{Planted, free_port};
use places::Places;
use plant::DECLARED;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A box whose values are known, and what it answered.
pub(super) struct Story<'a> {
    the_box: &'a TestBox,
    planted: Mutex<Planted>,
    kept: AtomicUsize,
}

impl Story<'_> {
    fn plant(&self, what: &str, value: &str) {
        self.planted.lock().unwrap().add(what, value);
    }

    /// Keeps what the system said, as a file that is looked through.
    fn keep(&self, what: &str, text: &str) {
        let number = self.kept.fetch_add(1, Ordering::Relaxed);
        let name: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        fs_err::write(self.the_box.scratch("said").join(format!("{number:04}-{name:.80}")), text).unwrap();
    }

    fn member(&self) -> Member<'_> {
        Member { the_box: self.the_box, slug: "main".to_owned() }
    }
}

// proves ORG-4, ORG-5, ORG-8, OPS-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_secrets_are_where_they_were_declared_and_nowhere_else() {
    let operator = format!("127.0.0.1:{}", free_port());
    let mut the_box = TestBox::new().with_env("ENVFORGE_LOG", "trace").with_env("ENVFORGE_LOG_FORMAT", "json");
    let app_key = plant::app_key(&the_box);
    let app = ["--github-app-id", "4711", "--github-app-key-file", app_key.to_str().unwrap()];
    the_box = the_box
        .with(&["--allow-elevation", "--metrics-listen", &operator, "--sign-up", "domain:example.org"])
        .with(&app);
    the_box.start().await;
    let story = Story { the_box: &the_box, planted: Mutex::default(), kept: AtomicUsize::new(0) };
    let world = plant::everything(&story, &app_key).await;
    work::services(&story).await;
    let elevation = work::root(&story).await;
    let made = work::people(&story, world, elevation).await;
    work::egress(&story).await;
    work::wrong_uses(&story).await;

    // What was refused is summed up in the ledger each minute, and when a server ends.
    let server = the_box.children()["server"];
    crate::support::signal(server, rustix::process::Signal::TERM);
    the_box.successor("server", server).await;
    story.member().all_ready().await;
    places::answers(&story, &made).await;
    places::verbs(&story, &made).await;
    places::metrics(&story, &operator).await;
    let places = Places::collect(&story).await;
    let planted = story.planted.into_inner().unwrap();
    let found = planted.find_in(&places.all);

    let (allowed, leaks): (Vec<_>, Vec<_>) = found.into_iter().partition(|leak| places.allows(leak));
    let leaks: Vec<String> = leaks.iter().map(ToString::to_string).collect();
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
    let is_found = |what: &str, place: &str| {
        allowed.iter().any(|leak| leak.what == what && leak.place.to_string_lossy().contains(place))
    };
    for (what, _) in DECLARED {
        assert!(is_found(what, "/environ"), "{what} is in its service, and the search does not see it");
    }
    for (what, place) in [
        ("secrets/server/key-encryption-key", "box/secrets/server/key-encryption-key"),
        ("secrets/server/key-encryption-key", "unpacked/secrets/server/key-encryption-key"),
        ("the workspace's database password", "/environ"),
        ("the host's key", "host/host.json"),
        ("an API key", "config/envforge/config.json"),
    ] {
        assert!(is_found(what, place), "{what} is in {place}, and the search does not see it");
    }
}
