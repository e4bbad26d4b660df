//! What everything is measured on: a box, a workspace of a small application, a visitor with a session.

use crate::installation::{Installation, Which};
use crate::sample;
use anyhow::{Context as _, bail, ensure};
use envforge_api::client::Client;
use envforge_api::http::Health;
use envforge_api::http::accounts::{HostState, Hosts};
use envforge_api::http::links::{CreateLink, CreatedLink};
use envforge_api::http::usage::WorkspaceUsage;
use envforge_api::http::workspaces::{CreateWorkspace, Sleep, Workspace};
use envforge_core::runtime::{RuntimeState, SleepTier};
use envforge_testkit::{Browser, Shell};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// A box, a workspace, a visitor.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) installation: Installation,
    pub(crate) repository: PathBuf,
    pub(crate) client: Client,
    pub(crate) workspace: Workspace,
    /// Has a session on the dev host of `web`.
    pub(crate) browser: Browser,
}

impl World {
    /// With the application that is measured.
    pub(crate) async fn begin(which: &Which) -> anyhow::Result<Self> {
        Self::begin_with(which, &app(), "/api/health").await
    }

    /// Makes it, and waits until its services answer.
    pub(crate) async fn begin_with(which: &Which, app: &Path, api: &str) -> anyhow::Result<Self> {
        let installation = Installation::ensure(which).await?;
        let folder = installation.data_dir.join("bench");
        fs_err::create_dir_all(&folder)?;
        let repository = sample::repository(app, &folder, "main").await?;
        let opened: serde_json::Value =
            installation.envforge_json(&repository, &["up", "--yes", "--no-attach"]).await?;
        let workspace: Workspace = serde_json::from_value(opened["workspace"].clone())?;
        let client = installation.client()?;
        let base = format!("/v1/orgs/{}/workspaces/{}", workspace.org_slug, workspace.slug);
        let body = CreateLink {
            service: "web".to_owned(),
            expires_in_minutes: None,
            visit_budget: None,
            wake_budget: Some(10_000),
            minute_budget: None,
            routes: Vec::new(),
        };
        let link: CreatedLink = told(client.post(&format!("{base}/links"), &body).await)?;
        let mut browser = Browser::at(&link.url)?;
        browser.open(&link.url).await?;
        browser.get("/").await?;
        browser.get(api).await?;
        Ok(Self { installation, repository, client, workspace, browser })
    }

    /// Leaves nothing behind.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.delete(self.workspace.slug.as_str()).await?;
        self.installation.stop()
    }

    /// Path of this workspace in the API.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/orgs/{}/workspaces/{}{rest}", self.workspace.org_slug, self.workspace.slug)
    }

    /// Puts the runtime to sleep, and waits until it is. What wakes it meanwhile is told: nobody asked for that.
    pub(crate) async fn sleep(&self, tier: SleepTier) -> anyhow::Result<()> {
        // What is stopped is asleep deeper than frozen, and stays so.
        let is_done =
            |state| state == RuntimeState::Asleep || (tier == SleepTier::Frozen && state == RuntimeState::Frozen);
        let end = Instant::now() + PATIENCE;
        let post = async || told::<Workspace>(self.client.post(&self.path("/sleep"), &Sleep { tier }).await);
        let mut asked = post().await?;
        let mut workspace = asked.clone();
        while !is_done(workspace.runtime.state) {
            ensure!(Instant::now() < end, "it does not fall asleep: {:?}", workspace.runtime);
            if workspace.runtime.generation > asked.runtime.generation {
                let cause = workspace.runtime.wake_cause.as_deref().unwrap_or("nothing known");
                crate::say(&format!("  woken again by {cause} after it was told to sleep"));
                asked = post().await?;
            }
            sleep(Duration::from_millis(2)).await;
            workspace = told(self.client.get(&self.path("")).await)?;
        }
        Ok(())
    }

    /// The usage panel.
    pub(crate) async fn usage(&self) -> anyhow::Result<WorkspaceUsage> {
        told(self.client.get(&self.path("/usage")).await)
    }

    /// Another workspace of the same project, by its branch.
    pub(crate) async fn create(&self, branch: &str) -> anyhow::Result<Workspace> {
        let project = self.workspace.project.clone();
        let body = CreateWorkspace { project, branch: branch.to_owned(), slug: None, size: None };
        told(self.client.post(&format!("/v1/orgs/{}/workspaces", self.workspace.org_slug), &body).await)
    }

    /// Deletes a workspace.
    pub(crate) async fn delete(&self, slug: &str) -> anyhow::Result<()> {
        let output = self.installation.envforge(&self.repository, &["workspace", "delete", slug, "--yes"]).await?;
        ensure!(output.status.success(), "deleting {slug}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// The terminal of a workspace, as soon as it opens.
    pub(crate) async fn shell(&self, slug: &str) -> anyhow::Result<Shell> {
        let (url, key) = (&self.installation.url, self.installation.key.expose());
        let end = Instant::now() + PATIENCE;
        loop {
            match Shell::attach(url, key, self.workspace.org_slug.as_str(), slug).await {
                Ok(shell) => return Ok(shell),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => sleep(Duration::from_millis(2)).await,
            }
        }
    }

    /// Whether every role runs, the database answers and the host is online.
    pub(crate) async fn is_whole(&self) -> anyhow::Result<()> {
        for role in ["server", "gateway", "host"] {
            let pid = self.role(role)?;
            ensure!(Path::new(&format!("/proc/{pid}")).exists(), "the {role} does not run");
        }
        told(self.client.get::<Health>("/v1/health").await)?;
        let hosts: Hosts = told(self.client.get(&format!("/v1/orgs/{}/hosts", self.workspace.org_slug)).await)?;
        ensure!(hosts.hosts.iter().any(|host| host.state == HostState::Online), "the host is not online");
        // A stranger's request wakes nothing, and tells a gateway that holds its lease from one that does not.
        let stranger = Browser::at(&format!("http://{}", self.browser.host()))?;
        let status = stranger.status("/").await?;
        ensure!(status.is_client_error(), "the gateway answers a stranger with {status}");
        Ok(())
    }

    /// The role's process on this box.
    pub(crate) fn role(&self, role: &str) -> anyhow::Result<i32> {
        let text = fs_err::read(self.installation.data_dir.join("run/children.json"))?;
        let roster: serde_json::Value = serde_json::from_slice(&text)?;
        let pid = roster["children"][role]["pid"].as_i64().with_context(|| format!("no {role} runs"))?;
        Ok(pid as i32)
    }
}

/// The application that is measured.
pub(crate) fn app() -> PathBuf {
    crate::tidy::repository().join("xtask/src/bench/app")
}

/// An answer of the API, or its refusal as an error.
pub(crate) fn told<T>(answer: Result<T, envforge_api::client::CallError>) -> anyhow::Result<T> {
    answer.map_err(|error| anyhow::anyhow!("{error}"))
}

/// Milliseconds that work took.
pub(crate) async fn timed<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(f64, T)> {
    let begun = Instant::now();
    let value = work.await?;
    Ok((begun.elapsed().as_secs_f64() * 1_000.0, value))
}

/// Resident memory of a process in megabytes.
pub(crate) fn resident(pid: i32) -> anyhow::Result<f64> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let Some(kilobytes) = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()) else {
        bail!("process {pid} has no resident memory")
    };
    Ok(kilobytes * 1_024.0 / 1_000_000.0)
}

/// Whether a program is installed.
pub(crate) fn installed(path: &str) -> bool {
    Path::new(path).exists()
}
