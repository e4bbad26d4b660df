//! The GitHub App: tokens for one repository, and what each of GitHub's refusals becomes.

use crate::support::{FakeHost, TestServer, code, raw};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use envforge_api::client::{Address, CallError, Client};
use envforge_api::host::{AskGitCredential, GIT_CREDENTIAL_PATH, GIT_REJECTED_PATH, GitCredential};
use envforge_api::http::workspaces::Workspace;
use envforge_core::clock::Clock as _;
use envforge_core::refusal::Refusal;
use envforge_core::secret::Secret;
use envforge_server::GithubApp;
use envforge_server::providers::git_host::{GitApp as _, Github};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const URL: &str = "https://example.org/acme/planner.git";

/// A key of an App, as GitHub gives one out.
struct AppKey {
    pem: String,
    public: Vec<u8>,
}

impl AppKey {
    fn new() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        let public = key.public_key().as_ref().to_vec();
        Self { pem, public }
    }

    fn app(&self, api_url: &str) -> GithubApp {
        GithubApp {
            app_id: "12345".to_owned(),
            private_key: Secret::new(self.pem.clone()),
            url: "https://example.org".to_owned(),
            api_url: api_url.to_owned(),
        }
    }

    /// What a JWT says, if this key signed it.
    fn read(&self, jwt: &str) -> Value {
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public);
        key.verify(signed.as_bytes(), &signature).expect("the App's own signature");
        let (head, claims) = signed.split_once('.').unwrap();
        let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(json(head), json!({ "alg": "RS256", "typ": "JWT" }));
        json(claims)
    }
}

/// A GitHub that answers what the test says, and remembers what it was asked.
struct FakeGithub {
    url: String,
    answer: Arc<Mutex<(u16, &'static str, String)>>,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: tokio::task::JoinHandle<()>,
}

impl FakeGithub {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new((500, "", String::new()))), Arc::new(Mutex::new(Vec::new())));
        let (say, heard) = (Arc::clone(&answer), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"}}") {
                    let mut chunk = [0; 4096];
                    let count = stream.read(&mut chunk).await.unwrap();
                    request.extend_from_slice(&chunk[..count]);
                    if count == 0 {
                        break;
                    }
                }
                heard.lock().unwrap().push(String::from_utf8(request).unwrap());
                let (status, header, body) = say.lock().unwrap().clone();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\n{header}content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Self { url, answer, asked, _serving: serving }
    }

    fn answers(&self, status: u16, header: &'static str, body: &Value) {
        *self.answer.lock().unwrap() = (status, header, body.to_string());
    }

    fn mints(&self, token: &str, expires_at: jiff::Timestamp) {
        self.answers(201, "", &json!({ "token": token, "expires_at": expires_at }));
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A workspace of the App's host, and the host that runs it.
struct World {
    server: TestServer,
    github: FakeGithub,
    key: AppKey,
    host: FakeHost,
    workspace: Workspace,
}

impl World {
    async fn new() -> Self {
        let (github, key) = (FakeGithub::start().await, AppKey::new());
        let app = key.app(&github.url);
        let server = TestServer::configured(|config| config.github_app = Some(app)).await;
        let mut host = server.host().await;
        let project = json!({ "slug": "planner", "repository": URL });
        let _: Value = server.owner.post("/v1/orgs/acme/projects", &project).await.unwrap();
        let workspace = server.named_workspace_of(&mut host, "planner", "main").await;
        Self { server, github, key, host, workspace }
    }

    async fn installed(&self) {
        let body = json!({ "account": "Acme", "installation": 77 });
        let _: Value = self.server.owner.put("/v1/git-installations/acme", &body).await.unwrap();
    }

    async fn call<T: serde::de::DeserializeOwned>(&self, path: &str, url: &str) -> Result<T, Refusal> {
        let key = Secret::new(self.host.registered.key.clone());
        let line = Client::new(&Address::Socket(self.server.path("server.sock")), Some(key)).unwrap();
        let host_generation = self.host.generation;
        let ask = AskGitCredential { host_generation, workspace: self.workspace.id, url: url.to_owned() };
        line.post(path, &ask).await.map_err(CallError::into_refusal)
    }

    async fn ask(&self, url: &str) -> Result<GitCredential, Refusal> {
        self.call(GIT_CREDENTIAL_PATH, url).await
    }

    fn in_an_hour(&self) -> jiff::Timestamp {
        self.server.clock.now() + jiff::SignedDuration::from_hours(1)
    }
}

// proves UP-10
#[tokio::test]
async fn the_app_mints_for_one_repository_and_again_before_the_end() {
    let world = World::new().await;
    world.github.mints("ghs_first", world.in_an_hour());
    assert_eq!(world.ask(URL).await.map(|_| ()).unwrap_err().code, "git.no_credential", "not installed for the org");
    world.installed().await;

    let given = world.ask(URL).await.unwrap();
    assert_eq!((given.username.as_str(), given.password.as_str()), ("x-access-token", "ghs_first"));
    assert_eq!(given.expires_at, Some(world.in_an_hour()));
    let request = world.github.asked().pop().unwrap();
    assert!(request.starts_with("POST /app/installations/77/access_tokens HTTP/1.1"), "{request}");
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body, json!({ "repositories": ["planner"], "permissions": { "contents": "write" } }));
    let bearer = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
    let claims = world.key.read(bearer);
    let now = world.server.clock.now().as_second();
    assert_eq!(claims, json!({ "iat": now - 60, "exp": now + 540, "iss": "12345" }));

    // Kept until a minute before its end, then minted anew.
    world.server.advance(3_539);
    assert_eq!(world.ask("https://example.org/Acme/planner").await.unwrap().password, "ghs_first");
    assert_eq!(world.github.asked().len(), 1);
    world.github.mints("ghs_second", world.in_an_hour());
    world.server.advance(1);
    assert_eq!(world.ask(URL).await.unwrap().password, "ghs_second");

    // Rejected by Git: minted anew, but not more than once a minute.
    world.github.mints("ghs_third", world.in_an_hour());
    for (later, expected) in [(0, "ghs_second"), (60, "ghs_third")] {
        world.server.advance(later);
        let () = world.call(GIT_REJECTED_PATH, URL).await.unwrap();
        assert_eq!(world.ask(URL).await.unwrap().password, expected);
    }

    // Any other repository of that host is the person's own business.
    for url in ["https://example.org/acme/theme", "https://example.org/rival/planner"] {
        assert_eq!(world.ask(url).await.map(|_| ()).unwrap_err().code, "git.no_credential", "{url}");
    }
    let own = json!({ "host": "example.org", "token": "own" });
    let _: Value = world.server.owner.put("/v1/git-credentials", &own).await.unwrap();
    assert_eq!(world.ask("https://example.org/acme/theme").await.unwrap().password, "own");
    assert_eq!(world.ask(URL).await.unwrap().password, "ghs_third", "the App comes first");
    let _: Value = world.server.owner.delete("/v1/git-installations/acme").await.unwrap();
    assert_eq!(world.ask(URL).await.unwrap().password, "own");
}

// proves UP-10
#[tokio::test]
async fn each_of_githubs_refusals_says_what_to_do() {
    let world = World::new().await;
    world.installed().await;
    let said = |message: &str| json!({ "message": message });
    for (status, header, message, expected, hint) in [
        (401, "", "A JSON web token could not be decoded", "git.app_rejected", "--github-app-key-file"),
        (403, "", "This installation has been suspended", "git.app_suspended", "suspension"),
        (403, "x-ratelimit-remaining: 0\r\n", "API rate limit exceeded", "git.rate_limited", "later"),
        (403, "retry-after: 7\r\n", "You have exceeded a secondary rate limit", "git.rate_limited", "later"),
        (429, "retry-after: 7\r\n", "Too many requests", "git.rate_limited", "later"),
        (404, "", "Not Found", "git.app_not_installed", "installs it"),
        (422, "", "There is at least one repository that does not exist", "git.app_no_access", "contents: write"),
        (502, "", "Bad gateway", "git.host_unreachable", "again"),
        (302, "location: http://127.0.0.1:1/\r\n", "Moved", "git.app_refused", "settings"),
    ] {
        world.github.answers(status, header, &said(message));
        let refusal = world.ask(URL).await.map(|_| ()).unwrap_err();
        assert_eq!(refusal.code, expected, "{status} {message}: {refusal:?}");
        assert!(refusal.hint.as_ref().is_some_and(|text| text.contains(hint)), "{refusal:?}");
        if header.starts_with("retry-after") {
            assert_eq!(refusal.retry_after, Some(7));
        }
    }
    // What can't be minted does not stand in the way of one's own.
    let own = json!({ "host": "example.org", "token": "own" });
    let _: Value = world.server.owner.put("/v1/git-credentials", &own).await.unwrap();
    assert_eq!(world.ask(URL).await.unwrap().password, "own");
}

#[tokio::test]
async fn an_installation_is_the_operators_word() {
    let server = TestServer::start().await;
    let path = "/v1/git-installations/acme";
    for body in [
        json!({ "account": "", "installation": 1 }),
        json!({ "account": "a/b", "installation": 1 }),
        json!({ "account": "acme", "installation": 0 }),
        json!({ "account": "acme", "installation": u64::MAX }),
    ] {
        assert_eq!(code(server.owner.put::<_, Value>(path, &body).await), "git_installation.invalid", "{body}");
    }
    let good = json!({ "account": "acme", "installation": 1 });
    let missing = server.owner.put::<_, Value>("/v1/git-installations/nobody", &good).await;
    assert_eq!(code(missing), "git_installation.no_org");
    for _ in 0..2 {
        let _: Value = server.owner.put(path, &good).await.unwrap();
        let _: Value = server.owner.delete(path).await.unwrap();
        let _: Value = server.owner.delete(path).await.unwrap();
    }
    assert_eq!((server.events("git_installation.set").await, server.events("git_installation.removed").await), (2, 2));
}

#[test]
fn a_key_that_is_none_is_told_at_the_start() {
    let mut app = AppKey::new().app("http://127.0.0.1:1");
    app.private_key = Secret::new("-----BEGIN PRIVATE KEY-----\nbm90aGluZw==\n-----END PRIVATE KEY-----".to_owned());
    let error = Github::new(&app).err().expect("refused").to_string();
    assert!(error.contains("private key must be the PEM file"), "{error}");
}

// proves UP-10
#[tokio::test]
async fn what_is_sent_is_what_githubs_own_description_allows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/github");
    let prism = folder.join("node_modules/.bin/prism");
    if !prism.exists() {
        eprintln!("SKIPPED: {} is not installed: `npm ci --ignore-scripts` in {}", prism.display(), folder.display());
        return;
    }
    let port = envforge_testkit::free_port();
    #[expect(clippy::disallowed_methods, reason = "the server that answers by GitHub's description")]
    let mut command = tokio::process::Command::new(&prism);
    command.args(["mock", "--host", "127.0.0.1", "--port", &port.to_string()]);
    command.arg("node_modules/@octokit/openapi/generated/api.github.com.json").current_dir(&folder);
    let _mock = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let limit = std::time::Duration::from_mins(2);
    envforge_testkit::wait_until_within("the mock reads GitHub's description", limit, async || {
        raw().get(format!("{url}/zen")).send().await.is_ok()
    })
    .await;
    let github = Github::new(&AppKey::new().app(&url)).unwrap();
    // It answers a request that keeps to the description with a token, and any other with 422.
    let minted = github.token(77, "acme/planner", jiff::Timestamp::UNIX_EPOCH).await;
    assert!(minted.unwrap().token.expose().starts_with("ghs_"));
    let bad = json!({ "repositories": "planner", "permissions": { "contents": "everything" } });
    let refused = raw().post(format!("{url}/app/installations/77/access_tokens")).json(&bad).send().await.unwrap();
    let violations = refused.headers().get("sl-violations").map(|value| value.to_str().unwrap().to_owned());
    assert!(violations.is_some_and(|text| text.contains("request")), "the mock does check requests");
}
