//! Which repository and branch one stands in, read from the files themselves.
//!
//! Starting `git` costs more than a whole attach is allowed to, so the few facts needed are read directly: the
//! folder with `.git`, the common folder of linked worktrees, and `HEAD`. Only `up`, when it makes a project,
//! asks Git for the origin.

use envforge_core::name::Slug;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository on this machine, and the branch checked out here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    /// The main checkout; the same for every linked worktree. For a bare repository, the repository itself.
    pub(crate) root: PathBuf,
    /// The branch; absent while `HEAD` is detached.
    pub(crate) branch: Option<String>,
}

impl Repository {
    /// The repository around `folder`.
    pub(crate) fn discover(folder: &Path) -> Option<Self> {
        let (top, dot_git) = folder.ancestors().find_map(|top| {
            let dot_git = top.join(".git");
            dot_git.exists().then_some((top, dot_git))
        })?;
        let git_dir = if dot_git.is_dir() {
            dot_git
        } else {
            let text = fs_err::read_to_string(&dot_git).ok()?;
            top.join(text.strip_prefix("gitdir:")?.trim())
        };
        let common = match fs_err::read_to_string(git_dir.join("commondir")) {
            Ok(text) => git_dir.join(text.trim()),
            Err(_) => git_dir.clone(),
        };
        let common = fs_err::canonicalize(common).ok()?;
        let root = match common.file_name() {
            Some(name) if name == ".git" => common.parent()?.to_owned(),
            // A submodule keeps its files elsewhere; its checkout is the folder found.
            _ if git_dir_is_a_submodule(&common) => fs_err::canonicalize(top).ok()?,
            _ => common.clone(),
        };
        let head = fs_err::read_to_string(git_dir.join("HEAD")).ok()?;
        let branch = head.trim().strip_prefix("ref: refs/heads/").map(str::to_owned);
        Some(Self { root, branch })
    }

    /// The repository one stands in.
    pub(crate) fn here() -> Option<Self> {
        Self::discover(&std::env::current_dir().ok()?)
    }

    /// The slug a project of this repository gets: the repository's name, as its origin or its folder has it.
    pub(crate) fn project_slug(&self, origin: Option<&str>) -> Slug {
        let name = origin
            .and_then(repository_name)
            .or_else(|| self.root.file_name().map(|name| name.to_string_lossy().into_owned()));
        Slug::from_text(name.as_deref().unwrap_or("project").trim_end_matches(".git"))
    }

    /// Where it was cloned from.
    pub(crate) fn origin(&self) -> Option<String> {
        #[expect(
            clippy::disallowed_methods,
            reason = "which includes and rewrites apply is Git's own business, so Git is asked"
        )]
        let output =
            Command::new("git").arg("-C").arg(&self.root).args(["remote", "get-url", "origin"]).output().ok()?;
        let url = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !url.is_empty()).then_some(url)
    }
}

fn git_dir_is_a_submodule(common: &Path) -> bool {
    common.components().any(|part| part.as_os_str() == "modules")
        && common.components().any(|part| part.as_os_str() == ".git")
}

fn repository_name(url: &str) -> Option<String> {
    let name = url.trim_end_matches('/').rsplit(['/', ':']).next()?.trim_end_matches(".git");
    (!name.is_empty()).then(|| name.to_owned())
}

/// An origin without a user name and password in it: those are nobody's business but Git's.
pub(crate) fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("http") => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worktree_belongs_to_its_repository() {
        let folder = tempfile::tempdir().expect("a folder");
        let top = fs_err::canonicalize(folder.path()).expect("there");
        let main = top.join("planner");
        let linked = main.join(".git/worktrees/fix");
        let worktree = top.join("fix");
        fs_err::create_dir_all(&linked).expect("made");
        fs_err::create_dir_all(worktree.join("src/deep")).expect("made");
        fs_err::write(main.join(".git/HEAD"), "ref: refs/heads/main\n").expect("written");
        fs_err::write(linked.join("HEAD"), "ref: refs/heads/fix/login\n").expect("written");
        fs_err::write(linked.join("commondir"), "../..\n").expect("written");
        fs_err::write(worktree.join(".git"), format!("gitdir: {}\n", linked.display())).expect("written");

        let found = Repository::discover(&worktree.join("src/deep")).expect("found");
        assert_eq!(found, Repository { root: main.clone(), branch: Some("fix/login".to_owned()) });
        let found = Repository::discover(&main).expect("found");
        assert_eq!(found, Repository { root: main, branch: Some("main".to_owned()) });
        assert_eq!(found.project_slug(Some("git@example.com:acme/Shift_Planner.git")).as_str(), "shift-planner");
        assert_eq!(found.project_slug(None).as_str(), "planner");
    }

    #[test]
    fn a_password_in_an_origin_goes_nowhere() {
        assert_eq!(without_credentials("https://me:pw@example.com/a/b.git"), "https://example.com/a/b.git");
        assert_eq!(without_credentials("git@example.com:a/b.git"), "git@example.com:a/b.git");
    }
}
