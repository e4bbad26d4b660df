//! Which names, paths and addresses are fit to be used, and why the others are not.
//!
//! Names go far from the file: a service's name is part of a host name and of input names, a route decides what a stranger's
//! browser reaches, a directory is opened on a host. Each rule here refuses with its reason and a text that would do.

use super::diagnostic::quoted;

/// A refusal: code, cause, fix.
#[derive(Debug)]
pub(super) struct Unfit {
    pub code: &'static str,
    pub message: String,
    pub fix: String,
}

pub(super) fn unfit(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Unfit {
    Unfit { code, message: message.into(), fix: fix.into() }
}

/// Longest name of a service or check.
pub(super) const NAME_MAX: usize = 31;
/// Longest name of an input.
pub(super) const INPUT_MAX: usize = 63;

/// Service names that mean something else in the product, with what.
const RESERVED_SERVICES: [(&str, &str); 3] = [
    ("shell", "`shell` is the layer every workspace has"),
    ("runtime", "`runtime` is the layer services run in"),
    ("xn", "a host name that starts with `xn--` is read as an encoded one"),
];

/// The name of a service or a check: part of a host name, so the rules of host names apply.
pub(super) fn slug(what: &str, name: &str) -> Result<(), Unfit> {
    let suggestion = || {
        let lower = name.to_lowercase();
        let words = lower.split(|next: char| !next.is_ascii_lowercase() && !next.is_ascii_digit());
        let joined = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
        let from_letter = joined.trim_start_matches(|first: char| !first.is_ascii_lowercase());
        let cut: String = from_letter.chars().take(NAME_MAX).collect();
        match cut.trim_end_matches('-') {
            "" => "use lower-case letters, digits and single hyphens, starting with a letter".to_owned(),
            usable => format!("write `{usable}`"),
        }
    };
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    let inside = |next: u8| next.is_ascii_lowercase() || next.is_ascii_digit() || next == b'-';
    let cause = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_MAX {
        "is longer than 31 characters"
    } else if !starts || !name.bytes().all(inside) {
        "may hold only lower-case letters, digits and hyphens, and starts with a letter"
    } else if name.contains("--") {
        "contains `--`, which separates the parts of a dev host"
    } else if name.ends_with('-') {
        "ends with a hyphen"
    } else {
        return Ok(());
    };
    Err(unfit("manifest.bad_name", format!("{what} name {} {cause}", quoted(name)), suggestion()))
}

/// The name of a service: a slug, and not one of ours.
pub(super) fn service(name: &str) -> Result<(), Unfit> {
    slug("service", name)?;
    match RESERVED_SERVICES.iter().find(|(reserved, _)| *reserved == name) {
        Some((_, reason)) => Err(unfit(
            "manifest.reserved_name",
            format!("service name `{name}` is reserved: {reason}"),
            format!("choose another name, such as `{name}-app`"),
        )),
        None => Ok(()),
    }
}

/// Whether a text is the name of an input.
pub(super) fn is_input(name: &str) -> bool {
    name.len() <= INPUT_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == b'_')
}

/// The name of an input or a variable.
pub(super) fn input(what: &str, name: &str) -> Result<(), Unfit> {
    if is_input(name) {
        return Ok(());
    }
    let lower = name.to_lowercase().replace(['-', ' ', '.'], "_");
    let fix = if is_input(&lower) {
        format!("write `{lower}`")
    } else {
        "use lower-case letters, digits and `_`, starting with a letter, as in `database_url`".to_owned()
    };
    let message = format!(
        "{what} name {} may hold only lower-case letters, digits and `_`, and starts with a letter",
        quoted(name)
    );
    Err(unfit("manifest.bad_name", message, fix))
}

/// The name of an environment variable or a secret.
pub(super) fn environment(what: &str, name: &str) -> Result<(), Unfit> {
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts || !name.bytes().all(|next| next.is_ascii_alphanumeric() || next == b'_') {
        let usable: String = name.chars().map(|next| if next.is_ascii_alphanumeric() { next } else { '_' }).collect();
        let fix = if usable.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && usable.len() < 64
        {
            format!("write `{usable}`")
        } else {
            "use letters, digits and `_`, as in `DATABASE_URL`".to_owned()
        };
        let message =
            format!("{what} name {} may hold only letters, digits and `_`, and starts with no digit", quoted(name));
        return Err(unfit("manifest.bad_name", message, fix));
    }
    if name.to_ascii_uppercase().starts_with("ENVFORGE_") {
        return Err(unfit(
            "manifest.reserved_name",
            format!("{what} name {} is reserved: names that start with `ENVFORGE_` are set by EnvForge", quoted(name)),
            "choose another name",
        ));
    }
    Ok(())
}

/// The name of a branch, by Git's rules for it (`git check-ref-format`) as far as one can be made that breaks them.
pub(super) fn branch(name: &str) -> Result<(), Unfit> {
    let is_bad = |next: char| next.is_control() || " ~^:?*[\\".contains(next);
    let fits = !name.is_empty()
        && name.len() <= 250
        && !name.contains(is_bad)
        && !name.contains("..")
        && !name.starts_with(['-', '/', '.'])
        && !name.ends_with(['/', '.']);
    if fits {
        return Ok(());
    }
    Err(unfit(
        "manifest.wrong_value",
        format!("{} is not the name of a branch", quoted(name)),
        "write a branch of this repository, such as `main` or `feature/login`",
    ))
}

/// The name of a program for the shell.
pub(super) fn tool(name: &str) -> Result<(), Unfit> {
    let fits = |next: u8| next.is_ascii_alphanumeric() || matches!(next, b'.' | b'_' | b'+' | b'-' | b'@');
    let starts = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if starts && name.len() <= 64 && name.bytes().all(fits) {
        return Ok(());
    }
    Err(unfit(
        "manifest.bad_name",
        format!("{} is not the name of a program", quoted(name)),
        "write names such as `ripgrep` or `node@22`, one each",
    ))
}

/// A route, in the form it is kept in: without the slash at its end.
pub(super) fn route(text: &str) -> Result<String, Unfit> {
    if !text.starts_with('/') {
        let fix = format!("write {}", quoted(&format!("/{}", text.trim_start_matches('/'))));
        return Err(unfit("manifest.bad_route", format!("route {} does not start with `/`", quoted(text)), fix));
    }
    if text.contains(['*', '{', '}', ':']) || text.contains("/(") {
        return Err(unfit(
            "manifest.bad_route",
            format!("route {} is a pattern; routes are path prefixes", quoted(text)),
            "write the part before the pattern: `/api` covers everything below `/api`",
        ));
    }
    let plain = |next: u8| next.is_ascii_alphanumeric() || b"/-._~!$&'()+,;=@%".contains(&next);
    if !text.bytes().all(plain) {
        return Err(unfit(
            "manifest.bad_route",
            format!("route {} holds characters a path prefix can't have", quoted(text)),
            "write a path without spaces, `?` and `#`, with other characters percent-encoded",
        ));
    }
    let trimmed = text.trim_end_matches('/');
    if trimmed.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(unfit(
            "manifest.bad_route",
            format!("route {} holds `//`, `.` or `..`", quoted(text)),
            "write the path as the browser asks for it",
        ));
    }
    if trimmed == "/share" || trimmed.starts_with("/share/") {
        return Err(unfit(
            "manifest.bad_route",
            format!("route {} is reserved: signed links are opened below `/share`", quoted(text)),
            "serve these pages under another path",
        ));
    }
    Ok(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() })
}

/// A path to ask a service for; a query is allowed.
pub(super) fn request_path(text: &str) -> Result<(), Unfit> {
    if !text.starts_with('/') {
        let fix = match text.split_once("://") {
            Some((_, rest)) => rest.split_once('/').map_or("/".to_owned(), |(_, path)| format!("/{path}")),
            None => format!("/{text}"),
        };
        return Err(unfit(
            "manifest.bad_path",
            format!("path {} does not start with `/`", quoted(text)),
            format!("write {}", quoted(&fix)),
        ));
    }
    if !text.bytes().all(|next| next.is_ascii_graphic()) || text.contains('#') {
        return Err(unfit(
            "manifest.bad_path",
            format!("path {} holds characters a request can't have", quoted(text)),
            "percent-encode spaces and letters outside ASCII, and leave out `#…`",
        ));
    }
    Ok(())
}

/// A directory of the checkout, without `./` and the slash at its end; `None` for the checkout itself.
pub(super) fn directory(text: &str) -> Result<Option<String>, Unfit> {
    let refuse = |cause: &str, fix: &str| {
        Err(unfit("manifest.bad_directory", format!("directory {} {cause}", quoted(text)), fix))
    };
    if text.starts_with(['/', '~']) || text.contains(':') {
        return refuse("is not relative to the repository", "write it from the repository's root, as in `apps/web`");
    }
    if text.contains('\\') {
        return refuse("holds `\\`", "separate directories with `/`");
    }
    if text.split('/').any(|part| part == "..") {
        return refuse("leaves the repository with `..`", "write it from the repository's root, as in `apps/web`");
    }
    if text.chars().any(char::is_control) {
        return refuse("holds a control character", "write the name as it is in the repository");
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// A repository as `host/owner/name`.
pub(super) fn repo(text: &str) -> Result<(), Unfit> {
    let segment = |part: &str| {
        let fits = |next: u8| next.is_ascii_alphanumeric() || matches!(next, b'.' | b'_' | b'-' | b'~');
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(fits)
    };
    let is_repo = |text: &str| {
        let parts: Vec<&str> = text.split('/').collect();
        let (host, port) = parts[0].split_once(':').map_or((parts[0], None), |(host, port)| (host, Some(port)));
        let host_fits = host.contains('.') || host == "localhost";
        let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok());
        parts.len() >= 3
            && text.len() <= 255
            && host_fits
            && port_fits
            && segment(host)
            && parts[1..].iter().all(|part| segment(part))
    };
    if is_repo(text) && text.strip_suffix(".git").is_none() {
        return Ok(());
    }
    // `https://host/owner/name.git` and `git@host:owner/name.git` say the same at greater length.
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.rsplit_once('@').map_or(bare, |(_, rest)| rest);
    let bare = bare.trim_end_matches('/').trim_end_matches(".git");
    let scp = bare.replacen(':', "/", 1);
    let fix =
        [bare.to_owned(), scp, format!("github.com/{bare}")].into_iter().find(|guess| is_repo(guess)).map_or_else(
            || "write it as `github.com/acme/planner`".to_owned(),
            |guess| format!("write {}", quoted(&guess)),
        );
    Err(unfit("manifest.bad_repo", format!("repository {} is not of the form `host/owner/name`", quoted(text)), fix))
}
