//! Hostile `Cookie` headers, thousands a second: the session never reaches a service, and every other cookie does, byte by byte.
//!
//! Each input is one or more header values, kept in `fuzz/corpus/cookie/` a line each, where `@session@` stands for a good
//! session. What arrives is compared with a model that is far simpler than any engine. `./dev soak --fuzz cookie` goes on for
//! as long as asked.

use crate::support::readings::strict;
use crate::support::recorder::Recorder;
use crate::support::{COOKIE, HOST, Plan, World};
use envforge_gateway::{Limits, Rate};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Inputs of an ordinary run.
const INPUTS: u32 = 1_500;
/// What cookies are made of, ours and others'.
const PIECES: [&str; 40] = [
    "envforge-session",
    "ENVFORGE-SESSION",
    "__Host-envforge",
    "__host-ENVFORGE",
    "envforge-sessions",
    "xenvforge-session",
    "__Host-envforge-x",
    "envforge",
    "=",
    "=",
    "=",
    "==",
    ";",
    ";",
    ";",
    "; ",
    "; ",
    " ;",
    ";;",
    ";\t",
    ",",
    ", ",
    " ",
    "\t",
    "\"",
    "\"a; b\"",
    "\\",
    "a",
    "b",
    "theme",
    "dark",
    "@session@",
    "@session@",
    "efs1.",
    "%3d",
    "%3b",
    "$Version=1",
    "\u{fc}",
    "{\"a\":1}",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

// proves LINK-10
#[tokio::test]
async fn the_session_stays_here_and_every_other_cookie_goes_on() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = variable("ENVFORGE_FUZZ_SEED").unwrap_or(7);
    let end = variable("ENVFORGE_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (begun, mut random, mut line, mut count) = (Instant::now(), Random(seed | 1), Line::open().await, 0);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/cookie");
    let mut corpus = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("the corpus").map(|file| file.expect("a file").path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(file).expect("text");
        let values: Vec<String> = text.lines().map(str::to_owned).collect();
        line.check(&values, "corpus").await;
        corpus.push(values);
    }
    while end.map_or(count < INPUTS, |end| Instant::now() < end) {
        let mut values =
            if random.below(2) == 0 { corpus[random.below(corpus.len())].clone() } else { vec![String::new()] };
        for _ in 0..=random.below(8) {
            random.change(&mut values);
        }
        line.check(&values, &format!("seed {seed}, input {count}")).await;
        count += 1;
    }
    println!(
        "cookie: {count} inputs, {:.0} each second, seed {seed}",
        f64::from(count) / begun.elapsed().as_secs_f64()
    );
}

/// A kept connection to the gateway of a world whose service keeps what it is sent.
struct Line {
    world: World,
    recorder: Recorder,
    session: String,
    stream: TcpStream,
}

impl Line {
    async fn open() -> Self {
        // One link asks as fast as it is answered; a run that is paused goes on.
        let (link_rate, day) = (Rate { each_second: 0, burst: 0 }, Duration::from_hours(24));
        let limits = Limits { link_rate, lease: day, header_time: day, ..Limits::default() };
        let (world, recorder) = (World::new(Plan { limits, ..Plan::default() }).await, Recorder::start().await);
        world.host.place("web", recorder.address);
        let (session, stream) = (world.session(1), world.connect().await);
        Self { world, recorder, session, stream }
    }

    /// Sends the values behind a good session, and compares what arrived with what should.
    async fn check(&mut self, values: &[String], which: &str) {
        let values: Vec<String> = values.iter().map(|value| value.replace("@session@", &self.session)).collect();
        let mut head = format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\nCookie: {COOKIE}={}\r\n", self.session);
        for value in &values {
            write!(head, "Cookie: {value}\r\n").expect("a string takes anything");
        }
        head.push_str("\r\n");
        self.stream.write_all(head.as_bytes()).await.expect("written");
        let (status, is_over) = self.answer().await;
        let sent = self.recorder.take().concat();
        if is_over {
            self.stream = self.world.connect().await;
        }
        if values.iter().any(|value| value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)) {
            assert_eq!(status, 400, "{which}: {values:?} is no header");
            return;
        }
        assert_eq!(status, 200, "{which}: {values:?} is refused");
        let (read, length) = strict(&sent).expect("a clear request").expect("a whole request");
        assert_eq!(length, sent.len(), "{which}: one request");
        let wanted: Vec<Vec<u8>> =
            values.iter().flat_map(|value| pairs(value.as_bytes())).filter(|pair| !is_ours(pair)).collect();
        // Headers were read a byte a letter.
        let found = read.all("cookie").map(|value| value.chars().map(|letter| letter as u8).collect::<Vec<u8>>());
        let found: Vec<Vec<u8>> = found.flat_map(|value| pairs(&value)).collect();
        let shown = |pairs: &[Vec<u8>]| pairs.iter().map(|pair| pair.escape_ascii().to_string()).collect::<Vec<_>>();
        assert_eq!(shown(&found), shown(&wanted), "{which}: {values:?}");
    }

    /// The status, and whether the gateway hung up.
    async fn answer(&mut self) -> (u16, bool) {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let length = timeout(Duration::from_secs(10), self.stream.read(&mut buffer)).await.expect("in time");
            let length = length.unwrap_or(0);
            bytes.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&bytes);
            let status = || text.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
            let is_closing = text.to_ascii_lowercase().contains("connection: close");
            if length == 0 {
                return (status(), true);
            }
            // The recorder's answer is its body's end; the gateway's own refusals close.
            if text.ends_with("GET /x 0") {
                return (status(), is_closing);
            }
        }
    }
}

/// What lies between semicolons, without the blanks around it; nothing is no cookie.
fn pairs(value: &[u8]) -> Vec<Vec<u8>> {
    let trimmed = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    trimmed.filter(|pair| !pair.is_empty()).map(<[u8]>::to_vec).collect()
}

fn is_ours(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    matches!(&name[..], b"envforge-session" | b"__host-envforge")
}

/// Choices, the same for the same seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % limit as u64) as usize
    }

    /// One change: a piece put in, a piece taken out, a header more or less, a byte that is any.
    fn change(&mut self, values: &mut Vec<String>) {
        let which = self.below(values.len());
        let letters: Vec<char> = values[which].chars().collect();
        let at = self.below(letters.len() + 1);
        match self.below(10) {
            0 if values.len() < 6 => values.push(PIECES[self.below(PIECES.len())].to_owned()),
            1 if values.len() > 1 => drop(values.remove(which)),
            2 => {
                let end = (at + self.below(12)).min(letters.len());
                values[which] = letters[..at].iter().chain(&letters[end..]).collect();
            }
            3 if self.below(20) == 0 => {
                let any = char::from(self.below(128) as u8);
                let any = if matches!(any, '\r' | '\n') { '\0' } else { any };
                values[which] = letters[..at].iter().chain([&any]).chain(&letters[at..]).collect();
            }
            _ if letters.len() < 2_000 => {
                let piece: Vec<char> = PIECES[self.below(PIECES.len())].chars().collect();
                values[which] = letters[..at].iter().chain(&piece).chain(&letters[at..]).collect();
            }
            _ => values[which].clear(),
        }
    }
}
