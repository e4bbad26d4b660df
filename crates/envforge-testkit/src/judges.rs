//! Independent programs that judge ours: an API fuzzer, a stand-in for a cloud, an identity provider.
//!
//! They come from PyPI and npm, pinned in `judges/`, and are installed by `./dev test` into the folder that
//! `ENVFORGE_JUDGES` names; a few come from the system's packages. Where they are missing a test that needs one is not run, and says so; in CI it fails.

use std::path::PathBuf;

/// A Python program of the judges, such as `schemathesis`.
pub fn python_judge(name: &str) -> Option<PathBuf> {
    judge(&format!("python/bin/{name}"))
}

/// A package of the judges from npm: its folder in `node_modules`.
pub fn node_judge(package: &str) -> Option<PathBuf> {
    judge(&format!("node_modules/{package}"))
}

/// A file of Wycheproof's that no package has, from the checkout that `ENVFORGE_WYCHEPROOF` names.
pub fn wycheproof_file(file: &str) -> Option<String> {
    let Some(checkout) = std::env::var_os("ENVFORGE_WYCHEPROOF").map(PathBuf::from) else {
        #[expect(clippy::print_stderr, reason = "a test that is not run must be seen")]
        {
            eprintln!("NOT RUN: ENVFORGE_WYCHEPROOF names no checkout of https://github.com/C2SP/wycheproof");
        }
        return None;
    };
    Some(fs_err::read_to_string(checkout.join("testvectors_v1").join(file)).expect("a checkout of Wycheproof"))
}

/// A program of the system's packages, such as a certificate authority for tests; a server, too, which Debian keeps where no
/// ordinary user's `PATH` leads.
pub fn system_judge(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed; CI installs it by `./dev test`");
        #[expect(clippy::print_stderr, reason = "a test that is not run must be seen")]
        {
            eprintln!("NOT RUN: {name} is not installed; `./dev test` installs it");
        }
    }
    found
}

fn judge(path: &str) -> Option<PathBuf> {
    let found = std::env::var_os("ENVFORGE_JUDGES").map(|folder| PathBuf::from(folder).join(path));
    if let Some(found) = found.filter(|found| found.exists()) {
        return Some(found);
    }
    assert!(std::env::var_os("CI").is_none(), "{path} is not installed; CI installs it by `./dev test`");
    #[expect(clippy::print_stderr, reason = "a test that is not run must be seen")]
    {
        eprintln!("NOT RUN: {path} is not installed; `./dev test` installs it");
    }
    None
}
