//! The gateway: verifies, wakes, forwards. Runs unprivileged; has no database and no private key.

use crate::args::{GatewayArguments, Scheme};
use crate::{operator, private};
use anyhow::Context as _;
use envforge_api::ambient::SystemClock;
use envforge_gateway::{Gateway, GatewayConfig, Limits};
use rustix::fs::Mode;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long open requests may take at the end: within the time a role has for it.
const WITHIN: Duration = Duration::from_secs(7);

/// Runs a gateway.
pub(crate) fn run(arguments: GatewayArguments) -> anyhow::Result<ExitCode> {
    // Nothing it makes is for others; the host, which dials its socket, is root or the same user.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    super::use_open_files_limit();
    let key = private::read(&arguments.key_file)?;
    let one_box = GatewayConfig::one_box(arguments.server_socket, arguments.uplink, key);
    let notice = Duration::from_secs(arguments.drain.drain_notice);
    let config = GatewayConfig {
        listen: arguments.listen,
        dev_domain: arguments.dev_domain,
        external_scheme: match arguments.scheme {
            Scheme::Http => envforge_gateway::Scheme::Http,
            Scheme::Https => envforge_gateway::Scheme::Https,
        },
        external_port: arguments.port,
        product_url: arguments.product_url.map(|url| url.trim_end_matches('/').to_owned()),
        limits: Limits { drain: WITHIN, drain_notice: notice, ..arguments.traffic.limits(&one_box.limits) },
        trusted: arguments.traffic.trusted.clone(),
        access_log: arguments.traffic.access_log.clone(),
        ..one_box
    };
    super::run("gateway", &arguments.supervised, notice, async |token| {
        let running =
            Gateway::start(config, Arc::new(SystemClock), token).await.context("the gateway did not start")?;
        tracing::info!(address = %running.local_addr, "gateway: listening");
        let _operator = operator::listen(arguments.operator.metrics_listen.as_ref(), running.operated())?;
        running.join.await.context("the gateway broke down")?;
        Ok(())
    })
}
