//! The other two things this executable is, decided before the test harness starts: a sandbox's init, and `inside`, a small program that tests run in sandboxes.
#![expect(unsafe_code, reason = "a function that the loader calls before main")]
#![expect(clippy::exit, reason = "stands in for main")]
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

/// The first argument that makes this executable the program `inside`.
pub(crate) const INSIDE: &str = "inside";

// SAFETY: the section holds addresses of functions that the loader calls with the program's arguments, which one without parameters ignores.
#[unsafe(link_section = ".init_array")]
#[used]
static ENTRY: extern "C" fn() = entry;

extern "C" fn entry() {
    if envforge_host::init::is_requested() {
        let _ = envforge_host::init::main();
        std::process::exit(0);
    }
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == INSIDE) {
        let rest: Vec<&str> = arguments[2..].iter().map(String::as_str).collect();
        std::process::exit(inside(&rest));
    }
}

fn inside(arguments: &[&str]) -> i32 {
    match arguments {
        ["serve", address, text] => serve(address, text),
        ["attempts"] => attempts(),
        ["eat", megabytes] => eat(megabytes.parse().expect("a number")),
        ["connect", address] => match std::net::TcpStream::connect(address) {
            Ok(_) => println!("connected"),
            Err(error) => println!("{:?}", error.kind()),
        },
        ["rootless", spec] => super::rootless::inside(spec),
        other => {
            println!("inside: unknown {other:?}");
            return 2;
        }
    }
    0
}

/// Answers each line with the text.
fn serve(address: &str, text: &str) {
    let listener = TcpListener::bind(address).expect("bind");
    println!("listening");
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let text = text.to_owned();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(&stream).lines();
            while let Some(Ok(line)) = lines.next() {
                let _ = writeln!(&stream, "{text} {line}");
            }
        });
    }
}

/// Tries what a sandbox must refuse; prints the outcome of each.
fn attempts() {
    use nix::libc;
    use nix::sched::{CloneFlags, unshare};
    let show = |what: &str, outcome: Result<(), String>| {
        println!("{what}: {}", outcome.err().unwrap_or_else(|| "ALLOWED".to_owned()));
    };
    let word = |error: nix::errno::Errno| format!("{error:?}");
    let raw = |outcome: i64| {
        if outcome >= 0 { Ok(()) } else { Err(format!("{:?}", nix::errno::Errno::last())) }
    };
    show("setuid", nix::unistd::setuid(nix::unistd::Uid::from_raw(0)).map_err(word));
    show(
        "mount",
        nix::mount::mount(Some("none"), "/tmp", Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)
            .map_err(word),
    );
    show("unshare user", unshare(CloneFlags::CLONE_NEWUSER).map_err(word));
    show("unshare net", unshare(CloneFlags::CLONE_NEWNET).map_err(word));
    show("chroot", nix::unistd::chroot("/tmp").map_err(word));
    // SAFETY: the calls below are refused before they look at their arguments, which are null or numbers.
    unsafe {
        show("clone3", raw(libc::syscall(libc::SYS_clone3, 0, 0)));
        show("clone user", raw(libc::syscall(libc::SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, 0, 0, 0, 0)));
        show("x32 getpid", raw(libc::syscall(0x4000_0000 + libc::SYS_getpid)));
        show("vsock", raw(i64::from(libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0))));
        show("bpf", raw(libc::syscall(libc::SYS_bpf, 0, 0, 0)));
        show("keyctl", raw(libc::syscall(libc::SYS_keyctl, 0, 0, 0)));
        show("personality", raw(libc::syscall(libc::SYS_personality, 0x0400_0000)));
        show("reboot", raw(libc::syscall(libc::SYS_reboot, 0, 0, 0, 0)));
    }
}

fn eat(megabytes: usize) {
    let mut eaten = Vec::new();
    for _ in 0..megabytes {
        eaten.push(vec![1_u8; 1024 * 1024]);
    }
    println!("ate {}", eaten.len());
}
