//! Invitations are handed to the mail server.

use super::ops;
use crate::app::App;
use crate::platform::jobs::{Job, JobContext, JobError};
use envforge_core::id::InvitationId;
use serde::{Deserialize, Serialize};

/// Sends an invitation to its address. Twice, if the server dies between the mail server's answer and the note of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendInvitation {
    /// Which.
    pub invitation: InvitationId,
}

impl Job for SendInvitation {
    const KIND: &'static str = "invitation.send";

    async fn run(self, app: App, ctx: JobContext) -> Result<(), JobError> {
        let Some(org) = ctx.org else { return Err(JobError::give_up(anyhow::anyhow!("it belongs to no org"))) };
        Ok(ops::send(&app, org, self.invitation).await?)
    }
}
