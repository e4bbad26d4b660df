//! How the services fare, in the window's title, while someone is attached.
//!
//! The events are followed by a thread of its own that starts a moment later: reading certificates and JSON must
//! never stand between a key and its echo, and the first prompt must not wait for either.

use super::Shell;
use crate::follow::Follow;
use crate::printer::printable;
use crate::render;
use envforge_api::http::workspaces::Workspace;
use envforge_core::readiness::{PartKind, ReadinessState};
use std::time::Duration;
use tokio::sync::watch;

/// How long the first prompt has the machine for itself.
const HEAD_START: Duration = Duration::from_millis(300);
/// Longest title.
const TITLE_MAX: usize = 120;

/// The title as it should be.
pub(super) struct Title {
    texts: watch::Receiver<String>,
    /// Whether the window's own title was put aside.
    pushed: bool,
    /// Nothing more will come.
    closed: bool,
}

impl Title {
    /// Follows the services of a shell's workspace.
    pub(super) fn follow(shell: &Shell) -> Self {
        let (sender, texts) = watch::channel(String::new());
        let shell = shell.clone();
        // Without it the title stays as it was; the shell does not need it.
        let thread = std::thread::Builder::new().name("readiness".to_owned()).spawn(move || {
            std::thread::sleep(HEAD_START);
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                runtime.block_on(keep(&shell, &sender));
            }
        });
        Self { texts, pushed: false, closed: thread.is_err() }
    }

    /// Waits for another title and returns the sequence that shows it.
    pub(super) async fn changed(&mut self) -> Vec<u8> {
        if self.closed || self.texts.changed().await.is_err() {
            self.closed = true;
            std::future::pending::<()>().await;
        }
        let text = self.texts.borrow_and_update().clone();
        let push = if std::mem::replace(&mut self.pushed, true) { "" } else { "\x1b[22;2t" };
        format!("{push}\x1b]2;{text}\x07").into_bytes()
    }

    /// The sequence that gives the window's own title back.
    pub(super) fn restore(&self) -> Vec<u8> {
        if self.pushed { b"\x1b[23;2t".to_vec() } else { Vec::new() }
    }
}

async fn keep(shell: &Shell, titles: &watch::Sender<String>) {
    let Ok(mut follow) = Follow::of(&shell.server, &shell.key, &shell.org, &shell.workspace) else { return };
    while let Ok(workspace) = follow.next().await {
        let text = title(&workspace);
        titles.send_if_modified(|before| {
            let changed = *before != text;
            if changed {
                *before = text;
            }
            changed
        });
        if titles.is_closed() {
            return;
        }
    }
}

/// `fix-login: asleep`, or each service with its state.
fn title(workspace: &Workspace) -> String {
    let services = workspace.parts.iter().filter(|part| part.kind == PartKind::Service);
    let states: Vec<_> = services.map(|part| format!("{} {}", part.name, render::readiness(part.state))).collect();
    let state = match workspace.runtime.readiness {
        ReadinessState::Ready | ReadinessState::Waking if !states.is_empty() => states.join(", "),
        state => render::readiness(state).to_owned(),
    };
    printable(&format!("{}: {state}", workspace.slug)).chars().take(TITLE_MAX).collect()
}
