//! One connection to the init: requests in, answers and events out.
//!
//! Quick requests are carried out in the order they came; those that wait for something (a stop, a connection) are put
//! aside, so that they hold up nothing.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::protocol::{Answer, Refusal, RefusalCode, Request, RequestFrame, SandboxState, ServerFrame};
use super::server::{Outgoing, Shared, outgoing};
use super::wire::PacketSocket;

/// After KILL nothing can resist for long; what does is stuck in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(5);

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

type Outcome = Result<(Answer, Vec<OwnedFd>), Refusal>;

/// Serves one connection to its end.
pub(super) async fn serve(shared: Rc<Shared>, socket: PacketSocket) {
    let (sender, mut queue) = outgoing();
    let socket = Rc::new(socket);
    let writer = Rc::clone(&socket);
    let writing = tokio::task::spawn_local(async move {
        while let Some(Outgoing { frame, fds }) = queue.recv().await {
            let Ok(bytes) = serde_json::to_vec(&frame) else {
                continue;
            };
            let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            if writer.send(&bytes, &borrowed).await.is_err() {
                return;
            }
        }
    });
    while let Ok(Some(packet)) = socket.receive().await {
        // Who can't be understood can't be answered either.
        let Ok(frame) = serde_json::from_slice::<RequestFrame>(&packet.bytes) else {
            break;
        };
        take(&shared, frame, packet.fds, &sender).await;
        if writing.is_finished() {
            break;
        }
    }
    writing.abort();
}

async fn take(shared: &Rc<Shared>, frame: RequestFrame, fds: Vec<OwnedFd>, sender: &mpsc::Sender<Outgoing>) {
    let RequestFrame { id, request } = frame;
    let outcome = match request {
        Request::Stop { name, grace_ms } => {
            let shared = Rc::clone(shared);
            let sender = sender.clone();
            tokio::task::spawn_local(async move {
                let outcome = stop(&shared, &name, Duration::from_millis(grace_ms)).await;
                answer(&sender, id, outcome).await;
            });
            return;
        }
        Request::Connect { port } => {
            let sender = sender.clone();
            tokio::task::spawn_local(async move {
                answer(&sender, id, connect(port).await).await;
            });
            return;
        }
        Request::Subscribe => {
            shared.subscribe(sender.clone());
            done()
        }
        Request::Shutdown { grace_ms } => {
            answer(sender, id, done()).await;
            shared.ask_shutdown(Duration::from_millis(grace_ms));
            return;
        }
        quick => carry_out(shared, quick, fds),
    };
    answer(sender, id, outcome).await;
}

async fn answer(sender: &mpsc::Sender<Outgoing>, id: u64, outcome: Outcome) {
    let message = match outcome {
        Ok((answer, fds)) => Outgoing { frame: ServerFrame::Answer { id, answer }, fds },
        Err(refusal) => Outgoing { frame: ServerFrame::Refused { id, refusal }, fds: Vec::new() },
    };
    let _ = sender.send(message).await;
}

#[expect(clippy::unnecessary_wraps, reason = "stands where other requests may be refused")]
fn done() -> Outcome {
    Ok((Answer::Done, Vec::new()))
}

fn carry_out(shared: &Rc<Shared>, request: Request, fds: Vec<OwnedFd>) -> Outcome {
    match request {
        Request::Spawn(spawn) => {
            if shared.is_shutting_down() {
                return Err(Refusal::new(RefusalCode::ShuttingDown, "the sandbox is ending"));
            }
            let started = shared.processes.borrow_mut().spawn(&spawn, fds, &shared.logs)?;
            let mut fds = vec![started.pidfd];
            fds.extend(started.terminal);
            Ok((Answer::Spawned { pid: started.pid }, fds))
        }
        Request::Signal { name, signal, whole_session } => send_signal(shared, &name, signal, whole_session),
        Request::List => Ok((
            Answer::State(SandboxState {
                processes: shared.processes.borrow().records(),
                forwards: shared.forwards.records(),
                dropped_log_lines: shared.logs.dropped(),
            }),
            Vec::new(),
        )),
        Request::Forget { name } => {
            shared.processes.borrow_mut().forget(&name);
            done()
        }
        Request::Locate { name } => {
            let pid = shared.processes.borrow().running(&name)?;
            let pidfd = Pid::from_raw(pid)
                .ok_or(rustix::io::Errno::SRCH)
                .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
                .map_err(|error| Refusal::new(RefusalCode::NoSuchProcess, format!("{name}: {error}")))?;
            Ok((Answer::Located { pid }, vec![pidfd]))
        }
        Request::Forward { listen, to, limit } => {
            shared.forwards.open(listen, to, limit)?;
            done()
        }
        Request::Unforward { listen } => {
            shared.forwards.close(listen);
            done()
        }
        Request::Ping
        | Request::Subscribe
        | Request::Shutdown { .. }
        | Request::Stop { .. }
        | Request::Connect { .. } => done(),
    }
}

fn send_signal(shared: &Shared, name: &str, signal: i32, whole_session: bool) -> Outcome {
    let number = nix::sys::signal::Signal::try_from(signal)
        .map_err(|_| Refusal::new(RefusalCode::BadRequest, format!("{signal} is not a signal")))?;
    let leader = shared.processes.borrow().running(name)?;
    let targets = if whole_session { shared.processes.borrow().family(name)?.members() } else { vec![leader] };
    for pid in targets {
        // One that ended just now needs no signal.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), number);
    }
    done()
}

/// TERM to the group; when the grace is over, KILL to all that is left, until nothing is.
async fn stop(shared: &Shared, name: &str, grace: Duration) -> Outcome {
    let family = shared.processes.borrow().family(name)?;
    let start = Instant::now();
    let mut members = family.members();
    if members.contains(&family.leader) {
        if let Some(group) = Pid::from_raw(family.leader) {
            let _ = rustix::process::kill_process_group(group, Signal::TERM);
        }
    } else {
        send_all(&members, Signal::TERM);
    }
    while !members.is_empty() {
        let waited = start.elapsed();
        if waited > grace + KILL_LIMIT {
            return Err(Refusal::new(
                RefusalCode::BadRequest,
                format!("{name}: processes {members:?} (inside the sandbox) can't be killed"),
            ));
        }
        if waited >= grace {
            send_all(&members, Signal::KILL);
        }
        let pause = Duration::from_millis(20).min(grace.saturating_sub(waited).max(Duration::from_millis(2)));
        let _ = tokio::time::timeout(pause, shared.reaped.notified()).await;
        members = family.members();
    }
    // The leader's end is noted before the answer: who lists next sees it.
    while shared.processes.borrow().running(name).is_ok_and(|pid| pid == family.leader) {
        let _ = tokio::time::timeout(Duration::from_millis(20), shared.reaped.notified()).await;
    }
    done()
}

fn send_all(pids: &[i32], signal: Signal) {
    for pid in pids.iter().copied().filter_map(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

async fn connect(port: u16) -> Outcome {
    let mut said = String::from("nothing listens");
    for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))] {
        match tokio::time::timeout(CONNECT_LIMIT, tokio::net::TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let fd = stream.into_std().map(OwnedFd::from);
                return fd
                    .map(|fd| (Answer::Connected, vec![fd]))
                    .map_err(|error| Refusal::new(RefusalCode::ConnectFailed, error.to_string()));
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Ok(Err(error)) => said = error.to_string(),
            Err(_) => "it does not accept".clone_into(&mut said),
        }
    }
    Err(Refusal::new(RefusalCode::ConnectFailed, format!("port {port}: {said}")))
}
