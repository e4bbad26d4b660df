//! What people, services and strangers do with the values, right and wrong.

use super::Story;
use super::plant::{DECLARED, DESTINATION, MISTYPED, World};
use crate::stories::sample::{PATIENCE, nobody, on_socket, stranger};
use envforge_api::host::{REGISTER_PATH, Registered};
use envforge_api::http::accounts::{CreatedApiKey, CreatedHostToken};
use envforge_api::http::orgs::CreatedInvitation;
use envforge_api::http::runs::{Run, RunState};
use envforge_api::http::sign_in::{DeviceStarted, MachineKey};
use envforge_testkit::{Browser, Shell, wait_until_within};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// Ids that paths of the API name.
pub(super) struct Made {
    pub(super) run: String,
    pub(super) elevation: String,
    pub(super) secret: String,
    /// A browser's cookie of the server.
    pub(super) session: String,
}

/// Wakes the services; reads their logs; a job and a shell look for what they must not have.
pub(super) async fn services(story: &Story<'_>) {
    let (the_box, member) = (story.the_box, story.member());
    member.shell_ready().await;
    member.wake().await;
    member.all_ready().await;
    let folder = the_box.path().join("host/workspaces").join(member.show().await.unwrap().id.to_string());
    let password = || fs_err::read_to_string(folder.join("postgres.password")).unwrap();
    story.plant("the workspace's former database password", password().trim());
    let rotate = "/v1/orgs/local/workspaces/main/resources/postgres/rotate";
    let rotated: Value = the_box.client().post(rotate, &json!({})).await.unwrap();
    story.keep("a rotation", &rotated.to_string());
    member.all_ready().await;
    story.plant("the workspace's database password", password().trim());

    let link = member.link("keeper").await;
    story.plant("a link's token", &link.token);
    let mut browser = Browser::at(&link.url).unwrap();
    browser.open(&link.url).await.unwrap();
    story.plant("a link's session", browser.cookie().unwrap().split_once('=').unwrap().1);
    assert_eq!(browser.get("/").await.unwrap(), "has all", "the service has what it declares");
    let mut shell =
        Shell::attach(&format!("http://{}", the_box.listen), the_box.key().expose(), "local", "main").await.unwrap();
    shell.send("env >environment; cat /proc/*/environ >>environment 2>/dev/null; echo wrote-$((1+1))\r").await.unwrap();
    shell.expect("wrote-2").await.unwrap();
}

/// A run to its end.
async fn run(story: &Story<'_>, line: &str) -> Run {
    let (owner, runs) = (story.the_box.client(), "/v1/orgs/local/workspaces/main/runs");
    let begun: Run = owner.post(runs, &json!({ "argv": ["sh", "-c", line] })).await.unwrap();
    let path = format!("{runs}/{}", begun.id);
    wait_until_within("the run's end", PATIENCE, async || {
        matches!(owner.get::<Run>(&path).await, Ok(run) if matches!(run.state, RunState::Ended | RunState::Failed))
    })
    .await;
    begun
}

/// Signs a browser in by a form; its cookie.
async fn sign_in(story: &Story<'_>, path: &str, form: &str) -> String {
    let origin = format!("http://{}", story.the_box.listen);
    let request = stranger().post(format!("{origin}{path}")).header("origin", &origin).body(form.to_owned());
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    story.plant("a browser's session", cookie.split_once('=').unwrap().1);
    cookie
}

/// Invitations, keys, machines, browsers, hosts; and a job that reads what a service has.
pub(super) async fn people(story: &Story<'_>, mut world: World, elevation: String) -> Made {
    let (the_box, owner) = (story.the_box, story.the_box.client());
    let body = json!({ "role": "developer", "address": "ada@example.org" });
    let invited: CreatedInvitation = owner.post("/v1/orgs/local/invitations", &body).await.unwrap();
    story.plant("an invitation's token", &invited.token);
    assert!(world.mail.next().await.decoded().contains(&invited.token), "the mail server took it");
    let nobody = nobody(the_box);
    let _: Value = nobody.post("/v1/sign-in/mail", &json!({ "address": "ada@example.org" })).await.unwrap();
    let mail = world.mail.next().await.decoded();
    let token = mail
        .split("token=")
        .nth(1)
        .unwrap()
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
        .next()
        .unwrap();
    story.plant("a mailed link's token", token);
    sign_in(story, "/sign-in/mail/open", &format!("token={token}")).await;

    let key: CreatedApiKey = owner.post("/v1/api-keys", &json!({ "name": "laptop" })).await.unwrap();
    story.plant("an API key", &key.value);
    let file = the_box.scratch("tokens").join("key");
    fs_err::write(&file, &key.value).unwrap();
    let nowhere = the_box.scratch("nowhere");
    story.keep("login", &the_box.json(&nowhere, &["login", "--key-file", file.to_str().unwrap()]).await.to_string());
    fs_err::remove_file(&file).unwrap();

    let started: DeviceStarted = nobody.post("/v1/device/code", &json!({ "machine": "agent" })).await.unwrap();
    story.plant("a device code", &started.device_code);
    let decision = json!({ "user_code": started.user_code, "approve": true });
    let _: Value = owner.post("/v1/device/decision", &decision).await.unwrap();
    let body = json!({ "device_code": started.device_code });
    let machine: MachineKey = nobody.post("/v1/device/token", &body).await.unwrap();
    story.plant("a machine's key", &machine.value);

    let token: CreatedHostToken =
        owner.post("/v1/orgs/local/host-tokens", &json!({ "name": "another" })).await.unwrap();
    story.plant("a host's token", &token.token);
    let host: Registered =
        on_socket(the_box, "efhk_nobody").post(REGISTER_PATH, &json!({ "token": token.token })).await.unwrap();
    story.plant("another host's key", &host.key);

    let cookie = sign_in(story, "/sign-in/key", &format!("key={}", the_box.key().expose())).await;
    let line = "for p in $(pgrep -f keeper.mjs); do tr '\\0' '\\n' </proc/$p/environ; done | grep KEY; env | grep -v postgres:";
    let begun = run(story, line).await;
    let secret: Value = owner.get("/v1/orgs/local/secrets").await.unwrap();
    let secret = secret["secrets"][0]["id"].as_str().unwrap().to_owned();
    Made { run: begun.id.to_string(), elevation, secret, session: cookie }
}

/// A root terminal that shows what a service has; its elevation.
pub(super) async fn root(story: &Story<'_>) -> String {
    let (the_box, owner) = (story.the_box, story.the_box.client());
    let policy = json!({ "policy": { "mode": "workspace", "max_minutes": 60 } });
    let _: Value = owner.put("/v1/orgs/local/root-policy", &policy).await.unwrap();
    let body = json!({ "reason": "a story" });
    let elevation: Value = owner.post("/v1/orgs/local/workspaces/main/elevations", &body).await.unwrap();
    let elevation = elevation["id"].as_str().unwrap();
    let (server, key) = (format!("http://{}", the_box.listen), the_box.key());
    let mut root = Shell::elevated(&server, key.expose(), "local", elevation).await.unwrap();
    for (_, value) in DECLARED {
        root.send(&format!("printf '<%s>' '{value}'; printf '{value}' | base64\r")).await.unwrap();
        root.expect(&format!("<{value}>")).await.unwrap();
    }
    root.send("exit\r").await.unwrap();
    let path = format!("/v1/orgs/local/elevations/{elevation}/recording");
    wait_until_within("the recording's end", PATIENCE, async || {
        let Ok(answer) = owner.stream(&path).await else { return false };
        let text = answer.text().await.unwrap_or_default();
        text.contains("over: ") && text.contains("[secret STRIPE_KEY]")
    })
    .await;
    elevation.to_owned()
}

/// Requests that a credential is lent to; no name leads where they go.
pub(super) async fn egress(story: &Story<'_>) {
    let fetch = |host: &str| {
        format!(
            "node -e 'fetch(process.env.ENVFORGE_EGRESS_URL + \"/{host}/v1/x\").then(async (r) => console.log(r.status, await r.text()))'"
        )
    };
    let begun = run(story, &format!("{}; {}", fetch(DESTINATION), fetch("api.elsewhere.invalid"))).await;
    let path = format!("/v1/orgs/local/workspaces/main/runs/{}/logs", begun.id);
    let text = story.the_box.client().stream(&path).await.unwrap().text().await.unwrap();
    assert!(text.contains("egress.unreachable") && text.contains("egress.destination"), "it was lent: {text}");
}

async fn ask(story: &Story<'_>, what: &str, request: RequestBuilder) {
    let text = ask_by_name(what, request).await;
    story.keep(&format!("wrong {what}"), &text);
}

/// For what is named in the path: an answer may say which name it does not know.
async fn ask_by_name(what: &str, request: RequestBuilder) -> String {
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
    assert_ne!(status, 500, "{what}: {text}");
    text
}

/// Bodies, queries, paths, headers, cookies and forms with a value where none belongs.
pub(super) async fn wrong_uses(story: &Story<'_>) {
    let (the_box, api, key) = (story.the_box, stranger(), story.the_box.key());
    let server = format!("http://{}", the_box.listen);
    let document: Value = the_box.client().get("/v1/openapi.json").await.unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let names = path.replace("{org}", "local").replace("{workspace}", "main").replace("{project}", "notes");
            let to = |name: &str| {
                api.request(method.clone(), format!("{server}{}", fill(&names, name))).bearer_auth(key.expose())
            };
            let request = || to("nothing");
            if method == Method::GET && !path.ends_with("/events") && !path.ends_with("/terminal") {
                ask(story, path, request().query(&[("limit", MISTYPED), ("surplus", MISTYPED)])).await;
                ask_by_name(path, to(MISTYPED)).await;
            }
            if operation.get("requestBody").is_some() {
                for body in bodies(&document, operation) {
                    ask(story, path, request().header("content-type", "application/json").body(body)).await;
                }
            }
        }
    }
    let owner =
        |method: Method, path: &str| api.request(method, format!("{server}/v1/{path}")).bearer_auth(key.expose());
    for (method, path, body) in [
        (Method::POST, "device/token", json!({ "device_code": MISTYPED })),
        (Method::POST, "device/decision", json!({ "user_code": MISTYPED, "approve": true })),
        (Method::POST, "device/loopback", json!({ "code": MISTYPED, "code_verifier": MISTYPED })),
        (Method::POST, "invitations/accept", json!({ "token": MISTYPED, "name": "Eve" })),
        (Method::POST, "orgs/local/secrets", json!({ "name": MISTYPED, "value": MISTYPED })),
        (Method::POST, "orgs/local/secrets", json!({ "name": "A", "value": MISTYPED.repeat(5_000) })),
        (
            Method::POST,
            "orgs/local/projects",
            json!({ "slug": "p", "repository": format!("https://u:{MISTYPED}@git.example.org/a.git") }),
        ),
        (Method::PUT, "git-credentials", json!({ "host": format!("u:{MISTYPED}@git.example.org"), "token": MISTYPED })),
        (Method::PUT, "git-credentials", json!({ "host": "git.example.org", "token": format!("{MISTYPED}\n") })),
        (
            Method::PUT,
            "operator/settings/mail",
            json!({ "values": { "port": MISTYPED, "passwrod": MISTYPED }, "reason": "r" }),
        ),
        (
            Method::PUT,
            "operator/settings/llm.main",
            json!({ "values": { "base_url": format!("https://u:{MISTYPED}@x") }, "reason": "r" }),
        ),
        (Method::PUT, "operator/settings/mail", json!({ "values": { "password": { "is": MISTYPED } }, "reason": "r" })),
    ] {
        ask(story, path, owner(method, path).json(&body)).await;
    }
    let form = |path: &str, body: String| {
        let request = api.post(format!("{server}{path}")).header("origin", &server);
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    let host = format!("keeper--main--local.localhost:{}", the_box.gateway.port());
    let gateway = format!("http://{}", the_box.gateway);
    for request in [
        api.get(format!("{server}/v1/me")).bearer_auth(MISTYPED),
        api.get(format!("{server}/v1/me")).header("cookie", format!("envforge-session={MISTYPED}; a={MISTYPED}")),
        api.get(format!("{server}/device?user_code={MISTYPED}")),
        api.get(format!("{server}/sign-in/theirs/start?return_to=/{MISTYPED}")),
        api.get(format!("{server}/sign-in/theirs/callback?code={MISTYPED}&state={MISTYPED}")),
        form("/sign-in/key", format!("key={MISTYPED}")),
        api.get(format!("{gateway}/?x={MISTYPED}")).header("host", &host).header("envforge-link", MISTYPED),
        api.get(format!("{gateway}/")).header("host", &host).header("cookie", format!("envforge-session={MISTYPED}")),
        api.get(format!("{gateway}/share/{MISTYPED}")).header("host", &host),
        api.post(format!("{gateway}/share/{MISTYPED}")).header("host", &host),
    ] {
        ask(story, "page", request).await;
    }
    let _: Result<Value, _> = on_socket(the_box, MISTYPED).post(REGISTER_PATH, &json!({ "token": MISTYPED })).await;
}

/// A path whose parameters are all this.
fn fill(path: &str, with: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { with } else { part }).collect::<Vec<_>>().join("/")
}

/// Bodies an operation refuses: no JSON, another kind of JSON, what it does not know, and the value in every field.
fn bodies(document: &Value, operation: &Value) -> Vec<String> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    let name = schema.as_str().and_then(|it| it.rsplit('/').next()).unwrap_or_default();
    let mut every = serde_json::Map::new();
    for field in document["components"]["schemas"][name]["properties"].as_object().into_iter().flatten() {
        every.insert(field.0.clone(), json!(MISTYPED));
    }
    every.insert("zzz".to_owned(), json!(MISTYPED));
    let odd = [json!(MISTYPED), json!([MISTYPED]), json!({ "surplus": MISTYPED }), Value::Object(every)];
    odd.iter().map(Value::to_string).chain([format!("{{\"a\":\"{MISTYPED}")]).collect()
}
