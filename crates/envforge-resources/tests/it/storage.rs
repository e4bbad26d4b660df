//! Object storage, asked by `curl`.

use super::support::{Resource, unfinished, wait_until};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const ID: &str = "ws_0123456789abcdef";
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

struct Storage(Resource);

impl Storage {
    fn start(directory: &Path) -> Self {
        let keys = [("S3_ACCESS_KEY_ID", ID), ("S3_SECRET_ACCESS_KEY", SECRET)];
        let bucket = [("S3_BUCKET", "workspace"), ("S3_REGION", "us-east-1")];
        Self(Resource::start("object_storage", directory, &[keys, bucket].concat()))
    }

    #[expect(clippy::disallowed_methods, reason = "a client nobody here wrote")]
    fn curl(&self, path: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "-m", "60", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{ID}:{SECRET}")])
            .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(arguments)
            .arg(format!("http://{}{path}", self.0.address));
        command
    }

    /// What is answered, with its status behind it.
    fn ask(&self, path: &str, arguments: &[&str]) -> String {
        let output = self.curl(path, &[&["-w", " %{http_code}"], arguments].concat()).output().expect("curl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn put(&self, path: &str, content: &str) -> String {
        self.ask(path, &["-X", "PUT", "--data-binary", content])
    }
}

// proves RUN-6
#[test]
fn killed_in_the_middle_of_a_put_it_has_what_it_had() {
    let directory = tempfile::tempdir().expect("directory");
    let mut storage = Storage::start(directory.path());
    assert_eq!(storage.put("/workspace/kept", "first"), " 200");
    let large = directory.path().join("large");
    std::fs::write(&large, vec![7; 64 * 1024 * 1024]).expect("written");
    let large = large.to_str().expect("text");
    for key in ["kept", "new"] {
        let path = format!("/workspace/{key}");
        let mut client = storage.curl(&path, &["-T", large, "--limit-rate", "16M", "-o", "/dev/null"]);
        let mut client = client.stderr(Stdio::null()).spawn().expect("curl runs");
        wait_until("half an object", || unfinished(directory.path()).iter().any(|length| *length > 1024 * 1024));
        storage.0.kill();
        client.wait().expect("gone");
        assert_eq!(unfinished(directory.path()).len(), 1, "it was killed while it wrote");
        storage = Storage::start(directory.path());
        assert_eq!(storage.ask("/workspace/kept", &[]), "first 200");
        assert!(storage.ask("/workspace/new", &[]).ends_with(" 404"));
        assert!(unfinished(directory.path()).is_empty());
    }
}

// proves RUN-6
#[test]
fn any_key_stands_beside_any_other() {
    let directory = tempfile::tempdir().expect("directory");
    let mut storage = Storage::start(directory.path());
    let long = "y".repeat(1_000);
    let keys = ["a", "a/b", "a/b/c", "a//b", long.as_str()];
    for key in keys {
        assert_eq!(storage.put(&format!("/workspace/{key}"), key), " 200", "{key}");
    }
    storage.0.kill();
    let storage = Storage::start(directory.path());
    let mut listed = String::new();
    for key in keys {
        assert_eq!(storage.ask(&format!("/workspace/{key}"), &[]), format!("{key} 200"));
    }
    let mut sorted = keys;
    sorted.sort_unstable();
    for key in sorted {
        let _ = write!(listed, "<Key>{key}</Key>");
    }
    let answer = storage.ask("/workspace?list-type=2", &[]);
    let found: String = answer
        .match_indices("<Key>")
        .map(|(at, _)| &answer[at..at + answer[at..].find("</Key>").expect("closed") + 6])
        .collect();
    assert_eq!(found, listed);
    assert!(storage.ask("/workspace?delimiter=%2F&list-type=2", &[]).contains("<Prefix>a/</Prefix>"));
}

// proves RUN-6
#[test]
fn what_is_refused_changes_nothing() {
    let directory = tempfile::tempdir().expect("directory");
    let storage = Storage::start(directory.path());
    assert_eq!(storage.put("/workspace/key", "kept"), " 200");
    let wrong = ["-X", "PUT", "--data-binary", "new", "-H", "content-md5: AAAAAAAAAAAAAAAAAAAAAA=="];
    assert!(storage.ask("/workspace/key", &wrong).contains("BadDigest"));
    let wrong = ["-X", "PUT", "--data-binary", "new", "-H", "x-amz-checksum-crc32: AAAAAA=="];
    assert!(storage.ask("/workspace/key", &wrong).contains("BadDigest"));
    let only_new = ["-X", "PUT", "--data-binary", "new", "-H", "if-none-match: *"];
    assert!(storage.ask("/workspace/key", &only_new).contains("PreconditionFailed"));
    assert!(storage.ask("/workspace", &["-X", "DELETE"]).contains("BucketNotEmpty"));
    assert!(storage.put("/elsewhere/key", "new").contains("NoSuchBucket"));
    assert!(storage.ask("/workspace/key", &["--user", &format!("{ID}:other")]).contains("SignatureDoesNotMatch"));
    assert!(storage.ask("/workspace/key", &["--user", &format!("other:{SECRET}")]).contains("InvalidAccessKeyId"));
    assert_eq!(storage.ask("/workspace/key", &[]), "kept 200");
    assert_eq!(storage.ask("/workspace/key", &["-H", "range: bytes=1-2"]), "ep 206");
    assert!(unfinished(directory.path()).is_empty(), "nothing is left of what was refused");
}
