//! SSH for a workspace whose repository is reached over it: who is asked for keys, and which host keys are believed.
//!
//! Git calls a few lines of shell in place of `ssh`. For the repository's host, and no other, they add where the agent
//! ([`super::agent`]) is and what is known of the host; when that ends without a connection and the person has no key, they
//! say so in words. Everything else goes to `ssh` as it would without us.
//!
//! A host's key is taken on trust once: by the clone, which the machine does before any program of the workspace runs,
//! unless the machine's operator has said the key (`/etc/ssh/ssh_known_hosts`). What the clone learned, sandboxes can read
//! and not write, and from then on an unknown or changed key is refused.

use crate::files;
use crate::place::Place;
use crate::script::quote;
use crate::sys::command::tokio_command;
use envforge_core::ssh::SshRepository;
use std::io::{self, Read as _};
use std::path::Path;
use tokio::process::Command;

const PROGRAM: &str = "ssh";
const KNOWN: &str = "known_hosts";
const KNOWN_OF_MACHINE: &str = "machine_known_hosts";
/// What the operator says of hosts.
const SAID_BY_OPERATOR: &str = "/etc/ssh/ssh_known_hosts";
/// Most of that, in bytes.
const SAID_MAX: u64 = 1 << 20;

/// Called by Git as `ssh` is, with the repository's host and options of ours before.
const PROGRAM_TEXT: &str = r#"here=${0%/*} host=$1 options=$2
shift 2
case " $* " in
*" $host "* | *"@$host "*) ;;
*) exec ssh "$@" ;;
esac
# The options are several words.
ssh $options -oBatchMode=yes -oIdentitiesOnly=no -oIdentityAgent="\"$here/ssh.sock\"" \
    -oUserKnownHostsFile="\"$here/known_hosts\"" -oGlobalKnownHostsFile="\"$here/machine_known_hosts\"" "$@"
status=$?
if [ "$status" -eq 255 ]; then
    answer=$(printf 'protocol=ssh\nhost=%s\n' "$host" | git credential-cache --socket "$here/ask.sock" get)
    case $answer in
    message=*) printf 'envforge: %s\n' "${answer#message=}" >&2 ;;
    esac
fi
exit "$status"
"#;

/// In sandboxes what is known is all that is believed.
const INSIDE: &str = "-oStrictHostKeyChecking=yes";
/// The clone learns a host's key, and logs in with nothing but the person's: no key or configuration of the machine's.
const CLONING: &str = "-oStrictHostKeyChecking=accept-new -Fnone -oIdentityFile=none";

/// As a file of passwords, for a user that the machine has no name for: SSH runs for nobody without one.
fn passwd(place: &Place) -> String {
    let (uid, gid) = place.host_user();
    format!("root:x:0:0:root:/root:/usr/sbin/nologin\ndev:x:{uid}:{gid}::{}:/bin/sh\n", place.home().display())
}

/// What Git is to call in place of `ssh`, where the workspace's directory is seen as `directory`.
fn command(directory: &Path, repository: &SshRepository, options: &str) -> String {
    let program = directory.join(PROGRAM);
    format!("sh {} {} {}", quote(&program.to_string_lossy()), quote(&repository.spelled), quote(options))
}

/// The same in a sandbox.
pub(super) fn command_inside(directory: &Path, repository: &SshRepository) -> String {
    command(directory, repository, INSIDE)
}

/// The environment in which a clone outside of the sandboxes reaches the repository.
pub(crate) fn cloning_here(place: &Place, repository: &SshRepository) -> [(&'static str, String); 2] {
    let command = command(&place.git(), repository, CLONING);
    [("GIT_SSH_COMMAND", command), ("GIT_SSH_VARIANT", "ssh".to_owned())]
}

/// Writes what belongs to it.
pub(super) fn write(place: &Place) -> io::Result<()> {
    let directory = place.git();
    files::keep(&directory.join(PROGRAM), PROGRAM_TEXT.as_bytes(), 0o644)?;
    files::keep(&passwd_at(place), passwd(place).as_bytes(), 0o644)?;
    let mut said = Vec::new();
    match fs_err::File::open(SAID_BY_OPERATOR) {
        Ok(file) => drop(file.take(SAID_MAX).read_to_end(&mut said)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    files::keep(&directory.join(KNOWN_OF_MACHINE), &said, 0o644)?;
    // The clone runs as the workspace's user and adds to it.
    let known = directory.join(KNOWN);
    match files::create_new(&known, 0o644) {
        Ok(_) => place.give(&known),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn passwd_at(place: &Place) -> std::path::PathBuf {
    place.run().join("passwd")
}

/// Git as the workspace's user, who has a name in its eyes: in a mount namespace of its own, where the machine's users
/// are that one.
pub(crate) fn git_of_named_user(place: &Place) -> Command {
    const NAMED: &str = r#"passwd=$1 uid=$2 gid=$3; shift 3
mount --bind -- "$passwd" /etc/passwd && exec setpriv --reuid "$uid" --regid "$gid" --clear-groups -- git "$@""#;
    let (uid, gid) = place.host_user();
    let mut command = tokio_command("unshare");
    command.args(["--mount", "--", "sh", "-c", NAMED, "sh"]);
    command.arg(passwd_at(place)).args([uid.to_string(), gid.to_string()]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// The program, in a directory with an `ssh` that says what it was called with.
    fn called(host: &str, arguments: &[&str]) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs_err::write(at("ssh.sh"), PROGRAM_TEXT).expect("written");
        fs_err::write(at(PROGRAM), "#!/bin/sh\nprintf '<%s>' \"$@\"\n").expect("written");
        fs_err::set_permissions(at(PROGRAM), std::fs::Permissions::from_mode(0o755)).expect("runs");
        let mut command = crate::sys::command::std_command("sh");
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        command.arg(at("ssh.sh")).args([host, "-oA=b -oC=d"]).args(arguments).env("PATH", path);
        let output = command.output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).replace(&dir.path().display().to_string(), "HERE")
    }

    #[test]
    fn only_the_repositorys_host_is_reached_in_our_way() {
        let ours = called("git.example.org", &["-p", "2222", "git@git.example.org", "git-upload-pack '/a b.git'"]);
        let options = "<-oBatchMode=yes><-oIdentitiesOnly=no><-oIdentityAgent=\"HERE/ssh.sock\">\
            <-oUserKnownHostsFile=\"HERE/known_hosts\"><-oGlobalKnownHostsFile=\"HERE/machine_known_hosts\">";
        let asked = "<-p><2222><git@git.example.org><git-upload-pack '/a b.git'>";
        assert_eq!(ours, format!("<-oA=b><-oC=d>{options}{asked}"));
        for other in ["git@other.example.org", "git@git.example.org.evil.example", "agit.example.org"] {
            assert_eq!(called("git.example.org", &[other, "x"]), format!("<{other}><x>"));
        }
    }
}
