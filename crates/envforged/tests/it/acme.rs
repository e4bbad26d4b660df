//! `envforged acme` against a real certificate authority: Pebble, which Let's Encrypt made to test clients, and which
//! turns away one nonce in five here, as clients must expect.

use crate::front::{dial, trusting};
use envforge_testkit::{free_port, system_judge, wait_until};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

const DOMAIN: &str = "dev.envforge.test";

/// A certificate authority with a zone of its own.
struct Authority {
    folder: tempfile::TempDir,
    directory: String,
    root: PathBuf,
    management: u16,
    zone: u16,
    _processes: [Child; 2],
}

fn program(path: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "neighbours of the program under test, and itself")]
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

impl Authority {
    async fn start() -> Option<Self> {
        let (pebble, zone) = (system_judge("pebble")?, system_judge("pebble-challtestsrv")?);
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let [acme, management, dns, zone_port] = [(); 4].map(|()| free_port());
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs_err::write(at("ca.pem"), made.cert.pem()).unwrap();
        fs_err::write(at("ca.key"), made.signing_key.serialize_pem()).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{acme}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": at("ca.pem"),
            "privateKey": at("ca.key"),
            "httpPort": 1,
            "tlsPort": 1,
        }});
        fs_err::write(at("pebble.json"), config.to_string()).unwrap();
        let mut records = program(&zone);
        records.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-dns01", &format!("127.0.0.1:{dns}")]);
        let records = records.args(["-management", &format!("127.0.0.1:{zone_port}")]).spawn().unwrap();
        let mut authority = program(&pebble);
        authority.arg("-config").arg(at("pebble.json")).args(["-strict", "-dnsserver", &format!("127.0.0.1:{dns}")]);
        authority.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "20").env("PEBBLE_AUTHZREUSE", "0");
        let processes = [records, authority.spawn().unwrap()];
        for port in [acme, management, zone_port] {
            let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
            wait_until("the authority listens", listens).await;
        }
        let (directory, root) = (format!("https://127.0.0.1:{acme}/dir"), at("ca.pem"));
        Some(Self { folder, directory, root, management, zone: zone_port, _processes: processes })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A hook that does `present` to set a record and keeps what it was called with.
    fn hook(&self, present: &str) -> PathBuf {
        let (path, log, zone) = (self.at("hook.sh"), self.at("hook.log"), self.zone);
        let mut text = format!("#!/bin/sh\nset -e\necho \"$1 $2 $3 $ENVFORGE_ACME_DOMAIN\" >> {}\n", log.display());
        writeln!(text, "zone=http://127.0.0.1:{zone}\nif [ $1 = present ]; then").unwrap();
        writeln!(text, "{present}").unwrap();
        writeln!(text, "else curl -sf -d \"{{\\\"host\\\":\\\"$2.\\\"}}\" $zone/clear-txt; fi").unwrap();
        fs_err::write(&path, text).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    /// What the hook was called with.
    fn calls(&self) -> Vec<Vec<String>> {
        let text = fs_err::read_to_string(self.at("hook.log")).unwrap_or_default();
        text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    fn command(&self, hook: &Path) -> Command {
        let mut command = program(Path::new(env!("CARGO_BIN_EXE_envforged")));
        command.args(["acme", "--dev-domain", DOMAIN, "--propagation", "0", "--once", "--agree-to-terms"]);
        command.args(["--contact", "ops@envforge.test", "--directory", &self.directory]);
        command.arg("--directory-root").arg(&self.root).arg("--hook").arg(hook).arg("--output").arg(self.at("out"));
        command.stderr(Stdio::piped());
        command
    }

    async fn once(&self, hook: &Path) -> (Output, String) {
        let output = self.command(hook).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output, said)
    }

    /// The root that its certificates lead to.
    async fn issuer(&self) -> CertificateDer<'static> {
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        let text = program(Path::new("curl")).args(["-sk", &url]).stdout(Stdio::piped()).output().await.unwrap().stdout;
        CertificateDer::from_pem_slice(&text).unwrap()
    }
}

/// Sets the record as the zone's API wants it.
const SETS: &str = "curl -sf -d \"{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$3\\\"}\" $zone/set-txt";

/// A certificate of our own whose time is nearly over, and its key, in the place of the authority's.
fn outworn(path: &Path) -> CertificateDer<'static> {
    let mut params = rcgen::CertificateParams::new([format!("*.{DOMAIN}")]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 3, 31);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, format!("{}{}", key.serialize_pem(), made.pem())).unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    made.der().clone()
}

fn mode(path: &Path) -> u32 {
    fs_err::metadata(path).unwrap().permissions().mode() & 0o777
}

// proves LINK-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_is_obtained_and_the_gateway_shows_it_without_a_restart() {
    let Some(authority) = Authority::start().await else { return };
    let file = authority.at("out").join(format!("{DOMAIN}.pem"));
    outworn(&file);
    fs_err::write(authority.at("key"), "gateway-key").unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut gateway = program(Path::new(env!("CARGO_BIN_EXE_envforged")));
    gateway.args(["gateway", "--dev-domain", DOMAIN, "--listen", &address.to_string()]);
    gateway.arg("--server-socket").arg(authority.at("server.sock")).arg("--uplink").arg(authority.at("uplink.sock"));
    gateway.arg("--key-file").arg(authority.at("key")).arg("--tls-certificate").arg(&file);
    let mut gateway = gateway.spawn().unwrap();
    let client = trusting(&authority.issuer().await);
    wait_until("it listens", async || TcpStream::connect(address).await.is_ok()).await;
    assert!(dial(address, &client, DOMAIN).await.is_err(), "what it shows has expired and nobody signed it");

    let hook = authority.hook(SETS);
    let (output, said) = authority.once(&hook).await;
    assert!(output.status.success(), "{said}");
    wait_until("the gateway shows the new one", async || dial(address, &client, DOMAIN).await.is_ok()).await;
    assert!(gateway.try_wait().unwrap().is_none(), "the same process");
    assert_eq!(mode(&file), 0o600);
    let account = fs_err::read_dir(authority.at("out")).unwrap().map(|entry| entry.unwrap().path());
    let account = account.into_iter().find(|path| path.extension().is_some_and(|e| e == "json")).unwrap();
    assert_eq!(mode(&account), 0o600);
    let calls = authority.calls();
    let name = format!("_acme-challenge.{DOMAIN}");
    assert_eq!(calls.len() % 2, 0, "{calls:?}");
    for call in calls.chunks(2) {
        assert_eq!((call[0][0].as_str(), call[1][0].as_str()), ("present", "cleanup"), "{calls:?}");
        assert_eq!(call[0][1..], call[1][1..], "what was set is removed");
        assert_eq!((call[0][1].as_str(), call[0][3].as_str()), (name.as_str(), DOMAIN));
    }

    let before = fs_err::read(&file).unwrap();
    let (output, said) = authority.once(&hook).await;
    assert!(output.status.success() && said.contains("not due yet"), "{said}");
    assert_eq!((fs_err::read(&file).unwrap(), authority.calls().len()), (before, calls.len()));
    // The account is the same, and so are its rights: another certificate is ordered with it.
    outworn(&file);
    let (output, said) = authority.once(&hook).await;
    assert!(output.status.success() && !said.contains("the CA made an account"), "{said}");
    assert!(authority.calls().len() > calls.len());
}

// proves LINK-9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_hook_does_not_do_and_the_authority_refuses_is_told_with_what_helps() {
    let Some(mut authority) = Authority::start().await else { return };
    let file = authority.at("out").join(format!("{DOMAIN}.pem"));
    let (output, said) = authority.once(&authority.hook("exit 3")).await;
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("present _acme-challenge.dev.envforge.test …` ended with exit status: 3"), "{said}");
    assert!(said.contains("fix: its own words are above"), "{said}");
    assert_eq!(authority.calls().last().unwrap()[0], "cleanup", "it may have set it");

    let wrong = SETS.replace("$3", "wrong");
    let (output, said) = authority.once(&authority.hook(&wrong)).await;
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: no certificate: the CA refuses: ") && said.contains("(unauthorized)"), "{said}");
    assert!(said.contains("fix: the CA did not see the record"), "{said}");
    assert_eq!(authority.calls().last().unwrap()[0], "cleanup");
    assert!(!file.exists(), "nothing is written");

    // A run that is told to stop takes its record along.
    let hook = authority.hook("sleep 60");
    let calls = authority.calls().len();
    let running = authority.command(&hook).spawn().unwrap();
    wait_until("the hook runs", async || authority.calls().len() > calls).await;
    let (output, said) = authority.once(&hook).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("another `envforged acme` works in"), "{said}");
    crate::support::signal(running.id().unwrap().cast_signed(), rustix::process::Signal::TERM);
    let output = running.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(authority.calls().last().unwrap()[0], "cleanup");

    authority.directory = format!("https://127.0.0.1:{}/dir", free_port());
    let (output, said) = authority.once(&hook).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("the CA can't be asked: ") && said.contains("fix: check --directory"), "{said}");
    "http://127.0.0.1/dir".clone_into(&mut authority.directory);
    assert!(authority.once(&hook).await.1.contains("is no CA's directory"));
}
