//! The host label: `<service>--<workspace>--<org>`, one DNS label under one wildcard.
//!
//! A label has at most 63 characters (RFC 1035, section 2.3.4). When the parts don't fit, they are cut by a
//! fixed rule and six digits of a digest of the whole triple are put in, so the same three names always give
//! the same label, and two long triples that agree in what is left still differ. The server stores each label
//! when the service becomes known and resolves a request by that row alone; nothing parses a label back into
//! its parts.
//!
//! Two-letter service names would put `--` at the third character, where IDNA reads a prefix such as `xn--`;
//! they get `-svc` in the label.

use crate::name::{Slug, short_digest};

/// Longest DNS label, in bytes (RFC 1035, section 2.3.4).
pub const LABEL_MAX: usize = 63;

/// Service names with a customary short form; used only when the full label would not fit.
const SHORT_NAMES: [(&str, &str); 5] =
    [("marketing", "mkt"), ("frontend", "web"), ("backend", "api"), ("storybook", "sb"), ("documentation", "docs")];

/// The label of a service of a workspace of an org.
pub fn label(service: &Slug, workspace: &Slug, org: &Slug) -> String {
    let full = format!("{}--{workspace}--{org}", service_part(service.as_str()));
    if full.len() <= LABEL_MAX {
        return full;
    }
    let digest = short_digest(&format!("{service}/{workspace}/{org}"));
    let short =
        SHORT_NAMES.iter().find(|(long, _)| *long == service.as_str()).map_or(service.as_str(), |(_, short)| short);
    // 63 = service 16 + `--` + workspace 18 + `-` + digest 6 + `--` + org 18.
    let service = cut(service_part(short).as_str(), 16);
    let org = cut(org.as_str(), 18);
    let room = LABEL_MAX - service.len() - org.len() - digest.len() - 5;
    let workspace = cut(workspace.as_str(), room);
    format!("{service}--{workspace}-{digest}--{org}")
}

fn service_part(service: &str) -> String {
    if service.len() == 2 { format!("{service}-svc") } else { service.to_owned() }
}

fn cut(text: &str, max: usize) -> String {
    text.get(..max).unwrap_or(text).trim_end_matches('-').to_owned()
}

/// The label of a `Host` header under `dev_domain`, lower-cased and without port and trailing dot; `None` when
/// the host is not exactly one label below the domain.
pub fn label_of_host(host: &str, dev_domain: &str) -> Option<String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let label = name.strip_suffix(&dev_domain.to_ascii_lowercase())?.strip_suffix('.')?;
    let fits = !label.is_empty() && label.len() <= LABEL_MAX;
    let plain = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (fits && plain).then(|| label.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slug(text: &str) -> Slug {
        text.parse().expect("a valid slug")
    }

    // proves LINK-1
    #[test]
    fn short_names_stay_whole_and_long_ones_are_cut_by_rule() {
        assert_eq!(label(&slug("web"), &slug("fix-login"), &slug("acme")), "web--fix-login--acme");
        assert_eq!(label(&slug("db"), &slug("main"), &slug("acme")), "db-svc--main--acme");
        let long = label(
            &slug("marketing"),
            &slug("a-very-long-branch-name-about-everything"),
            &slug("the-company-with-the-longest-name-of-all"),
        );
        assert_eq!(
            long,
            "mkt--a-very-long-branch-name-about-e-da6f29--the-company-with-t".replace("da6f29", &long[37..43])
        );
        assert!(long.len() <= LABEL_MAX);
    }

    #[test]
    fn hosts_are_read_on_purpose() {
        assert_eq!(label_of_host("Web--a--b.localhost:7081", "localhost").as_deref(), Some("web--a--b"));
        assert_eq!(label_of_host("web--a--b.dev.example.", "dev.example").as_deref(), Some("web--a--b"));
        for wrong in
            ["localhost", "a.b.localhost", "[::1]:80", "127.0.0.1", "evil.example", "", ".localhost", "a_b.localhost"]
        {
            assert_eq!(label_of_host(wrong, "localhost"), None, "{wrong}");
        }
    }

    proptest! {
        // proves LINK-1
        #[test]
        fn every_triple_yields_one_valid_stable_label(a in ".{0,60}", b in ".{0,60}", c in ".{0,60}") {
            let (a, b, c) = (Slug::from_text(&a), Slug::from_text(&b), Slug::from_text(&c));
            let made = label(&a, &b, &c);
            prop_assert_eq!(&made, &label(&a, &b, &c));
            prop_assert!(made.len() <= LABEL_MAX);
            prop_assert!(!made.starts_with('-') && !made.ends_with('-'));
            prop_assert_ne!(made.get(2..4), Some("--"));
            let host = format!("{made}.dev.example");
            prop_assert_eq!(label_of_host(&host, "dev.example"), Some(made));
        }
    }
}
