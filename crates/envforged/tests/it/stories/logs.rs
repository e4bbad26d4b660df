//! The log at its most talkative tells an operator everything but what would let somebody in.

use super::sample::{Member, password_of, repository, secrets_of, stranger};
use crate::support::TestBox;
use envforge_api::http::accounts::CreatedApiKey;
use envforge_testkit::Browser;
use serde_json::{Value, json};

/// What is in no log, each with the name of what it is.
type Planted = Vec<(&'static str, String)>;

/// A member's key and queries, and a wrong key.
async fn use_the_api(the_box: &TestBox) -> CreatedApiKey {
    let made: CreatedApiKey = the_box.client().post("/v1/api-keys", &json!({ "name": "laptop" })).await.unwrap();
    for key in [made.value.as_str(), "efk_planted-secret-wrong-key"] {
        let url = format!("http://{}/v1/me?code=planted-secret-query-of-the-api", the_box.listen);
        let asked = stranger().get(url).header("cookie", "a=planted-secret-cookie-of-the-api");
        asked.header("authorization", format!("Bearer {key}")).send().await.unwrap();
    }
    made
}

/// A visitor with queries, bodies and a socket; and a stranger with what is no session.
async fn visit(the_box: &TestBox, url: &str, token: &str) {
    let mut browser = Browser::at(url).unwrap();
    browser.open(url).await.unwrap();
    browser.get("/?state=planted-secret-query-of-a-visitor").await.unwrap();
    browser.post("/api/notes", &json!({ "text": "planted-secret-body-of-a-visitor" })).await.unwrap();
    let mut socket = browser.websocket("/api/live?ticket=planted-secret-query-of-a-socket").await.unwrap();
    Browser::echo(&mut socket, "planted-secret-words-of-a-socket", "planted-secret-words-of-a-socket").await.unwrap();
    let host = url.split("://").nth(1).unwrap().split('/').next().unwrap();
    for (name, value) in [("envforge-link", token), ("cookie", "envforge-session=planted-secret-forged-session")] {
        let asked = stranger().get(format!("http://{}/?x=planted-secret-query-of-a-stranger", the_box.gateway));
        asked.header("host", host).header(name, value).send().await.unwrap();
    }
}

// proves OPS-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_lets_anybody_in_is_in_the_log() {
    let mut the_box = TestBox::new().with_env("ENVFORGE_LOG", "trace").with_env("ENVFORGE_LOG_FORMAT", "json");
    the_box.start().await;
    let of_the_box = secrets_of(&the_box.path()).into_iter();
    let mut planted: Planted = of_the_box.map(|(_, value)| ("a file in secrets/", value)).collect();
    let repository = repository(&the_box.scratch("notes"));
    let member = Member { the_box: &the_box, slug: "main".to_owned() };
    member.workspace(&repository, "main").await;
    member.wake().await;
    member.all_ready().await;
    let (code, said) = member.run("echo $DATABASE_URL").await;
    assert_eq!(code, 0, "{said}");
    let link = member.link("web").await;
    planted.extend([
        ("the owner's key", the_box.key().expose().to_owned()),
        ("a member's key", use_the_api(&the_box).await.value),
        ("a workspace's database password", password_of(said.trim()).unwrap()),
        ("a link's token", link.token.clone()),
        ("what was planted", "planted-secret-".to_owned()),
        ("a session's cookie", "envforge-session=".to_owned()),
    ]);
    visit(&the_box, &link.url, &link.token).await;
    member.sleep("stopped").await;

    let words = the_box.words();
    assert!(words.contains("\"level\":\"TRACE\""), "the log is at its most talkative");
    for line in words.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    let leak = |(what, secret): &(&str, String)| {
        let line = words.lines().find(|line| line.contains(secret))?;
        Some(format!("{what} is in the log: {line}"))
    };
    let leaks: Vec<String> = planted.iter().filter_map(leak).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
