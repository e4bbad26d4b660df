//! What is changed in answers because the manifest asks for it, and only then.

use crate::support::scripted::{Do, say};
use crate::support::{Declared, Plan, World};
use envforge_core::manifest::Rewrite;
use envforge_gateway::Scheme;

const ANSWER: &str = "HTTP/1.1 302 Found\r\nlocation: http://localhost:3000/next?a\r\n\
    content-location: https://web/here\r\nrefresh: 1; url=http://127.0.0.1:3000/soon\r\n\
    set-cookie: a=1; Path=/x; Secure; SameSite=None; Domain=localhost\r\ncontent-length: 0\r\n\r\n";

/// What a client sees of it.
async fn seen(rewrite: &[Rewrite], scheme: Scheme) -> [String; 4] {
    let declared = Declared { rewrite: rewrite.iter().copied().collect(), port: Some(3000), ..Declared::default() };
    let world = World::new(Plan { scheme, declared, ..Plan::default() }).await;
    world.scripted(vec![Do::Until("\r\n\r\n"), say(ANSWER)]).await;
    let name = if scheme == Scheme::Http { "envforge-session" } else { "__Host-envforge" };
    let cookie = format!("{name}={}", world.session(1));
    let answer = world.get("/", &[("cookie", &cookie)]).await;
    assert_eq!(answer.status, 302);
    ["location", "content-location", "refresh", "set-cookie"].map(|name| answer.header(name).to_owned())
}

// proves LINK-3
#[tokio::test]
async fn answers_are_rewritten_as_the_manifest_asks_and_not_otherwise() {
    let kept = ["http://localhost:3000/next?a", "https://web/here", "1; url=http://127.0.0.1:3000/soon"];
    let own = ["/next?a", "/here", "1; url=/soon"];
    let (as_set, plain) = ("a=1; Path=/x; Secure; SameSite=None", "a=1; Path=/x; SameSite=Lax");
    let with = |references: [&str; 3], cookie: &str| {
        let [location, content, refresh] = references.map(str::to_owned);
        [location, content, refresh, cookie.to_owned()]
    };
    assert_eq!(seen(&[], Scheme::Http).await, with(kept, as_set));
    assert_eq!(seen(&[Rewrite::Redirects], Scheme::Http).await, with(own, as_set));
    assert_eq!(seen(&[Rewrite::Cookies], Scheme::Http).await, with(kept, plain));
    assert_eq!(seen(&Rewrite::ALL, Scheme::Https).await, with(own, as_set));
}
