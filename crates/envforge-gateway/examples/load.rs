#![allow(dead_code, unreachable_pub, reason = "x")]
#[path = "../tests/it/support/mod.rs"]
mod support;
#[tokio::main]
async fn main() {
    let world = support::World::new(support::Plan::default()).await;
    world.host.place("web", "127.0.0.1:18080".parse().unwrap());
    println!("{} {}", world.gateway.local_addr.port(), world.cookie(1));
    tokio::time::sleep(std::time::Duration::from_secs(100_000)).await;
}
