//! What a workspace tells whoever works in it: `.envforge/` in the checkout, and a comfortable shell.
//!
//! `README.md` is for people, `context.json` for agents; both say what this workspace is, its services, inputs by name and
//! commands, and never hold a value that is secret. Git does not see them. Shell start files are written once and belong to
//! the user from then on.

use crate::engines::inside;
use crate::script::{Script, quote};
use envforge_api::host::{ManifestReport, PrepareShell};
use envforge_core::manifest::{Manifest, Wiring};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is known of the workspace.
pub(crate) struct Context<'a> {
    pub(crate) prepared: &'a PrepareShell,
    pub(crate) manifest: Option<&'a ManifestReport>,
    /// Dev host origin per service, as far as known.
    pub(crate) public_urls: &'a BTreeMap<String, String>,
}

impl Context<'_> {
    fn valid(&self) -> Option<&Manifest> {
        match self.manifest {
            Some(ManifestReport::Valid { manifest }) => Some(manifest),
            _ => None,
        }
    }

    /// `context.json`.
    fn json(&self) -> Value {
        let names = &self.prepared.names;
        let mut context = json!({
            "workspace": names.workspace,
            "project": names.project,
            "org": names.org,
            "repository": self.prepared.repository,
            "branch": self.prepared.branch,
            "checkout": inside::CHECKOUT,
            "logs": inside::LOGS,
            "commands": COMMANDS.iter().map(|(command, what)| json!({ "run": command, "what": what })).collect::<Vec<_>>(),
        });
        if let Some(manifest) = self.valid() {
            let wiring = Wiring::new(manifest);
            let services: BTreeMap<&String, Value> = manifest
                .services
                .iter()
                .map(|(name, service)| {
                    let port = wiring.services.get(name).map(|wiring| wiring.port.suggested());
                    let value = json!({
                        "command": service.command,
                        "directory": service.directory,
                        "port": port,
                        "routes": service.routes,
                        "inputs": service.inputs.keys().collect::<Vec<_>>(),
                        "dev_host": self.public_urls.get(name),
                    });
                    (name, value)
                })
                .collect();
            context["services"] = json!(services);
            context["resources"] = json!(manifest.resources.keys().collect::<Vec<_>>());
            context["checks"] = json!(manifest.checks);
            context["setup"] = json!(manifest.hooks.setup);
        }
        context
    }

    /// `README.md`.
    fn readme(&self) -> String {
        let names = &self.prepared.names;
        let mut text = format!(
            "# {}\n\nBranch workspace of `{}/{}`, branch `{}`.\n\n\
             The shell is always ready and costs nothing. Services, databases and tests run in the runtime layer, which \
             wakes when something needs it and sleeps when nothing does. Files here survive everything but the deletion \
             of the workspace.\n\n## Services\n\n",
            names.workspace, names.org, names.project, self.prepared.branch
        );
        match self.valid() {
            Some(manifest) if !manifest.services.is_empty() => {
                for (name, service) in &manifest.services {
                    let inputs: Vec<&str> = service.inputs.keys().map(String::as_str).collect();
                    let _ = write!(text, "- `{name}`: `{}`", service.command);
                    if !inputs.is_empty() {
                        let _ = write!(text, ", takes {}", inputs.join(", "));
                    }
                    if let Some(url) = self.public_urls.get(name) {
                        let _ = write!(text, ", {url}");
                    }
                    text.push('\n');
                }
            }
            Some(_) => text.push_str("None are declared.\n"),
            None => text.push_str("`envforge.yml` is missing or has mistakes; `envforge status` says which.\n"),
        }
        let _ = write!(text, "\nTheir output is in `{}`, also while they sleep.\n\n## Commands\n\n", inside::LOGS);
        for (command, what) in COMMANDS {
            let _ = writeln!(text, "- `{command}`: {what}");
        }
        if self.prepared.repository.starts_with('/') {
            text.push_str(
                "\n## Git\n\n`origin` is a directory of the host, which nothing in here sees: commits stay in this workspace \
                 and can't be pushed there. A project made from a repository's URL can push.\n",
            );
        }
        text
    }

    /// The script that writes all of it, as the workspace's user.
    pub(crate) fn script(&self) -> Script {
        let mut script = Script::umask("022");
        let checkout = inside::CHECKOUT;
        let json = serde_json::to_string_pretty(&self.json()).unwrap_or_default();
        script.directory(&format!("{checkout}/.envforge"));
        script.file(&format!("{checkout}/.envforge/README.md"), &self.readme());
        script.file(&format!("{checkout}/.envforge/context.json"), &(json + "\n"));
        let exclude = quote(&format!("{checkout}/.git/info/exclude"));
        script.directory(&format!("{checkout}/.git/info"));
        script.line(&format!("grep -qxF /.envforge/ {exclude} 2>/dev/null || printf '%s\\n' /.envforge/ >>{exclude}"));
        let home = inside::HOME;
        script.file_if_missing(&format!("{home}/.profile"), PROFILE);
        script.file_if_missing(&format!("{home}/.bashrc"), &bashrc(self.prepared.names.workspace.as_str()));
        script.file_if_missing(&format!("{home}/.hushlogin"), "");
        script
    }
}

const COMMANDS: [(&str, &str); 5] = [
    ("envforge status", "readiness of every part"),
    ("envforge run -- <command>", "run a test or job in the runtime; wakes it"),
    ("envforge logs <service>", "captured output, live or past"),
    ("envforge link create <service>", "a signed link for a reviewer"),
    ("envforge sleep", "let the runtime rest"),
];

const PROFILE: &str = "# Read by login shells.\n[ -n \"$BASH_VERSION\" ] && [ -r ~/.bashrc ] && . ~/.bashrc\n\
                       PATH=\"$HOME/.local/bin:$HOME/.local/share/gem/bin:$PATH\"\n";

/// A short prompt that costs no process: `workspace:branch$`. The branch's name stays in a variable: what a prompt
/// string itself holds would be run.
fn bashrc(workspace: &str) -> String {
    BASHRC.replace("@workspace@", workspace).replace("@checkout@", inside::CHECKOUT)
}

const BASHRC: &str = r#"# Yours to change.
case $- in *i*) ;; *) return ;; esac
HISTSIZE=10000
HISTFILESIZE=20000
HISTCONTROL=ignoredups
shopt -s histappend checkwinsize
__envforge_prompt() {
  local head=''
  IFS= read -r head 2>/dev/null <@checkout@/.git/HEAD
  case $head in
    'ref: refs/heads/'*) __envforge_branch=${head#ref: refs/heads/} ;;
    *) __envforge_branch=${head:0:8} ;;
  esac
  __envforge_at=''
  [ "$PWD" = @checkout@ ] || __envforge_at=" ${PWD/#$HOME/\~}"
}
PROMPT_COMMAND=__envforge_prompt
PS1='\[\e[32m\]@workspace@\[\e[0m\]:\[\e[36m\]${__envforge_branch}\[\e[0m\]${__envforge_at}\$ '
alias ls='ls --color=auto' ll='ls -l' grep='grep --color=auto'
"#;
