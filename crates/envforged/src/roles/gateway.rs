//! The gateway: verifies, wakes, forwards. Runs unprivileged; has no database and no private key.

use crate::advice::advised;
use crate::args::{GatewayArguments, Scheme, TlsArguments};
use crate::{listen, notify, operator, private};
use anyhow::Context as _;
use envforge_api::ambient::{SystemClock, SystemEntropy};
use envforge_core::id::{GatewayId, Id as _};
use envforge_gateway::tls::{Files, TlsConfig};
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
    let sockets = listen::inherited()?;
    super::use_open_files_limit();
    let key = private::read(&arguments.key_file)?;
    let one_box = GatewayConfig::one_box(
        GatewayId::mint(&SystemClock, &SystemEntropy),
        arguments.server_socket,
        arguments.uplink,
        key,
    );
    let notice = Duration::from_secs(arguments.drain.drain_notice);
    let config = GatewayConfig {
        listen: arguments.listen,
        dev_domain: arguments.dev_domain,
        tls: tls(&arguments.tls),
        external_scheme: match arguments.tls.scheme(arguments.scheme) {
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
        let started = Gateway::start_on(sockets, config, Arc::new(SystemClock), token.clone()).await;
        let running =
            started.map_err(|error| advised(error.to_string(), error.fix())).context("the gateway did not start")?;
        tracing::info!(address = %running.local_addr, "gateway: listening");
        let _operator = operator::listen(arguments.operator.metrics_listen.as_ref(), running.operated())?;
        notify::tell(notify::READY);
        let stopping = async {
            token.cancelled().await;
            notify::tell(notify::STOPPING);
        };
        let (ended, ()) = tokio::join!(running.join, stopping);
        ended.context("the gateway broke down")
    })
}

/// TLS, if the gateway ends it.
fn tls(arguments: &TlsArguments) -> Option<TlsConfig> {
    let certificate = arguments.certificate.clone()?;
    let key = arguments.key.clone().unwrap_or_else(|| certificate.clone());
    let usual = TlsConfig::new(Files { certificate, key });
    Some(TlsConfig {
        hsts_max_age: arguments.hsts_max_age.map_or(usual.hsts_max_age, Duration::from_secs),
        redirect: arguments.redirect_listen,
        ..usual
    })
}
