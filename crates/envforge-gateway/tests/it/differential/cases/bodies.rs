//! Where a body ends: two lengths, none, one nobody can count, and chunks that are none.

use super::Must::{Break, Choose, Pass, Refuse, Settle};
use super::{Case, Kit, case};

/// `Content-Length`, alone and with others. What follows five good bytes is hidden.
pub(super) fn lengths(kit: &Kit) -> Vec<Case> {
    let hidden = kit.hidden();
    let mut cases = Vec::new();
    for value in [
        "+5",
        "-5",
        "-0",
        "0x5",
        "5 5",
        "5;",
        "5,",
        ",5",
        "5.0",
        "1e1",
        "５",
        "",
        " ",
        "5\u{b}",
        "\u{b}5",
        "5\0",
        "\"5\"",
        "5, 6",
        "99999999999999999999",
        "18446744073709551616",
        "18446744073709551621",
        "5\r\nContent-Length: 6",
        "0\r\nContent-Length: 5",
        "5\r\nContent-Length: 0",
        "5\r\nContent-Length:",
        "5\r\ncontent-length: +5",
    ] {
        let lines = format!("Content-Length: {value}\r\n");
        cases.push(case(
            format!("Content-Length: {}", value.escape_debug()),
            Refuse,
            kit.post(&lines, &format!("12345{hidden}")),
        ));
    }
    for value in ["5, 5", "5\r\nContent-Length: 5", "05", "5\r\nContent-length: 5", "\t5\t", "\r\n 5", "5\r\n "] {
        let lines = format!("Content-Length: {value}\r\n");
        cases.push(case(format!("Content-Length: {}", value.escape_debug()), Settle, kit.post(&lines, "12345")));
    }
    for line in [
        "Content-Length : 5",
        "Content-Length\t: 5",
        "Content-Length\u{b}: 5",
        "Content-Length\0: 5",
        "X: y\rContent-Length: 5",
        "Content-Length: 5\rX: y",
    ] {
        cases.push(case(
            line.escape_debug().to_string(),
            Refuse,
            kit.post(&format!("{line}\r\n"), &format!("12345{hidden}")),
        ));
    }
    let far = kit.post("Content-Length: 4294967301\r\n", &format!("12345{hidden}"));
    cases.push(case("Content-Length: 4294967301", Settle, far));
    let whole = kit.post(&format!("Content-Length: {}\r\n", hidden.len()), &hidden);
    cases.push(case("a request in a body", Pass(hidden.clone().into_bytes()), whole));
    cases.push(case("a body without length", Choose, kit.post("", &format!("0\r\n\r\n{hidden}"))));
    cases
}

/// `Transfer-Encoding`, as it should be, as it should not, and beside a length.
pub(super) fn codings(kit: &Kit) -> Vec<Case> {
    let hidden = kit.hidden();
    let wrapped = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let ended = format!("0\r\n\r\n{hidden}");
    let mut cases = Vec::new();
    for line in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunke",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked ",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{b}",
        "Transfer-Encoding: \u{c}chunked",
        "Transfer-Encoding: \0chunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\0: chunked",
        " Transfer-Encoding: chunked",
        "\tTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chun\r\n ked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\r\n , identity",
        "Transfer-Encoding:\nchunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\rX: y",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: ",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked chunked",
        "Transfer-Encoding: CHUNKED",
        "tRANSFER-eNCODING: cHuNkEd",
        "Transfer-Encoding: \u{ff43}hunked",
        "Transfer-Encoding\u{a0}: chunked",
    ] {
        let name = line.escape_debug().to_string();
        let length = format!("Content-Length: {}\r\n", ended.len());
        cases.push(case(format!("{name}, length after"), Settle, kit.post(&format!("{line}\r\n{length}"), &ended)));
        cases.push(case(format!("{name}, length before"), Settle, kit.post(&format!("{length}{line}\r\n"), &ended)));
        cases.push(case(
            format!("{name}, length short"),
            Settle,
            kit.post(&format!("{line}\r\nContent-Length: 2\r\n"), &wrapped),
        ));
        cases.push(case(name, Settle, kit.post(&format!("{line}\r\n"), &wrapped)));
    }
    for line in ["Transfer-Encoding: chunked", "transfer-encoding: Chunked", "TRANSFER-ENCODING:CHUNKED"] {
        let good = kit.post(&format!("{line}\r\n"), "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        cases.push(case(format!("{line}, good"), Pass(b"abcde".to_vec()), good));
    }
    let old = String::from_utf8(kit.post("Transfer-Encoding: chunked\r\n", &wrapped)).expect("text");
    cases.push(case("chunked in HTTP/1.0", Settle, old.replace("/case HTTP/1.1", "/case HTTP/1.0").into_bytes()));
    cases
}

/// Chunks: sizes, extensions, ends of lines, trailers.
pub(super) fn chunks(kit: &Kit) -> Vec<Case> {
    let hidden = kit.hidden();
    let chunked = |body: &str| kit.post("Transfer-Encoding: chunked\r\n", body);
    let mut cases = Vec::new();
    for body in [
        "g\r\n12345\r\n0\r\n\r\n",
        "-5\r\n12345\r\n0\r\n\r\n",
        "+5\r\n12345\r\n0\r\n\r\n",
        "0x5\r\n12345\r\n0\r\n\r\n",
        "\r\n12345\r\n0\r\n\r\n",
        ";x\r\n12345\r\n0\r\n\r\n",
        "5 5\r\n12345\r\n0\r\n\r\n",
        "5,5\r\n12345\r\n0\r\n\r\n",
        "5\0\r\n12345\r\n0\r\n\r\n",
        "10000000000000005\r\n12345\r\n0\r\n\r\n",
        "ffffffffffffffff0\r\n12345\r\n0\r\n\r\n",
        "5;a\nb\r\n12345\r\n0\r\n\r\n",
        "5;a\rb\r\n12345\r\n0\r\n\r\n",
        "5\n12345\r\n0\r\n\r\n",
        "5\r12345\r\n0\r\n\r\n",
        "5\r\n12345\n0\r\n\r\n",
        "5\r\n123450\r\n\r\n",
        "5\r\n1234567\r\n0\r\n\r\n",
        "5\r\n12345\r0\r\n\r\n",
        "5\r\r\n12345\r\n0\r\n\r\n",
        "5\r\n12345XX0\r\n\r\n",
        "5\r\n12345\r\n\r\n0\r\n\r\n",
        "5\r\n12345\r\n-0\r\n\r\n",
        "5\r\n12345\r\n0x0\r\n\r\n",
    ] {
        cases.push(case(format!("chunks {}", body.escape_debug()), Break, chunked(&format!("{body}{hidden}"))));
    }
    for body in [
        " 5\r\n12345\r\n0\r\n\r\n",
        "5 \r\n12345\r\n0\r\n\r\n",
        "5\t\r\n12345\r\n0\r\n\r\n",
        "5 ;x\r\n12345\r\n0\r\n\r\n",
        "00000000000000000005\r\n12345\r\n0\r\n\r\n",
        "5\r\n12345\r\n00000000000000000000\r\n\r\n",
        "5\r\n12345\r\n0;x\r\n\r\n",
        "5;a=\"b\r\n12345\r\n0\r\n\r\n",
        "5;\u{b}\r\n12345\r\n0\r\n\r\n",
        "5;\0\r\n12345\r\n0\r\n\r\n",
        "5\r\n12345\r\n0\r\n\n",
        "5\r\n12345\r\n0\n\r\n",
        "5\r\n12345\r\n0\n\n",
        "5\r\n12345\r\n0\r\nX : y\r\n\r\n",
        "5\r\n12345\r\n0\r\nX y: z\r\n\r\n",
        "5\r\n12345\r\n0\r\nX: y\r\n z\r\n\r\n",
        "5\r\n12345\r\n0\r\nX: y\n\r\n",
        "5\r\n12345\r\n0\r\n: y\r\n\r\n",
        "5\r\n12345\r\n0\r\nContent-Length: 50\r\n\r\n",
        "5\r\n12345\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5\r\n12345\r\n0\r\nHost: evil\r\n\r\n",
        "5\r\n12345\r\n0\r\nCookie: a=b\r\n\r\n",
        "5\r\n12345\r\n0\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
    ] {
        cases.push(case(format!("chunks {}", body.escape_debug()), Settle, chunked(body)));
    }
    for body in [
        "5\r\n12345\r\n0\r\n\r\n",
        "5;ext\r\n12345\r\n0\r\n\r\n",
        "5;a=b;c=\"d\"\r\n12345\r\n0\r\n\r\n",
        "05\r\n12345\r\n0\r\n\r\n",
        "2\r\n12\r\n3\r\n345\r\n0\r\n\r\n",
        "5\r\n12345\r\n0\r\nX-Sum: y\r\n\r\n",
    ] {
        cases.push(case(format!("chunks {}", body.escape_debug()), Pass(b"12345".to_vec()), chunked(body)));
    }
    let (wide, many) = ("x".repeat(100_000), "X: y\r\n".repeat(20_000));
    cases.push(case("a chunk's extension of 100 kB", Settle, chunked(&format!("5;{wide}\r\n12345\r\n0\r\n\r\n"))));
    cases.push(case("a chunk of 2^64 - 5", Settle, chunked(&format!("fffffffffffffffb\r\n12345{hidden}"))));
    let small: String = (0..4_000).map(|_| "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nx\r\n").collect();
    cases.push(case("4,000 chunks with extensions", Settle, chunked(&format!("{small}0\r\n\r\n"))));
    cases.push(case("a trailer of 100 kB", Settle, chunked(&format!("5\r\n12345\r\n0\r\nX: {wide}\r\n\r\n"))));
    cases.push(case("20,000 trailers", Settle, chunked(&format!("5\r\n12345\r\n0\r\n{many}\r\n"))));
    cases.push(case("a request where trailers are", Break, chunked(&format!("5\r\n12345\r\n0\r\n{hidden}"))));
    cases
}
