//! The host daemon: one organization's machine. The only role that keeps root.

use crate::advice::advised;
use crate::args::HostArguments;
use crate::operator;
use anyhow::Context as _;
use envforge_api::client::Address;
use envforge_host::{Host, HostConfig, StartError, Taken};
use std::process::ExitCode;
use std::time::Duration;

/// Runs a host daemon.
pub(crate) fn run(arguments: HostArguments) -> anyhow::Result<ExitCode> {
    let server = match (arguments.server_socket, arguments.server_url) {
        (Some(socket), _) => Address::Socket(socket),
        (None, url) => Address::Url(url.context("a server's URL or socket")?),
    };
    let config = HostConfig {
        registration_token: arguments.token_file,
        postgres_bin: arguments.postgres_bin,
        resource_user: arguments.resource_user,
        instance: arguments.machine.instance,
        uid_base: arguments.machine.uid_base,
        network_pool: arguments.machine.network_pool,
        allow_elevation: arguments.machine.allow_elevation,
        // The very executable that runs now: after an upgrade on disk, its own sandboxes' init still is.
        ..HostConfig::new(arguments.data_dir, server, "/proc/self/exe")
    };
    super::run("host", &arguments.supervised, Duration::ZERO, async |token| {
        let started = Host::start(config, token).await.map_err(|error| match error {
            StartError::Taken(Taken { cause, fix }) => advised(cause, fix),
            error => error.into(),
        });
        let running = started.context("the host daemon did not start")?;
        let _operator = operator::listen(arguments.operator.metrics_listen.as_ref(), running.operated())?;
        running.wait().await;
        Ok(())
    })
}
