//! A team's repository with the small application, and the steps every story takes.

use crate::support::TestBox;
use envforge_api::client::{Address, CallError, Client};
use envforge_api::http::activity::Why;
use envforge_api::http::links::CreatedLink;
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::Workspace;
use envforge_core::readiness::ReadinessState;
use envforge_core::runtime::RuntimeState;
use envforge_core::secret::Secret;
use envforge_testkit::{Browser, wait_until_within};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Long enough for two cores that run other stories as well.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A small, well-mixed generator (SplitMix64, Steele, Lea and Flood 2014), so that a seed repeats a run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

const FILES: [(&str, &str); 4] = [
    ("envforge.yml", include_str!("app/envforge.yml")),
    ("web.mjs", include_str!("app/web.mjs")),
    ("api.mjs", include_str!("app/api.mjs")),
    ("page.html", include_str!("app/page.html")),
];

/// A Git repository with the application, on branch `main`.
pub(crate) fn repository(folder: &Path) -> PathBuf {
    for (name, text) in FILES {
        fs_err::write(folder.join(name), text).unwrap();
    }
    git(folder, &["init", "--quiet", "--initial-branch=main"]);
    commit(folder, "The application");
    folder.to_owned()
}

/// Commits everything in a repository.
pub(crate) fn commit(folder: &Path, message: &str) {
    git(folder, &["add", "--all"]);
    let identity = ["-c", "user.name=Story", "-c", "user.email=story@envforge.invalid"];
    git(folder, &[&identity[..], &["commit", "--quiet", "--allow-empty", "-m", message]].concat());
}

fn git(folder: &Path, arguments: &[&str]) {
    #[expect(clippy::disallowed_methods, reason = "a team's own Git")]
    let status = std::process::Command::new("git").arg("-C").arg(folder).args(arguments).status().unwrap();
    assert!(status.success(), "git {arguments:?}");
}

/// A client of a box's API that shows this key.
pub(crate) fn client(the_box: &TestBox, key: &str) -> Client {
    Client::new(&Address::Url(format!("http://{}", the_box.listen)), Some(Secret::new(key.to_owned()))).unwrap()
}

/// A client of somebody who has no key.
pub(crate) fn nobody(the_box: &TestBox) -> Client {
    Client::new(&Address::Url(format!("http://{}", the_box.listen)), None).unwrap()
}

/// A client on the socket that hosts and gateways speak to.
pub(crate) fn on_socket(the_box: &TestBox, key: &str) -> Client {
    let socket = the_box.path().join("run/internal/server.sock");
    Client::new(&Address::Socket(socket), Some(Secret::new(key.to_owned()))).unwrap()
}

/// A program that is no client of the product, and goes where it is told.
pub(crate) fn stranger() -> reqwest::Client {
    #[expect(clippy::disallowed_methods, reason = "a stranger is no client of the product")]
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// The password of a URL.
pub(crate) fn password_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    Some(rest.split_once('@')?.0.split_once(':')?.1.to_owned())
}

/// Every secret that a box made for itself, each with its file.
pub(crate) fn secrets_of(root: &Path) -> Vec<(PathBuf, String)> {
    let folders = ["server", "gateway", "host", "database"].into_iter();
    let files = folders.flat_map(|folder| fs_err::read_dir(root.join("secrets").join(folder)).unwrap());
    let read = |path: PathBuf| {
        let text = fs_err::read_to_string(&path).unwrap().trim().to_owned();
        (path, password_of(&text).unwrap_or(text))
    };
    files.map(|file| read(file.unwrap().path())).collect()
}

/// A member at a box, in the workspace of one branch.
pub(crate) struct Member<'a> {
    pub(crate) the_box: &'a TestBox,
    pub(crate) slug: String,
}

impl Member<'_> {
    fn client(&self) -> Client {
        self.the_box.client()
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/orgs/local/workspaces/{}{rest}", self.slug)
    }

    /// The project and a workspace of `branch`; asked again until the server answers, as a person would.
    pub(crate) async fn workspace(&self, repository: &Path, branch: &str) {
        let project = json!({ "slug": "notes", "repository": repository });
        let workspace = json!({ "project": "notes", "branch": branch, "slug": self.slug });
        retry("a workspace", async || {
            let client = self.client();
            let _: serde_json::Value = client.post("/v1/orgs/local/projects", &project).await?;
            let _: Workspace = client.post("/v1/orgs/local/workspaces", &workspace).await?;
            Ok(())
        })
        .await;
    }

    pub(crate) async fn show(&self) -> Result<Workspace, CallError> {
        self.client().get(&self.path("")).await
    }

    /// Waits until the workspace is as wanted; says how it is if that does not come.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Workspace) -> bool) {
        self.until_within(what, PATIENCE, wanted).await;
    }

    /// The same with another patience: a minute with work counts to its end.
    pub(crate) async fn until_within(&self, what: &str, patience: Duration, wanted: impl Fn(&Workspace) -> bool) {
        let last = std::sync::Mutex::new(String::new());
        let seen = async || match self.show().await {
            Ok(workspace) if wanted(&workspace) => true,
            Ok(workspace) => {
                *last.lock().unwrap() = serde_json::to_string_pretty(&workspace).unwrap();
                false
            }
            Err(_) => false,
        };
        let waiting = std::panic::AssertUnwindSafe(wait_until_within(what, patience, seen));
        if let Err(panic) = futures_util::FutureExt::catch_unwind(waiting).await {
            panic!("{what}: {:?}; the workspace is\n{}", panic.downcast_ref::<String>(), last.lock().unwrap());
        }
    }

    pub(crate) async fn shell_ready(&self) {
        self.until("the shell is ready", |workspace| workspace.shell.state == ReadinessState::Ready).await;
    }

    pub(crate) async fn all_ready(&self) {
        self.until("everything is ready", |workspace| {
            workspace.runtime.state == RuntimeState::Awake
                && !workspace.parts.is_empty()
                && workspace.parts.iter().all(|part| part.state == ReadinessState::Ready)
        })
        .await;
    }

    pub(crate) async fn wake(&self) {
        retry("a wake", async || self.client().post::<_, Workspace>(&self.path("/wake"), &json!({})).await.map(drop))
            .await;
    }

    /// Asks that the runtime sleeps.
    pub(crate) async fn ask_for_sleep(&self, tier: &str) {
        let body = json!({ "tier": tier });
        retry("sleep", async || self.client().post::<_, Workspace>(&self.path("/sleep"), &body).await.map(drop)).await;
    }

    /// Puts the runtime to sleep and waits until it does.
    pub(crate) async fn sleep(&self, tier: &str) {
        self.ask_for_sleep(tier).await;
        let wanted = if tier == "frozen" { RuntimeState::Frozen } else { RuntimeState::Asleep };
        self.until("it sleeps", |workspace| workspace.runtime.state == wanted).await;
    }

    pub(crate) async fn link(&self, service: &str) -> CreatedLink {
        let body = json!({ "service": service });
        retry("a link", async || self.client().post(&self.path("/links"), &body).await).await
    }

    pub(crate) async fn why(&self) -> Why {
        retry("why", async || self.client().get(&self.path("/why")).await).await
    }

    pub(crate) async fn usage(&self) -> WorkspaceUsage {
        retry("usage", async || self.client().get(&self.path("/usage")).await).await
    }

    /// Runs a line in the runtime, as `envforge run` does; its output.
    pub(crate) async fn run(&self, line: &str) -> (i32, String) {
        let output = self
            .the_box
            .envforge(
                &self.the_box.scratch("nowhere"),
                &["run", "--org", "local", "-w", &self.slug, "--", "sh", "-c", line],
            )
            .await;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), said)
    }
}

/// Tries again while the box has a part that was just killed.
pub(crate) async fn retry<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, CallError>) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => {
                let is_passing = match &error {
                    CallError::Transport { .. } => true,
                    CallError::Refused(refusal) => refusal.retry_after.is_some(),
                };
                assert!(is_passing && tokio::time::Instant::now() < end, "{what}: {error:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks until the gateway and everything behind it answer again.
pub(crate) async fn page(browser: &Browser, path: &str) -> String {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match browser.get(path).await {
            Ok(text) => return text,
            Err(error) => assert!(tokio::time::Instant::now() < end, "{path}: {error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
