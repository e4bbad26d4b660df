//! `envforge up`: one command from a checkout to a shell.
//!
//! ```text
//!   server? ─► signed in? ─► org ─► workspace of this branch ─► wake (behind) ─► shell ready ─► attach
//!   start one   ask a key   choose   make project and it                          └► no terminal: wait for the
//!                                                                                     services, print a link
//! ```
//!
//! The shell opens first: it is waited for, the runtime is not. The second time nothing is asked and nothing is
//! made. Where nobody can be asked (`--json`, no terminal) it does not attach, and what would have been a question
//! is a refusal that names the flag.

pub(crate) mod project;

use crate::args::{LinkCreate, Up};
use crate::attach::{self, Shell};
use crate::commands::{cap, link, login, wake, workspace};
use crate::context::{Context, no_workspace};
use crate::exit::ExitCode;
use crate::readiness::{self, Reporter, Settled};
use crate::{ask, onebox};
use envforge_api::http::accounts::Hosts;
use envforge_api::http::links::CreatedLink;
use envforge_api::http::workspaces::{CreateWorkspace, Workspace};
use envforge_core::name::Slug;
use envforge_core::readiness::ReadinessState;
use envforge_core::refusal::{Refusal, RefusalKind};
use serde::Serialize;
use std::time::Duration;

/// What `up` answers when it does not attach.
#[derive(Serialize)]
struct Opened {
    workspace: Workspace,
    link: Option<CreatedLink>,
}

/// Opens a workspace.
pub(crate) async fn up(ctx: &mut Context<'_>, up: Up) -> Result<ExitCode, Refusal> {
    let is_new_box = onebox::ensure(ctx, up.yes).await?;
    login::ensure(ctx).await?;
    let org = ctx.org().await?;
    if is_new_box {
        say_reductions(ctx).await;
    }
    ctx.remember_org(&org);
    ctx.remember_server();
    let found = find_or_make(ctx, &up).await?;
    if ctx.printer.has_terminal() && !up.no_attach {
        return Box::pin(open_shell(ctx, &up, org, found)).await;
    }
    open_services(ctx, up, found).await
}

/// What the box that was just started can't do, such as one of an ordinary user.
async fn say_reductions(ctx: &Context<'_>) {
    let Ok(path) = ctx.org_path("/hosts").await else { return };
    // Only a member who may see hosts is told; nothing depends on it.
    let Ok(hosts) = ctx.get::<Hosts>(&path).await else { return };
    for reduction in hosts.hosts.iter().flat_map(|host| &host.reductions) {
        ctx.printer.note(&format!("reduced: {reduction}"));
    }
}

/// The workspace meant, made when it is this repository's and missing.
async fn find_or_make(ctx: &Context<'_>, up: &Up) -> Result<Workspace, Refusal> {
    let named = ctx.named_workspace(up.name.as_deref())?;
    let is_fully_named = up.project.is_some() && up.branch.is_some();
    if let (Some(slug), false) = (&named, is_fully_named) {
        match get(ctx, slug).await {
            Err(refusal)
                if refusal.kind == RefusalKind::NotFound && (ctx.repository().is_some() || up.project.is_some()) => {}
            answer => return answer,
        }
    }
    let Some(branch) = branch(ctx, up, named.as_ref()) else {
        return choose(ctx).await;
    };
    let project = match &up.project {
        Some(project) => project.clone(),
        None => project::of_repository(ctx, up.repository.clone()).await?,
    };
    let body = CreateWorkspace { project, branch, slug: named, size: up.size };
    let making = project::create_workspace(ctx, body);
    let workspace = ctx.printer.slow("making the workspace", making).await?;
    if let Some(repository) = ctx.repository() {
        ctx.remember_workspace(repository, &workspace.branch, &workspace.slug);
    }
    Ok(workspace)
}

async fn get(ctx: &Context<'_>, slug: &Slug) -> Result<Workspace, Refusal> {
    let path = ctx.workspace_path(slug, "").await?;
    ctx.get(&path).await
}

/// The branch of a workspace to be: as asked, else the name given, else the one checked out.
fn branch(ctx: &Context<'_>, up: &Up, named: Option<&Slug>) -> Option<String> {
    let name = up.name.clone().or_else(|| named.map(ToString::to_string));
    up.branch.clone().or(name).or_else(|| ctx.repository()?.branch.clone())
}

/// Outside a repository, and nothing named: one of those that exist.
async fn choose(ctx: &Context<'_>) -> Result<Workspace, Refusal> {
    if !ctx.printer.is_interactive() {
        return Err(no_workspace());
    }
    let workspaces = workspace::all(ctx).await?.workspaces;
    if workspaces.is_empty() {
        return Err(Refusal::not_found("workspace.none", "there is no workspace yet")
            .hint("run `envforge up` inside a Git repository"));
    }
    let names: Vec<_> = workspaces.iter().map(|workspace| workspace.slug.to_string()).collect();
    let chosen = ask::choose("Workspace:", names)?;
    workspaces.into_iter().find(|workspace| workspace.slug.as_str() == chosen).ok_or_else(no_workspace)
}

/// How long the answer to a wake is waited for once the shell is ready.
const WAKE_PATIENCE: Duration = Duration::from_millis(200);

/// Wakes, and attaches as soon as the shell is ready.
async fn open_shell(ctx: &mut Context<'_>, up: &Up, org: Slug, found: Workspace) -> Result<ExitCode, Refusal> {
    let slug = found.slug.clone();
    let mut reporter = Reporter::default();
    let ctx = &*ctx;
    // Ordered at once and answered meanwhile; a wake that is refused, by a cap or for want of room, keeps no shell shut.
    let mut wake = std::pin::pin!(async {
        if up.no_wake {
            return Vec::new();
        }
        match wake::post_quietly(ctx, &slug, up.size).await {
            Ok(woken) => cap::news(ctx, &woken).await,
            Err(refusal) => refused(&refusal),
        }
    });
    let mut answer: Option<Vec<String>> = None;
    let workspace = {
        let mut shell = std::pin::pin!(shell_ready(ctx, found, &mut reporter));
        loop {
            tokio::select! {
                workspace = &mut shell => break workspace?,
                news = &mut wake, if answer.is_none() => answer = Some(news),
            }
        }
    };
    for line in reporter.news(&workspace) {
        ctx.printer.note(&line);
    }
    for host in &workspace.dev_hosts {
        ctx.printer.note(&format!("{}: {}", host.service, host.url));
    }
    if answer.is_none() {
        answer = tokio::time::timeout(WAKE_PATIENCE, &mut wake).await.ok();
    }
    let was_answered = answer.is_some();
    say(ctx, answer.take());
    let shell = Shell::new(ctx, org, slug.clone())?;
    let mut attached = Box::pin(attach::attach(ctx, &shell));
    let end = loop {
        tokio::select! {
            end = &mut attached => break end,
            news = &mut wake, if !was_answered && answer.is_none() => answer = Some(news),
        }
    };
    // What came while someone's screen was up is said once it is theirs again.
    say(ctx, answer);
    end
}

/// What a wake that was refused is told as.
fn refused(refusal: &Refusal) -> Vec<String> {
    let hint = refusal.hint.iter().map(|hint| format!("  hint: {hint}"));
    std::iter::once(format!("the runtime stays as it is: {}", refusal.message)).chain(hint).collect()
}

fn say(ctx: &Context<'_>, lines: Option<Vec<String>>) {
    for line in lines.into_iter().flatten() {
        ctx.printer.note(&line);
    }
}

/// Waits for the shell, and for nothing else.
async fn shell_ready(ctx: &Context<'_>, found: Workspace, reporter: &mut Reporter) -> Result<Workspace, Refusal> {
    let workspace = if found.shell.state == ReadinessState::Ready {
        found
    } else {
        let is_settled = |workspace: &Workspace| {
            matches!(workspace.shell.state, ReadinessState::Ready | ReadinessState::Blocked).then_some(())
        };
        readiness::wait(ctx, &found.slug, Some(reporter), "preparing the shell", is_settled).await?.0
    };
    if workspace.shell.state != ReadinessState::Blocked {
        return Ok(workspace);
    }
    let cause = workspace.shell.cause.as_deref().unwrap_or("no cause is known");
    let code = workspace.shell.code.as_deref().unwrap_or("shell.blocked");
    let refusal = Refusal::conflict(code, format!("the shell is blocked: {cause}"));
    Err(match &workspace.shell.fix {
        Some(fix) => refusal.hint(fix.clone()),
        None => refusal,
    })
}

/// Without a terminal: wakes, waits for the services, and makes a link.
async fn open_services(ctx: &mut Context<'_>, up: Up, found: Workspace) -> Result<ExitCode, Refusal> {
    let slug = found.slug.clone();
    let mut reporter = Reporter::default();
    if up.no_wake {
        let settled = |workspace: &Workspace| match workspace.shell.state {
            ReadinessState::Ready => Some(Settled::Ready),
            ReadinessState::Blocked => Some(Settled::Blocked),
            ReadinessState::Waking | ReadinessState::Asleep => None,
        };
        let (workspace, how) = readiness::wait(ctx, &slug, Some(&mut reporter), "preparing the shell", settled).await?;
        ctx.printer.answer(&Opened { workspace, link: None }, || {
            format!("{slug} is there, its runtime asleep; `envforge wake {slug}` wakes it")
        });
        return Ok(wake::exit_code(how));
    }
    let woken = wake::post(ctx, &slug, up.size).await?;
    say(ctx, Some(cap::news(ctx, &woken).await));
    let (workspace, how) = wake::settle(ctx, &slug, &woken, &mut reporter).await?;
    let link = match (how, service(&up, &workspace)) {
        (Settled::Ready, Some(service)) if !up.no_link => {
            let arguments = LinkCreate {
                service,
                expires: DEFAULT_MINUTES,
                visits: None,
                once: false,
                wakes: None,
                minutes: None,
                routes: Vec::new(),
            };
            Some(link::create(ctx, &slug, arguments).await?)
        }
        _ => None,
    };
    let about = link.as_ref().map(|created| link::about(&created.link));
    let opened = Opened { workspace, link };
    ctx.printer.answer(&opened, || match &opened.link {
        Some(link) => link.url.clone(),
        None => format!("{slug} is {}", wake::word(how)),
    });
    if let Some(about) = about {
        ctx.printer.note(&about);
    }
    ctx.printer.note(&format!("attach: envforge attach {slug}"));
    Ok(wake::exit_code(how))
}

/// How long the link opens that `up` makes.
const DEFAULT_MINUTES: u32 = 60;

/// The service to link: as asked, else `web`, else the first with a dev host.
fn service(up: &Up, workspace: &Workspace) -> Option<String> {
    let hosts = &workspace.dev_hosts;
    let first = || hosts.iter().find(|host| host.service == "web").or(hosts.first()).map(|host| host.service.clone());
    up.service.clone().or_else(first)
}
