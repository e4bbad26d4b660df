//! `envforge fork`: copies of a workspace, to try several things from where it stands.
//!
//! The names are chosen here and sent, so that a request which is sent twice makes nothing twice.

use crate::args::Fork;
use crate::commands::workspace;
use crate::context::Context;
use crate::exit::ExitCode;
use crate::readiness;
use envforge_api::http::workspaces::{ForkWorkspace, ForkedWorkspaces};
use envforge_core::name::Slug;
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::Refusal;
use std::collections::BTreeSet;

/// Makes copies, and waits until each has its files.
pub(crate) async fn fork(ctx: &mut Context<'_>, arguments: Fork) -> Result<ExitCode, Refusal> {
    let source = ctx.workspace(arguments.source.as_deref())?;
    let slugs = if let Some(name) = &arguments.name {
        named(name, arguments.count)
    } else {
        let there = workspace::all(ctx).await?.workspaces.into_iter().map(|workspace| workspace.slug).collect();
        free(&source, arguments.count, &there)
    };
    let path = ctx.workspace_path(&source, "/forks").await?;
    let mut forked: ForkedWorkspaces = ctx.post(&path, &ForkWorkspace { slugs }).await?;
    if !arguments.no_wait {
        for workspace in &mut forked.workspaces {
            let slug = workspace.slug.clone();
            let is_made = |state: ReadinessState| matches!(state, ReadinessState::Ready | ReadinessState::Blocked);
            let made = readiness::wait(ctx, &slug, None, "copying", |now| is_made(now.shell.state).then_some(()));
            *workspace = made.await?.0;
        }
    }
    let is_blocked = forked.workspaces.iter().any(|workspace| workspace.shell.state == ReadinessState::Blocked);
    ctx.printer.answer(&forked, || said(&source, &forked));
    Ok(if is_blocked { ExitCode::Failed } else { ExitCode::Ok })
}

fn said(source: &Slug, forked: &ForkedWorkspaces) -> String {
    let mut lines = Vec::new();
    for workspace in &forked.workspaces {
        let slug = &workspace.slug;
        lines.push(match workspace.shell.state {
            ReadinessState::Ready => format!("{slug} is a copy of {source}; `envforge up {slug}` opens it"),
            ReadinessState::Blocked => {
                let cause = workspace.shell.cause.as_deref().unwrap_or("its shell is blocked");
                let fix = workspace.shell.fix.as_deref().map(|fix| format!("\n  fix: {fix}")).unwrap_or_default();
                format!("{slug} could not be made: {cause}{fix}")
            }
            ReadinessState::Waking | ReadinessState::Asleep => format!("{slug} is being copied from {source}"),
        });
    }
    if !forked.copy_on_write {
        lines.push("the host's filesystem shares no blocks: each copy takes as much room as its source".to_owned());
    }
    lines.join("\n")
}

/// The name itself, or with a number for each of several.
fn named(name: &Slug, count: u8) -> Vec<Slug> {
    match count {
        0 | 1 => vec![name.clone()],
        _ => (1..=count).map(|number| numbered(name.as_str(), u32::from(number))).collect(),
    }
}

/// Names after the source's that nobody has.
fn free(source: &Slug, count: u8, there: &BTreeSet<Slug>) -> Vec<Slug> {
    let base = format!("{source}-fork");
    let names = (1..).map(|number| numbered(&base, number)).filter(|name| !there.contains(name));
    names.take(count.into()).collect()
}

fn numbered(base: &str, number: u32) -> Slug {
    Slug::from_text(&format!("{base}-{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(text: &str) -> Slug {
        text.parse().expect("a slug")
    }

    #[test]
    fn names_are_the_one_given_or_the_next_that_are_free() {
        assert_eq!(named(&slug("try"), 1), [slug("try")]);
        assert_eq!(named(&slug("try"), 3), [slug("try-1"), slug("try-2"), slug("try-3")]);
        let there = ["login-fork-1", "login-fork-3"].map(slug).into();
        assert_eq!(free(&slug("login"), 2, &there), [slug("login-fork-2"), slug("login-fork-4")]);
        let long = slug(&"a".repeat(40));
        let names: BTreeSet<Slug> = named(&long, 20).into_iter().collect();
        assert_eq!(names.len(), 20, "a name that is cut stays one of its own");
    }
}
