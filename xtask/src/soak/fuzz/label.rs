//! Three lines are a service, a workspace and an org; all of it is a `Host` too.
//!
//! A label is a DNS label (RFC 1035, section 2.3.1, with RFC 1123's first digit) that no IDNA prefix hides in, and found
//! again in its host. What a `Host` names is found again in the host it names.

use super::Random;
use super::damage::joined;
use anyhow::ensure;
use envforge_core::hostname::{LABEL_MAX, label, label_of_host};
use envforge_core::name::Slug;

const DOMAIN: &str = "envforge.dev";
const PIECES: [&str; 28] = [
    "web",
    "--",
    "fix-login",
    "acme",
    ".",
    "envforge.dev",
    ".envforge.dev",
    "Envforge.DEV",
    ":7081",
    ":",
    ":80:80",
    "@",
    "xn--",
    "-",
    "a",
    "9",
    "\n",
    "\n",
    "\n",
    "marketing",
    "frontend",
    "documentation",
    "a-very-long-branch-name-about-everything-and-more",
    "\u{fc}",
    "\u{131}",
    "\u{212a}",
    "..",
    " ",
];

pub(super) fn made(random: &mut Random) -> Vec<u8> {
    joined(random, &PIECES, 12).into_bytes()
}

pub(super) fn check(input: &[u8]) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let mut slug = || {
        let slug = Slug::from_text(lines.next().unwrap_or_default());
        ensure!(slug.as_str().parse::<Slug>().is_ok(), "{slug:?} is made and not read");
        ensure!(Slug::from_text(slug.as_str()) == slug, "{slug:?} is made into another");
        Ok(slug)
    };
    let (service, workspace, org) = (slug()?, slug()?, slug()?);
    let made = label(&service, &workspace, &org);
    let is_dns = made.len() <= LABEL_MAX
        && made.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !made.starts_with('-')
        && !made.ends_with('-');
    ensure!(is_dns && made.get(2..4) != Some("--"), "{made:?} is no label");
    for host in [format!("{made}.{DOMAIN}"), format!("{}.{DOMAIN}.:7081", made.to_uppercase())] {
        ensure!(label_of_host(&host, DOMAIN).as_ref() == Some(&made), "{made:?} is not found in its host");
    }
    let Some(named) = label_of_host(&text, DOMAIN) else { return Ok(()) };
    ensure!(
        named.len() <= LABEL_MAX && !named.contains('.') && named == named.to_ascii_lowercase(),
        "{named:?} is no label"
    );
    ensure!(
        text.to_ascii_lowercase().starts_with(&format!("{named}.{DOMAIN}")),
        "{named:?} is not what {text:?} begins with"
    );
    ensure!(label_of_host(&format!("{named}.{DOMAIN}"), DOMAIN) == Some(named), "it is not found again");
    Ok(())
}
