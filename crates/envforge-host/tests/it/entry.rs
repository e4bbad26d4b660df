//! The other things this executable is, decided before the test harness starts: a sandbox's init, a resource, `inside`, a
//! small program that tests run in sandboxes, and a host daemon that tests kill.
#![expect(unsafe_code, reason = "a function that the loader calls before main")]
#![expect(clippy::exit, reason = "stands in for main")]
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

/// The first argument that makes this executable the program `inside`.
pub(crate) const INSIDE: &str = "inside";
/// The one that makes it a host daemon.
pub(crate) const DAEMON: &str = "daemon";

// SAFETY: the section holds addresses of functions that the loader calls with the program's arguments, which one without parameters ignores.
#[unsafe(link_section = ".init_array")]
#[used]
static ENTRY: extern "C" fn() = entry;

extern "C" fn entry() {
    let arguments: Vec<String> = std::env::args().collect();
    let (is_init, is_daemon) = (envforge_host::init::is_requested(), arguments.get(1).is_some_and(|it| it == DAEMON));
    if is_init || is_daemon {
        // As for every program written in Rust, from its `main` on.
        // SAFETY: there is no second thread yet, and no handler.
        unsafe { nix::libc::signal(nix::libc::SIGPIPE, nix::libc::SIG_IGN) };
    }
    if is_init {
        let _ = envforge_host::init::main();
        std::process::exit(0);
    }
    if envforge_resources::is_requested() {
        let ended = envforge_resources::main();
        std::process::exit(i32::from(ended != std::process::ExitCode::SUCCESS));
    }
    if is_daemon {
        super::host::faults::daemon(&arguments[2]);
        std::process::exit(0);
    }
    if arguments.get(1).is_some_and(|first| first == INSIDE) {
        let rest: Vec<&str> = arguments[2..].iter().map(String::as_str).collect();
        std::process::exit(inside(&rest));
    }
}

fn inside(arguments: &[&str]) -> i32 {
    match arguments {
        ["serve", address, text] => serve(address, text),
        ["keep", megabytes, address] => keep(megabytes.parse().expect("a number"), address),
        ["eat", megabytes] => eat(megabytes.parse().expect("a number")),
        ["connect", address] => match std::net::TcpStream::connect(address) {
            Ok(_) => println!("connected"),
            Err(error) => println!("{:?}", error.kind()),
        },
        ["probe", rest @ ..] => return super::escape::probes::run(rest),
        ["conformance", case, dir] => super::conformance::rig::inside_ordinary_user(case, dir),
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

/// Keeps memory, and answers each line with how many megabytes are as they were.
fn keep(megabytes: usize, address: &str) {
    let kept: Vec<Vec<u8>> = (0..megabytes).map(|number| vec![number as u8 | 1; 1024 * 1024]).collect();
    let listener = TcpListener::bind(address).expect("bind");
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let mut lines = BufReader::new(&stream).lines();
        while let Some(Ok(_)) = lines.next() {
            let is_whole = |number: usize| kept[number].iter().all(|byte| *byte == number as u8 | 1);
            let _ = writeln!(&stream, "{}", (0..megabytes).filter(|number| is_whole(*number)).count());
        }
    }
}

fn eat(megabytes: usize) {
    let mut eaten = Vec::new();
    for _ in 0..megabytes {
        eaten.push(vec![1_u8; 1024 * 1024]);
    }
    println!("ate {}", eaten.len());
}
