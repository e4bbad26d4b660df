//! What an operator decides of the gateway's traffic: whom it believes, how often it answers, and what it writes down.

use crate::args::whole;
use clap::Args;
use envforge_gateway::{Limits, Network, Rate};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Said to the gateway itself, or to a box for its gateway.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrafficArguments {
    /// A load balancer in front, as an address or a network: what it says of where a request came from is believed
    #[arg(long = "trust-proxy", value_name = "NETWORK")]
    pub(crate) trusted: Vec<Network>,
    /// Requests without a session answered each second to one address, after a burst of ten seconds' worth; 0 is no limit
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().stranger_rate.each_second)]
    pub(crate) stranger_rate: u32,
    /// Requests answered each second with the sessions of one link, after a burst of ten seconds' worth; 0 is no limit
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().link_rate.each_second)]
    pub(crate) link_rate: u32,
    /// Connections of one address at once; of IPv6, of one /64
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().address_connections)]
    pub(crate) address_connections: usize,
    /// Seconds a service may take to begin its answer
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().answer.as_secs())]
    pub(crate) service_timeout: u64,
    /// File that gets a line of JSON for each request; none when absent
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,
}

impl TrafficArguments {
    /// The limits with these in them.
    pub(crate) fn limits(&self, limits: &Limits) -> Limits {
        let rate = |each_second: u32| Rate { each_second, burst: each_second.saturating_mul(10) };
        Limits {
            stranger_rate: rate(self.stranger_rate),
            link_rate: rate(self.link_rate),
            address_connections: self.address_connections,
            answer: Duration::from_secs(self.service_timeout),
            ..limits.clone()
        }
    }

    /// The same, said to a gateway process.
    pub(crate) fn flags(&self) -> Vec<(&'static str, OsString)> {
        let mut flags = vec![
            ("--stranger-rate", self.stranger_rate.to_string().into()),
            ("--link-rate", self.link_rate.to_string().into()),
            ("--address-connections", self.address_connections.to_string().into()),
            ("--service-timeout", self.service_timeout.to_string().into()),
        ];
        flags.extend(self.trusted.iter().map(|network| ("--trust-proxy", network.to_string().into())));
        flags.extend(self.access_log.iter().map(|file| ("--access-log", whole(file).into())));
        flags
    }
}
