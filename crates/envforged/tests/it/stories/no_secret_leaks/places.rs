//! Where a value could have gone, and where each may be.

use super::Story;
use super::plant::DECLARED;
use super::work::Made;
use crate::stories::sample::stranger;
use envforge_testkit::{Leak, dump, processes_of};
use futures_util::StreamExt as _;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

/// Files that may hold keys of the box, below its folder or below a backup's; each is read by its owner alone.
const KEY_FILES: [&str; 4] = ["secrets/", "owner.key", "host/host.json", "postgres.password"];
/// How long an endless answer is listened to.
const A_WHILE: Duration = Duration::from_millis(300);

/// WebSockets, which answer no GET.
const SOCKETS: [&str; 2] = ["/terminal", "/exec"];
/// Parts of paths to what the workspace's services themselves put into resources, of which this story has none. What a recording
/// leaves out is seen by that of the root terminal.
const UNASKED: [&str; 4] = ["/mail", "/objects", "/database/", "/recordings/"];

/// What every path of the API that can be read answers the owner.
pub(super) async fn answers(story: &Story<'_>, made: &Made) {
    let (server, api) = (format!("http://{}", story.the_box.listen), stranger());
    let document: Value = story.the_box.client().get("/v1/openapi.json").await.unwrap();
    let links: Value = story.the_box.client().get("/v1/orgs/local/workspaces/main/links").await.unwrap();
    let link = links["links"][0]["id"].as_str().expect("the link that was opened");
    let receipts: Value = story.the_box.client().get("/v1/orgs/local/workspaces/main/receipts").await.unwrap();
    let session = receipts["receipts"][0]["session"].as_str().expect("a session so far, or one that has ended");
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_none()
            || SOCKETS.iter().any(|end| path.ends_with(end))
            || UNASKED.iter().any(|part| path.contains(part))
        {
            continue;
        }
        let setting = if path.contains("/operator/") { "mail" } else { "integration.crm" };
        let mut filled = path.clone();
        for (name, value) in [
            ("org", "local"),
            ("workspace", "main"),
            ("project", "notes"),
            ("service", "keeper"),
            ("run", &made.run),
            ("elevation", &made.elevation),
            ("link", link),
            ("session", session),
            ("secret", &made.secret),
            ("setting", setting),
        ] {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
        assert!(!filled.contains('{'), "the story has nothing to ask {path} for");
        let request = api.get(format!("{server}{filled}")).header("cookie", &made.session);
        let answer = request.bearer_auth(story.the_box.key().expose()).send().await.unwrap();
        let status = answer.status();
        let mut body = answer.bytes_stream();
        let mut text = Vec::new();
        let all = async {
            while let Some(Ok(chunk)) = body.next().await {
                text.extend_from_slice(&chunk);
            }
        };
        let whole = tokio::time::timeout(if path.ends_with("/events") { A_WHILE } else { A_WHILE * 30 }, all).await;
        assert!(status.is_success() && (whole.is_ok() || path.ends_with("/events")), "{path}: {status}");
        story.keep(&format!("GET {path}"), &String::from_utf8_lossy(&text));
    }
    for page in ["/", "/sign-in", "/device", "/sign-in/theirs/start"] {
        let answer = api.get(format!("{server}{page}")).header("cookie", &made.session).send().await.unwrap();
        story.keep(
            &format!("page {page}"),
            &format!("{:?}\n{}", answer.headers().clone(), answer.text().await.unwrap()),
        );
    }
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What the command line says, to people and to programs.
pub(super) async fn verbs(story: &Story<'_>, made: &Made) {
    let the_box = story.the_box;
    let nowhere = the_box.scratch("nowhere");
    let mut verbs: Vec<String> = [
        "status main",
        "workspace list",
        "workspace usage main",
        "why main",
        "why main --if-idle 5m",
        "org idle-limit",
        "project idle-limit notes",
        "usage",
        "schedule show -w main",
        "schedule quiet",
        "receipts -w main",
        "receipt -w main",
        "cap show main",
        "cap show --whole-org",
        "cap show --project notes",
        "logs keeper -w main",
        "logs other -w main",
        "link list -w main",
        "secret list",
        "secret versions STRIPE_KEY",
        "org list",
        "member list",
        "invite list",
        "group list",
        "project access notes",
        "git-credential list",
        "root list",
        "root policy",
        "whoami",
        "sessions list",
        "doctor",
        "ledger list --limit 200",
        "ledger state",
        "ledger state --installation",
        "ledger export -",
        "ledger export - --installation",
        "setting list",
        "setting list --installation",
        "setting show integration.crm",
        "setting show mail --installation",
        "setting history mail --installation",
        "admin jobs list",
    ]
    .map(str::to_owned)
    .into();
    verbs.push(format!("root recording {}", made.elevation));
    verbs.push(format!("run --job {} -w main", made.run));
    let both = verbs.iter().flat_map(|verb| [verb.clone(), format!("{verb} --json")]);
    let mut running = futures_util::stream::iter(both)
        .map(|verb| {
            let nowhere = &nowhere;
            async move {
                let words: Vec<&str> = verb.split(' ').collect();
                let output = the_box.envforge(nowhere, &[&["--org", "local"], &words[..]].concat()).await;
                (verb, output)
            }
        })
        .buffer_unordered(4);
    while let Some((verb, output)) = running.next().await {
        assert_ne!(output.status.code(), Some(2), "envforge {verb}: {}", said(&output));
        story.keep(&format!("envforge {verb}"), &said(&output));
    }
    let folder = the_box.path();
    for more in [&[][..], &["--json"]] {
        let doctor = [&["doctor", "--data-dir", folder.to_str().unwrap()], more].concat();
        story.keep("doctor", &said(&the_box.envforged(&doctor).await));
    }
}

/// What the operator's listener says.
pub(super) async fn metrics(story: &Story<'_>, operator: &str) {
    for path in ["metrics", "ready", "health"] {
        let answer = stranger().get(format!("http://{operator}/{path}")).send().await.unwrap();
        story.keep(path, &answer.text().await.unwrap());
    }
}

/// Everything that is looked through.
pub(super) struct Places {
    pub(super) all: Vec<PathBuf>,
    /// What runs: each process's service or job, as the host marked it.
    marks: BTreeMap<PathBuf, String>,
    /// The test's own folder.
    folder: PathBuf,
}

impl Places {
    pub(super) async fn collect(story: &Story<'_>) -> Self {
        let the_box = story.the_box;
        let folder = the_box.path().parent().unwrap().to_owned();
        let url = fs_err::read_to_string(the_box.path().join("secrets/database/owner.url")).unwrap();
        story.keep("dump of the database", &dump(url.trim()));
        let mut all = vec![the_box.path(), folder.join("words"), the_box.scratch("said"), the_box.scratch("config")];
        all.push(unpacked_backup(story).await);
        all.push(the_box.scratch("backups"));
        let mut marks = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let place = entry.path();
            if place.join("environ").exists() && entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())
            {
                let environment = std::fs::read(place.join("environ")).unwrap_or_default();
                let text = String::from_utf8_lossy(&environment);
                let mark = text.split('\0').find_map(|pair| pair.strip_prefix("ENVFORGE_PROCESS="));
                marks.insert(place.clone(), mark.unwrap_or_default().to_owned());
                all.extend(["environ", "cmdline"].map(|name| place.join(name)));
            }
        }
        all.extend(inside_sandboxes(&folder));
        all.extend(left_in_temp_folders(&folder));
        Self { all, marks, folder }
    }

    /// Whether a value may be where it was found.
    pub(super) fn allows(&self, leak: &Leak) -> bool {
        let (what, place) = (leak.what.as_str(), leak.place.to_string_lossy());
        let services: &[&str] = match what {
            "the workspace's database password" => &["other"],
            _ if DECLARED.iter().any(|(name, _)| *name == what) => &["keeper"],
            _ => &[],
        };
        if leak.place.ends_with("environ") {
            let mark = self.marks.get(leak.place.parent().unwrap()).map_or("", String::as_str);
            return services.iter().any(|service| mark == format!("service.{service}"));
        }
        let is_private = || {
            let mode = fs_err::metadata(&leak.place).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{leak}");
            true
        };
        // The same environment as files, in the memory of the runtime that the service is in.
        let is_env_file = |service: &&str| {
            ["sh", "env"].iter().any(|kind| place.ends_with(&format!("/envforge/env/{service}.{kind}")))
        };
        if place.starts_with("/proc/") {
            return services.iter().any(is_env_file) && is_private();
        }
        if !services.is_empty() && what != "the workspace's database password" {
            return false;
        }
        let Ok(below) = leak.place.strip_prefix(&self.folder) else { return false };
        let below = below.to_string_lossy();
        let is_key_file = |folder: &str| {
            below.strip_prefix(folder).is_some_and(|rest| {
                KEY_FILES.iter().any(|name| rest == *name || name.ends_with('/') && rest.starts_with(name))
                    || rest.starts_with("host/workspaces/") && rest.ends_with("/postgres.password")
            })
        };
        let is_planted = leak.what.starts_with("secrets/")
            || ["the owner's key", "the host's key", "the workspace's database password", "an API key"].contains(&what);
        is_planted
            && (is_key_file("box/")
                || is_key_file("unpacked/")
                || ["config/envforge/config.json", "backups/box.backup"].contains(&&*below))
            && is_private()
    }
}

/// What sandboxes have in memory, which no folder of the host holds.
fn inside_sandboxes(folder: &Path) -> Vec<PathBuf> {
    let own = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    let mut seen = BTreeMap::new();
    for (pid, _) in processes_of(folder) {
        let Ok(mounts) = std::fs::read_link(format!("/proc/{pid}/ns/mnt")) else { continue };
        if mounts != own {
            seen.entry(mounts).or_insert(pid);
        }
    }
    // Not links, which lead out of the sandbox when they are followed from here.
    let is_folder = |place: &PathBuf| std::fs::symlink_metadata(place).is_ok_and(|it| it.is_dir());
    let inside = |pid: i32| {
        ["tmp", "run", "home", "var/tmp", "dev/shm"].map(|name| PathBuf::from(format!("/proc/{pid}/root/{name}")))
    };
    seen.into_values().flat_map(inside).filter(is_folder).collect()
}

/// Files, cores included, that somebody left right in a temporary folder since the box was made.
fn left_in_temp_folders(folder: &Path) -> Vec<PathBuf> {
    let since = fs_err::metadata(folder.join("words")).and_then(|it| it.created()).unwrap_or(SystemTime::UNIX_EPOCH);
    let entries =
        ["/tmp", "/var/tmp", "/dev/shm"].into_iter().flat_map(|place| std::fs::read_dir(place).into_iter().flatten());
    let is_new = |path: &PathBuf| {
        std::fs::symlink_metadata(path)
            .is_ok_and(|it| it.is_file() && it.modified().is_ok_and(|modified| modified >= since))
    };
    entries.flatten().map(|entry| entry.path()).filter(is_new).collect()
}

/// A backup of the box, with all that is in it as text.
async fn unpacked_backup(story: &Story<'_>) -> PathBuf {
    let the_box = story.the_box;
    let (file, into) = (the_box.scratch("backups").join("box.backup"), the_box.scratch("unpacked"));
    let saved =
        the_box.envforged(&["backup", file.to_str().unwrap(), "--data-dir", the_box.path().to_str().unwrap()]).await;
    assert!(saved.status.success(), "{}", said(&saved));
    story.keep("backup", &said(&saved));
    let script = "tar -xf \"$0\" && for tar in *.tar *.tar.zst; do tar -xf $tar && rm $tar; done && zstd -q -d --rm databases.sql.zst \
        && pg_restore -f control-plane.sql control-plane.dump";
    #[expect(clippy::disallowed_methods, reason = "whoever finds a backup unpacks it with what is there")]
    let mut command = Command::new("sh");
    let done = command.args(["-c", script]).arg(&file).current_dir(&into).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    into
}
