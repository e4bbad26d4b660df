//! The gateway between a scripted server and a real app, over real sockets.
//!
//! Each test builds a `World`: a gateway, a server that answers as it is told and keeps every call, a host that hands
//! out real connections, and small apps behind them. Nothing is mocked inside the gateway; tests speak HTTP to it and
//! look at what came out on the other sides.

mod conformance;
mod cookies;
mod differential;
mod forwarding;
mod frozen;
mod h2c;
mod http1;
mod http2;
mod http2_clients;
mod lease;
mod members;
mod operating;
mod realtime;
mod rewriting;
mod routing;
mod share;
mod slow;
mod start;
mod support;
mod tls;
mod unverified;
mod waking;
