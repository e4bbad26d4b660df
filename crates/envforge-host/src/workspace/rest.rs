//! A shell in which there is nothing of anybody's is put away, and started again for the next who needs one.
//!
//! A workspace that sleeps then costs no process. Nothing is lost with such a shell: nothing runs in it but its init, tmux and at
//! most the one shell that tmux was given at the start and that nobody ever saw, and its private directories are empty. So a shell
//! that somebody attached to stays for as long as one of its terminals does.
//!
//! Whoever needs a shell says so ([`View::use_shell`]) before they look for it, and the shell is closed under the same lock:
//! nothing is started in one that is on its way out. To whoever asks how it is, a shell that rests is ready.

use super::driver::Driver;
use super::layers::Held;
use crate::engines::Layer;
use crate::files::Durability;
use crate::terminal::untouched;
use envforge_api::host::Order;
use tokio::time::{Duration, Instant};

/// The longest pause between two looks at a shell that is in use.
const LOOK_MAX: Duration = Duration::from_hours(1);
/// Over so many workspaces looks are spread, for those of a daemon that was just started would all come at once.
const SPREAD: u32 = 64;

/// When a shell is looked at next.
#[derive(Default)]
pub(crate) struct ShellRest {
    /// Since when nobody used it, and how often it had been used then.
    unused: Option<(Instant, u64)>,
    /// How long it must be unused; longer each time that it had something in it.
    pause: Duration,
}

impl Driver {
    /// Puts the shell away if it was not used for a while and has nothing in it.
    pub(super) async fn let_shell_rest(&mut self) {
        if self.layer.sandbox.is_some() || self.setup_is_under_way() {
            return self.shell_rest = ShellRest::default();
        }
        let Some((uses, client)) = self.view.shell_uses().zip(self.shell.client.clone()) else {
            return self.shell_rest = ShellRest::default();
        };
        let since = match self.shell_rest.unused {
            Some((since, before)) if before == uses => since,
            _ => {
                let after = self.ctx.config.shell_rest_after;
                self.shell_rest.unused = Some((Instant::now(), uses));
                self.shell_rest.pause = after + after * (self.place.index % SPREAD) / SPREAD;
                return;
            }
        };
        if since.elapsed() < self.shell_rest.pause {
            return;
        }
        let Some(init) = self.shell.pid() else { return };
        if untouched::is_so(&self.ctx, &self.place, &client, init).await && self.view.close_shell(uses) {
            self.put_shell_away().await;
        } else {
            self.shell_rest.unused = Some((Instant::now(), uses));
            self.shell_rest.pause = (self.shell_rest.pause * 2).min(LOOK_MAX);
        }
    }

    async fn put_shell_away(&mut self) {
        if let Err(error) = self.ctx.engine.end(&self.place, Layer::Shell).await {
            tracing::warn!(workspace = %self.place.workspace, %error, "shell: it does not end; it goes on");
            return self.show();
        }
        self.let_go(Held::Shell);
        (self.egress, self.context_written) = (None, None);
        self.state.shell_rests = true;
        drop(self.save(Durability::Process));
        // Who came meanwhile has said so, and is heard next.
        self.show();
        tracing::debug!(workspace = %self.place.workspace, "the shell rests");
    }

    /// Starts a shell that rests.
    pub(super) async fn wake_shell(&mut self) {
        if std::mem::take(&mut self.state.shell_rests) {
            self.keep_shell().await;
        }
    }

    /// What an earlier daemon may have left of a shell that rests.
    pub(super) async fn clear_shell(&self) {
        if let Err(error) = self.ctx.engine.end(&self.place, Layer::Shell).await {
            tracing::warn!(workspace = %self.place.workspace, %error, "shell: not cleared away");
        }
    }

    /// Whether a command is making the shell, or ending it.
    pub(super) fn is_shell_of_an_operation(&self) -> bool {
        let order = self.operation.as_ref().map(|operation| &operation.command.order);
        order.is_some_and(|order| matches!(order, Order::PrepareShell(_) | Order::DestroyWorkspace))
    }
}
