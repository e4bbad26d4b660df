//! The mail sink, sent to by Python's `smtplib` and by `curl`.

use super::support::{Resource, unfinished, wait_until};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

fn start(directory: &Path) -> Resource {
    Resource::start("mail", directory, &[])
}

/// Every message kept, the oldest first: its content, and what is known of it.
fn kept(directory: &Path) -> Vec<(Vec<u8>, serde_json::Value)> {
    let entries = std::fs::read_dir(directory.join("messages")).expect("listed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let read = |path| {
        let file = std::fs::read(path).expect("read");
        let (rest, tail) = file.split_at(file.len() - 20);
        assert_eq!(&tail[12..], b"efmail01");
        let size = usize::try_from(u64::from_le_bytes(tail[..8].try_into().expect("eight bytes"))).expect("small");
        let (content, about) = rest.split_at(size);
        (content.to_vec(), serde_json::from_slice(about).expect("JSON"))
    };
    paths.iter().map(read).collect()
}

/// Runs a Python program that is given the port.
#[expect(clippy::disallowed_methods, reason = "a client nobody here wrote")]
fn python(mail: &Resource, program: &str) {
    let port = mail.address.rsplit(':').next().expect("a port");
    let output = Command::new("python3").args(["-c", program, port]).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

// proves RUN-6
#[test]
fn what_smtplib_sends_is_kept_as_it_was_sent() {
    let directory = tempfile::tempdir().expect("directory");
    let mail = start(directory.path());
    python(
        &mail,
        r#"
import smtplib, sys
from email.message import EmailMessage
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=30) as smtp:
    smtp.login("anybody", "anything")
    for name in ("8bitmime", "smtputf8", "pipelining", "size", "enhancedstatuscodes"):
        assert smtp.has_extn(name), name
    assert not smtp.has_extn("starttls")
    message = EmailMessage()
    message["From"] = "App <app@example.org>"
    message["To"] = "one@example.net"
    message["Subject"] = "Grüße an alle"
    message.set_content("first\n.\n..dots\n.end\n")
    message.add_attachment(b"\0\1\2" * 1000, maintype="application", subtype="octet-stream", filename="x.bin")
    assert smtp.send_message(message, to_addrs=["one@example.net", "two@example.net"]) == {}
    assert smtp.sendmail("bounce@example.org", ["x@y"], b"Subject: raw\r\n\r\n\xff\xfe 8 bit\r\n.", ["BODY=8BITMIME"]) == {}
    smtp.sendmail("", ["root@localhost"], ".starts with a dot")
    smtp.sendmail("mü@exämple.org", ["ünïcode@例え.jp"], "Subject: u\r\n\r\nx".encode(), ["SMTPUTF8"])
"#,
    );
    let kept = kept(directory.path());
    assert_eq!(kept.len(), 4);
    let (content, about) = &kept[0];
    let text = String::from_utf8_lossy(content);
    assert!(text.contains("first\r\n.\r\n..dots\r\n.end\r\n") && text.contains("filename=\"x.bin\""), "{text}");
    assert_eq!(about["from"], "app@example.org");
    assert_eq!(about["to"], serde_json::json!(["one@example.net", "two@example.net"]));
    assert_eq!(about["subject"], "Grüße an alle");
    assert_eq!(kept[1].0, b"Subject: raw\r\n\r\n\xff\xfe 8 bit\r\n.\r\n");
    assert_eq!(kept[2].0, b".starts with a dot\r\n");
    assert_eq!((&kept[2].1["from"], &kept[2].1["to"][0]), (&"".into(), &"root@localhost".into()));
    assert_eq!((&kept[3].1["from"], &kept[3].1["to"][0]), (&"mü@exämple.org".into(), &"ünïcode@例え.jp".into()));
}

// proves RUN-6
#[test]
fn what_curl_sends_is_kept_too() {
    let directory = tempfile::tempdir().expect("directory");
    let mail = start(directory.path());
    let file = directory.path().join("message");
    std::fs::write(&file, "Subject: by curl\r\n\r\n.\r\nx\r\n").expect("written");
    #[expect(clippy::disallowed_methods, reason = "a client nobody here wrote")]
    let output = Command::new("curl")
        .args(["-sS", "-m", "30", "--user", "a:b", "--mail-from", "a@b", "--mail-rcpt", "c@d", "--upload-file"])
        .args([file.to_str().expect("text"), &format!("smtp://{}", mail.address)])
        .output()
        .expect("curl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kept = kept(directory.path());
    assert_eq!(kept[0].0, b"Subject: by curl\r\n\r\n.\r\nx\r\n");
    assert_eq!(kept[0].1["subject"], "by curl");
}

// proves RUN-6
#[test]
fn killed_in_the_middle_of_a_message_it_has_what_it_had() {
    let directory = tempfile::tempdir().expect("directory");
    let mut mail = start(directory.path());
    python(
        &mail,
        "import smtplib,sys\nsmtplib.SMTP('127.0.0.1',int(sys.argv[1])).sendmail('a@b',['c@d'],'Subject: first\\n\\nx')",
    );
    let first = kept(directory.path());
    assert_eq!(first.len(), 1);
    let mut client = TcpStream::connect(&*mail.address).expect("connected");
    client.write_all(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n").expect("sent");
    let mut said = BufReader::new(client.try_clone().expect("the same"));
    let answered = (0..4).map(|_| {
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        line
    });
    assert!(answered.last().expect("a line").starts_with("354 "));
    client.write_all(&b"half a message\r\n".repeat(10_000)).expect("sent");
    wait_until("half a message", || unfinished(directory.path()).iter().any(|length| *length > 100_000));
    mail.kill();
    assert_eq!(unfinished(directory.path()).len(), 1, "it was killed while it wrote");
    let mail = start(directory.path());
    python(
        &mail,
        "import smtplib,sys\nsmtplib.SMTP('127.0.0.1',int(sys.argv[1])).sendmail('a@b',['c@d'],'Subject: again\\n\\nx')",
    );
    let kept = kept(directory.path());
    assert_eq!((&kept[..1], kept.len()), (&first[..], 2));
    assert!(unfinished(directory.path()).is_empty());
}
