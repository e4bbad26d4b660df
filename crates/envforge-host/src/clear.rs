//! Ending what outlives a host daemon on purpose: for a machine that is to be left as it was found.
//!
//! Sandboxes with all in them, networks, the resource cluster and the rules of the way out go; checkouts, homes, databases and
//! journals stay, so that the next daemon takes every workspace up again, asleep. May be repeated, and goes on where an
//! earlier attempt ended.

use crate::claim::{self, Claim};
use crate::config::HostConfig;
use crate::engines::{Engine as _, Layer, native::Native};
use crate::host::{StartError, lock};
use crate::journal;
use crate::place::DataDir;
use crate::resources::postgres::Cluster;
use crate::sys::capability;

/// Ends everything the workspaces of the host with this configuration have running; the answer is how many workspaces there
/// are. Refused while its daemon runs. Instance, users and network are those its daemon was last started with.
pub async fn clear(mut config: HostConfig) -> Result<usize, StartError> {
    let isolation = capability::probe()?;
    let data = DataDir::new(&config.data_dir, !isolation.rootless);
    if !data.workspaces().exists() {
        return Ok(0);
    }
    let _lock = lock(&config.data_dir).await?;
    let claim = if isolation.rootless { None } else { claim::of_host(&config.claims, &config.data_dir)? };
    if let Some(Claim { instance, uid_base, network_pool, .. }) = claim.clone() {
        (config.instance, config.uid_base, config.network_pool) = (instance, uid_base, network_pool);
    }
    let engine = Native::new(&config, isolation)?;
    let states = journal::read_all(&data)?.states;
    for state in &states {
        let place = data.place(state.workspace, state.index, state.uid);
        for (layer, identity) in [(Layer::Elevated, None), (Layer::Runtime, state.runtime), (Layer::Shell, state.shell)]
        {
            drop(identity.and_then(|identity| engine.adopt(&place, layer, identity)));
            engine.end(&place, layer).await.map_err(std::io::Error::other)?;
        }
        engine.remove_network(&place).await.map_err(std::io::Error::other)?;
    }
    Cluster::new(&config, &data).stop().await.map_err(std::io::Error::other)?;
    engine.leave().await?;
    if let Some(claim) = claim {
        claim::release(&config.claims, &claim)?;
    }
    Ok(states.len())
}
