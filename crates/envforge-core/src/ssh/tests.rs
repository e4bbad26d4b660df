//! Addresses, logins, keys and messages; OpenSSH's own are the measure.

use super::agent::{FAILURE, Request, identities, signature};
use super::wire::put_string;
use super::*;
use crate::secret::Secret;
use proptest::prelude::*;

/// `ssh-keygen -t ed25519 -N '' -C test`, and what `ssh-keygen -lf` says of it.
const KEY: &str = include_str!("testdata/id_ed25519");
const PUBLIC: &str = include_str!("testdata/id_ed25519.pub");
const FINGERPRINT: &str = "SHA256:i+T6PTh5hUNHhofz/Zv5OnKKb5+3lypR7JcJvRsMgg8";

fn key() -> SshKey {
    SshKey::import(&Secret::new(KEY.to_owned())).expect("a key")
}

fn login(user: &str, service: &str, method: &str, key: &SshPublicKey, host_key: Option<&[u8]>) -> Vec<u8> {
    let mut data = Vec::new();
    put_string(&mut data, &[7; 32]);
    data.push(USERAUTH_REQUEST);
    for text in [user, service, method] {
        put_string(&mut data, text.as_bytes());
    }
    data.push(1);
    put_string(&mut data, b"ssh-ed25519");
    put_string(&mut data, &key.blob());
    if let Some(host_key) = host_key {
        put_string(&mut data, host_key);
    }
    data
}

#[test]
fn an_address_says_who_logs_in_where() {
    let parse = |address: &str| SshRepository::parse(address).map(|r| (r.user, r.host.to_string(), r.spelled));
    let one = |user: &str, host: &str, spelled: &str| Some((user.to_owned(), host.to_owned(), spelled.to_owned()));
    assert_eq!(parse("git@GitHub.com:acme/planner.git"), one("git", "github.com", "GitHub.com"));
    assert_eq!(parse("ssh://git@github.com/acme/planner.git"), one("git", "github.com", "github.com"));
    assert_eq!(parse("ssh://git@github.com:22/acme/planner.git"), one("git", "github.com", "github.com"));
    assert_eq!(parse("ssh://git@127.0.0.1:2222/srv/a.git"), one("git", "127.0.0.1:2222", "127.0.0.1"));
    for address in [
        "https://git@github.com/acme/planner.git",
        "ssh://github.com/acme/planner.git",
        "github.com:acme/planner.git",
        "/srv/git@host:planner",
        "ssh://git:password@github.com/acme/planner.git",
        "ssh://-oProxyCommand=x@github.com/a",
        "git@-oProxyCommand=x:a",
        "git@host",
        "git@host:",
        "git@ho st:a",
        "ssh://git@host:99999/a",
        "git@host\n:a",
    ] {
        assert_eq!(parse(address), None, "{address}");
    }
}

#[test]
fn a_key_is_what_openssh_made_of_it() {
    let key = key();
    assert_eq!(format!("{} test\n", key.public()), PUBLIC);
    assert_eq!(key.public().fingerprint(), FINGERPRINT);
    assert_eq!(key.public().to_string().parse(), Ok(key.public()));
    assert_eq!(SshKey::kept(&key.to_keep()).expect("kept").public(), key.public());
    assert!(SshKey::kept(&Secret::new("abc".to_owned())).is_none());
    assert!(!format!("{key:?}").contains(key.to_keep().expose()));
}

#[test]
fn other_private_keys_are_refused_for_what_they_are() {
    let refused = |text: &str| SshKey::import(&Secret::new(text.to_owned())).expect_err("refused");
    assert_eq!(refused(include_str!("testdata/id_passphrase")), SshKeyError::Passphrase);
    for other in [include_str!("testdata/id_rsa"), include_str!("testdata/id_ecdsa")] {
        assert_eq!(refused(other), SshKeyError::Kind);
    }
    for text in ["", PUBLIC, &KEY[..KEY.len() / 2], &KEY.replacen("AAAA", "AAAB", 1), "-----BEGIN RSA PRIVATE KEY-----"]
    {
        assert_eq!(refused(text), SshKeyError::Unreadable, "{text}");
    }
}

#[test]
fn only_a_login_is_read_as_one() {
    let key = key().public();
    let good = login("git", "ssh-connection", "publickey", &key, None);
    assert_eq!(Login::parse(&good), Some(Login { user: "git", key }));
    let bound = login("git", "ssh-connection", "publickey-hostbound-v00@openssh.com", &key, Some(b"host key"));
    assert_eq!(Login::parse(&bound), Some(Login { user: "git", key }));
    let mut longer = good.clone();
    longer.push(0);
    let mut unsigned = good.clone();
    let at = good.windows(9).position(|window| window == b"publickey").expect("the method") + 9;
    unsigned[at] = 0;
    for bad in [
        longer,
        unsigned,
        login("git", "ssh-userauth", "publickey", &key, None),
        login("git", "ssh-connection", "hostbased", &key, None),
        login("git", "ssh-connection", "publickey", &key, Some(b"host key")),
        login(&"g".repeat(LOGIN_MAX), "ssh-connection", "publickey", &key, None),
        // What signs commits and files (`ssh-keygen -Y sign`).
        b"SSHSIG\0\0\0\x03git\0\0\0\0\0\0\0\x06sha512\0\0\0\x40".to_vec(),
    ] {
        assert_eq!(Login::parse(&bad), None);
    }
}

#[test]
fn an_agent_lends_and_does_nothing_else() {
    let key = key().public();
    assert_eq!(Request::parse(&[11]), Request::Identities);
    let mut sign = vec![13];
    put_string(&mut sign, &key.blob());
    put_string(&mut sign, b"data");
    assert_eq!(Request::parse(&sign), Request::Other, "flags are missing");
    sign.extend([0, 0, 0, 0]);
    assert_eq!(Request::parse(&sign), Request::Sign { key, data: b"data" });
    sign.push(0);
    assert_eq!(Request::parse(&sign), Request::Other);
    // Adding, removing, locking, extensions; nothing at all.
    for message in [&[17_u8][..], &[18], &[19], &[22], &[27], &[11, 0], &[]] {
        assert_eq!(Request::parse(message), Request::Other);
    }
    let answer = identities(&[(key, "c".to_owned())]);
    assert_eq!(answer[..9], [0, 0, 0, 65, 12, 0, 0, 0, 1]);
    assert_eq!(identities(&[]), [0, 0, 0, 5, 12, 0, 0, 0, 0]);
    assert_eq!(signature(b"s"), [0, 0, 0, 6, 14, 0, 0, 0, 1, b's']);
    assert_eq!(FAILURE[4], 5);
}

proptest! {
    /// Whatever a client sends is read without a panic, and a cut message never as the whole.
    #[test]
    fn messages_and_logins_are_whole_or_nothing(noise in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..10_000) {
        let _ = (Request::parse(&noise), Login::parse(&noise), SshPublicKey::from_blob(&noise));
        let key = key().public();
        let data = login("git", "ssh-connection", "publickey", &key, None);
        let mut sign = vec![13];
        put_string(&mut sign, &key.blob());
        put_string(&mut sign, &data);
        sign.extend([0, 0, 0, 0]);
        prop_assert_eq!(Login::parse(&data[..cut % data.len()]), None);
        prop_assert_eq!(Request::parse(&sign[..cut % sign.len()]), Request::Other);
    }

    /// Nothing that SSH could take as an option is ever a name.
    #[test]
    fn an_address_that_is_read_names_a_plain_host(address in "(ssh://)?[a-z@:/.-]{0,30}") {
        if let Some(read) = SshRepository::parse(&address) {
            prop_assert!(!read.user.starts_with('-') && !read.spelled.starts_with('-') && !read.spelled.is_empty());
        }
    }
}
