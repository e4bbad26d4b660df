//! The host label: `<service>--<workspace>--<org>`, one DNS label under one wildcard.
//!
//! A label has at most 63 characters (RFC 1035, section 2.3.4). When the parts don't fit, they are cut by a
//! fixed rule and six digits of a digest of the whole triple are put in, so the same three names always give
//! the same label, and two long triples that agree in what is left still differ, unless somebody looks for two whose digests
//! are the same: 24 bits take a moment. So a label is no proof of its names. The server stores each label when the service
//! becomes known, refuses one that another service has, and resolves a request by that row alone; nothing parses a label
//! back into its parts.
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
    let org = short_org(org);
    let room = LABEL_MAX - service.len() - org.len() - digest.len() - 5;
    let workspace = cut(workspace.as_str(), room);
    format!("{service}--{workspace}-{digest}--{org}")
}

/// Longest part of an org's slug in a label that is abbreviated.
pub const ORG_PART_MAX: usize = 18;

/// What of an org's slug is in labels that are abbreviated. An org whose whole name is that of another's abbreviation
/// would have dev hosts that read like the other's: such a name is not given.
pub fn short_org(org: &Slug) -> String {
    cut(org.as_str(), ORG_PART_MAX)
}

fn service_part(service: &str) -> String {
    if service.len() == 2 { format!("{service}-svc") } else { service.to_owned() }
}

fn cut(text: &str, max: usize) -> String {
    text.get(..max).unwrap_or(text).trim_end_matches('-').to_owned()
}

/// The label of a `Host` header under `dev_domain`, lower-cased and without port and trailing dot; `None` when
/// the host is not exactly one label below the domain, or a label that leads nowhere. A `Host` is a name, perhaps with a
/// port of one to five digits (RFC 9110, section 7.2); whatever is not plainly that is nothing, and nothing is mended.
/// International names are none of ours: labels with `--` at the third character are reserved (RFC 5890, section 2.3.1).
pub fn label_of_host(host: &str, dev_domain: &str) -> Option<String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) => {
            let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            // More digits than five are refused by their value.
            (digits && port.parse::<u16>().is_ok()).then_some(name)?
        }
        None => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let domain = dev_domain.strip_suffix('.').unwrap_or(dev_domain).to_ascii_lowercase();
    let label = name.strip_suffix(&domain)?.strip_suffix('.')?;
    is_label(label).then(|| label.to_owned())
}

fn is_label(text: &str) -> bool {
    (1..=LABEL_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.get(2..4) != Some("--")
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
        // Whole, its digest too: links people have been given hold it.
        assert_eq!(long, "mkt--a-very-long-branch-name-about-e-39987d--the-company-with-t");
        assert!(long.len() <= LABEL_MAX);
    }

    // proves LINK-1
    #[test]
    fn hosts_are_read_on_purpose() {
        let long = "a".repeat(63);
        let longer = "a".repeat(64);
        let cases = [
            ("web--a--b.dev.example", Some("web--a--b")),
            ("Web--A--b.DEV.Example", Some("web--a--b")),
            ("web--a--b.dev.example:7081", Some("web--a--b")),
            ("web--a--b.dev.example:65535", Some("web--a--b")),
            ("web--a--b.dev.example:00080", Some("web--a--b")),
            ("web--a--b.dev.example.", Some("web--a--b")),
            ("web--a--b.dev.example.:80", Some("web--a--b")),
            // Ports that are none.
            ("web--a--b.dev.example:", None),
            ("web--a--b.dev.example:http", None),
            ("web--a--b.dev.example:+80", None),
            ("web--a--b.dev.example:-1", None),
            ("web--a--b.dev.example:65536", None),
            ("web--a--b.dev.example:18446744073709551696", None),
            ("web--a--b.dev.example:80:80", None),
            ("web--a--b.dev.example:\u{661}", None),
            // Dots too many, or in the wrong place.
            ("web--a--b.dev.example..", None),
            ("web--a--b..dev.example", None),
            (".dev.example", None),
            ("dev.example", None),
            ("a.web--a--b.dev.example", None),
            (".", None),
            ("", None),
            // Other hosts.
            ("web--a--b.dev.example.evil.example", None),
            ("web--a--bdev.example", None),
            ("127.0.0.1", None),
            ("[::1]", None),
            ("[::1]:80", None),
            ("::1", None),
            ("[web--a--b.dev.example]", None),
            // What is no label of ours: international, underscored, edged, too long, with anything else in it.
            ("xn--bcher-kva.dev.example", None),
            ("XN--BCHER-KVA.dev.example", None),
            ("ab--c.dev.example", None),
            ("b\u{fc}cher.dev.example", None),
            ("\u{ff57}eb--a--b.dev.example", None),
            ("web--a--b.dev\u{3002}example", None),
            ("a_b.dev.example", None),
            ("-web.dev.example", None),
            ("web-.dev.example", None),
            (" web.dev.example", None),
            ("web .dev.example", None),
            ("web.dev.example ", None),
            ("web\t.dev.example", None),
            ("user@web.dev.example", None),
            ("web%2e.dev.example", None),
            ("web/.dev.example", None),
            ("*.dev.example", None),
        ];
        for (host, label) in cases {
            assert_eq!(label_of_host(host, "dev.example").as_deref(), label, "{host}");
            assert_eq!(
                label_of_host(host, "Dev.Example.").as_deref(),
                label,
                "{host} under the domain as it may be given"
            );
        }
        assert_eq!(label_of_host(&format!("{long}.localhost"), "localhost"), Some(long));
        assert_eq!(label_of_host(&format!("{longer}.localhost"), "localhost"), None);
    }

    /// Whoever wants two triples with the same label finds them at once: only a stored row says whose it is.
    // proves LINK-1
    #[test]
    fn labels_of_long_names_can_be_made_to_collide() {
        let (one, other) = colliding();
        assert_ne!(one, other);
        let of = |workspace: &Slug| {
            label(&slug("a-service-of-long-name"), workspace, &slug("the-company-with-the-longest-name"))
        };
        assert_eq!(of(&one), of(&other));
    }

    fn colliding() -> (Slug, Slug) {
        let mut seen = std::collections::HashMap::new();
        for n in 0.. {
            let workspace = slug(&format!("a-branch-about-everything-{n}"));
            let made = label(&slug("a-service-of-long-name"), &workspace, &slug("the-company-with-the-longest-name"));
            if let Some(before) = seen.insert(made, workspace.clone()) {
                return (before, workspace);
            }
        }
        unreachable!("24 bits are used up long before numbers are")
    }

    proptest! {
        // proves LINK-1
        #[test]
        fn every_triple_yields_a_valid_label(a in ".{0,60}", b in ".{0,60}", c in ".{0,60}") {
            let (a, b, c) = (Slug::from_text(&a), Slug::from_text(&b), Slug::from_text(&c));
            let made = label(&a, &b, &c);
            prop_assert!(made.len() <= LABEL_MAX);
            prop_assert!(!made.starts_with('-') && !made.ends_with('-'));
            prop_assert_ne!(made.get(2..4), Some("--"));
            let host = format!("{made}.dev.example");
            prop_assert_eq!(label_of_host(&host, "dev.example"), Some(made));
        }

        /// Labels that are not abbreviated differ where the names do; but for `db` beside a service that is called `db-svc`.
        // proves LINK-1
        #[test]
        fn whole_labels_are_of_one_triple(
            one in ["[a-c]{1,3}(-svc)?", "[a-c](-?[a-c]){0,3}", "[a-c]{1,3}"],
            other in ["[a-c]{1,3}(-svc)?", "[a-c](-?[a-c]){0,3}", "[a-c]{1,3}"],
        ) {
            let of = |names: &[String; 3]| label(&slug(&names[0]), &slug(&names[1]), &slug(&names[2]));
            let mut same = one.clone();
            if service_part(&one[0]) == service_part(&other[0]) {
                same[0].clone_from(&other[0]);
            }
            prop_assert_eq!(of(&one) == of(&other), same == other);
        }

        /// Whatever a stranger sends names a label as one could have been made, or none.
        // proves LINK-1
        #[test]
        fn no_host_yields_what_is_no_label(host in "[-a-zA-Z0-9_.:\\[\\] \u{e9}]{0,80}", port in "(:[0-9x]{0,6})?") {
            for host in [host.clone(), format!("{host}.dev.example{port}")] {
                if let Some(found) = label_of_host(&host, "dev.example") {
                    prop_assert!(is_label(&found));
                    let plain = format!("{found}.dev.example");
                    prop_assert!(host.to_ascii_lowercase().starts_with(&plain));
                    prop_assert_eq!(label_of_host(&plain, "dev.example"), Some(found));
                }
            }
        }
    }
}
