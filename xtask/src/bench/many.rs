//! The same load from many: sessions of 10,000 links on one dev host, then 10,000 dev hosts.
//!
//! Each beside one session on one dev host that is asked in the same way, by wrk with the same script, so that what differs
//! is what the gateway has to find and nothing else. More links and dev hosts than a workspace may have, or than a person
//! would make: the box's own key signs their sessions, so that its gateway believes them, and the dev hosts are written into
//! its database for as long as they are asked.

use super::load::{Asked, Load, Page, in_turns};
use super::report::{Better, Record, Target};
use super::world::World;
use anyhow::Context as _;
use envforge_api::ambient::SystemClock;
use envforge_core::clock::Clock as _;
use envforge_core::id::Id as _;
use envforge_core::link::{Holder, SessionClaims};
use envforge_core::token::{Keyring, Signer};
use futures_util::future::try_join_all;
use std::fmt::Write as _;
use tokio::net::TcpStream;

/// Links, or dev hosts, that take turns.
const MANY: usize = 10_000;
/// Connections over which each is asked once before it is measured.
const WARMING: usize = 64;

/// Dev hosts of the visitor's service. A real one has two hyphens in a row, so none is like them.
const FILL: &str = "
    INSERT INTO labels (label, org_id, workspace_id, service, created_at)
        SELECT 'bench-' || i, :'org'::uuid, :'workspace'::uuid, :'service', now() FROM generate_series(1, :many) i;
    ANALYZE labels;";
const EMPTY: &str = "DELETE FROM labels WHERE label ~ '^bench-[0-9]+$';";

/// A request for the first page, by its dev host and its session.
#[derive(Debug, Clone)]
struct Visit {
    host: String,
    cookie: String,
}

/// The sessions of 10,000 links to one dev host take turns.
pub(super) async fn links(world: &World) -> anyhow::Result<Vec<Record>> {
    world.browser.get("/").await?;
    let (host, issuer) = (world.browser.host(), Issuer::of(world)?);
    let label = issuer.claims.label.as_str();
    let visit = |number| Ok(Visit { host: host.to_owned(), cookie: issuer.session(number, label)? });
    let visits: Vec<_> = (1..=MANY).map(visit).collect::<anyhow::Result<_>>()?;
    let (many, alone) = load(world, &visits).await?;
    Ok(records(["links", "links_p99"], &many, "one session", &alone))
}

/// 10,000 dev hosts take turns, each with a session of a link of its own.
pub(super) async fn routes(world: &World) -> anyhow::Result<Vec<Record>> {
    world.browser.get("/").await?;
    let (_, domain) = world.browser.host().split_once('.').context("a dev host")?;
    let issuer = Issuer::of(world)?;
    let visit = |number| {
        let label = format!("bench-{number}");
        Ok(Visit { cookie: issuer.session(number, &label)?, host: format!("{label}.{domain}") })
    };
    let visits: Vec<_> = (1..=MANY).map(visit).collect::<anyhow::Result<_>>()?;
    let SessionClaims { org, workspace, service, .. } = &issuer.claims;
    let (org, workspace) = (org.uuid(), workspace.uuid());
    let values = [format!("org={org}"), format!("workspace={workspace}"), format!("service={service}")];
    let variables: Vec<_> = values.into_iter().chain([format!("many={MANY}")]).collect();
    let variables: Vec<_> = variables.into_iter().flat_map(|value| ["-v".to_owned(), value]).collect();
    let filled = world.installation.psql(&variables, FILL).await;
    // Measured while the tickets live that the gateway was given with the routes. The API is not asked meanwhile: it would
    // list every dev host.
    let loads = async {
        filled?;
        warm(world, &visits).await?;
        load(world, &visits).await
    }
    .await;
    world.installation.psql(&[], EMPTY).await?;
    let (many, alone) = loads?;
    Ok(records(["routes", "routes_p99"], &many, "one dev host", &alone))
}

fn records(names: [&'static str; 2], many: &Load, what: &str, alone: &Load) -> Vec<Record> {
    let target = Target { p50: None, p99: None, text: "-" };
    let rate = Record::of(names[0], "req/s", Better::More, &many.rates, target);
    let latency = Record::of(names[1], "ms", Better::Less, &many.latencies, target);
    vec![rate.along(what, Better::More, &alone.rates), latency.along(what, Better::Less, &alone.latencies)]
}

/// What these make of it and, in turns with them, the visitor's own session, as often as there are others.
async fn load(world: &World, visits: &[Visit]) -> anyhow::Result<(Load, Load)> {
    let cookie = world.browser.cookie().context("a session")?.to_owned();
    let alone = vec![Visit { host: world.browser.host().to_owned(), cookie }; MANY];
    let folder = tempfile::tempdir()?;
    let asked = |name: &str, visits: &[Visit]| {
        let script = folder.path().join(name);
        fs_err::write(&script, lua(visits))?;
        let arguments = vec!["-s".to_owned(), script.to_string_lossy().into_owned()];
        anyhow::Ok(Asked { url: format!("http://{}/", world.browser.gateway()), arguments })
    };
    let all = [asked("many.lua", visits)?, asked("alone.lua", &alone)?];
    let [many, alone] = <[_; 2]>::try_from(in_turns(&all).await).ok().context("two were asked")?;
    Ok((many?, alone?))
}

/// Each once: the gateway asks the server where a dev host leads, and then it knows.
async fn warm(world: &World, visits: &[Visit]) -> anyhow::Result<()> {
    let asked = visits.chunks(visits.len().div_ceil(WARMING)).map(|visits| async move {
        let mut page = Page::new(TcpStream::connect(world.browser.gateway()).await?)?;
        for Visit { host, cookie } in visits {
            page.get(&format!("Host: {host}\r\nCookie: {cookie}\r\n")).await.with_context(|| host.clone())?;
        }
        anyhow::Ok(())
    });
    try_join_all(asked).await?;
    Ok(())
}

/// Makes sessions like the visitor's.
struct Issuer {
    signer: Signer,
    /// Of the cookie.
    name: String,
    claims: SessionClaims,
}

impl Issuer {
    /// With the key that the box signs with from its first day.
    fn of(world: &World) -> anyhow::Result<Self> {
        let seed = fs_err::read_to_string(world.installation.data_dir.join("secrets/server/signing-seed"))?;
        let seed = seed.trim();
        let bytes = (0..32)
            .map(|at| u8::from_str_radix(seed.get(2 * at..2 * at + 2).context("64 digits")?, 16).map_err(Into::into));
        let bytes: Vec<u8> = bytes.collect::<anyhow::Result<_>>()?;
        let signer = Signer::from_seed(&bytes.try_into().map_err(|_| anyhow::anyhow!("a seed has 32 bytes"))?);
        let (name, token) = world.browser.cookie().and_then(|cookie| cookie.split_once('=')).context("a session")?;
        let claims: SessionClaims = Keyring::new(&[signer.public_key()]).verify(token, SystemClock.now())?;
        Ok(Self { signer, name: name.to_owned(), claims })
    }

    /// A session of a link of its own, as a cookie.
    fn session(&self, number: usize, label: &str) -> anyhow::Result<String> {
        let claims = SessionClaims {
            session: format!("ls_{number:032x}").parse().map_err(|_| anyhow::anyhow!("an id"))?,
            holder: Holder::Link(format!("link_{number:032x}").parse().map_err(|_| anyhow::anyhow!("an id"))?),
            label: label.to_owned(),
            ..self.claims.clone()
        };
        Ok(format!("{}={}", self.name, self.signer.sign(&claims)))
    }
}

/// A script for wrk: requests made beforehand, one after another, each thread from a place of its own.
fn lua(visits: &[Visit]) -> String {
    let mut text = String::from("local visits = {\n");
    for Visit { host, cookie } in visits {
        let _ = writeln!(text, "\"{host} {cookie}\",");
    }
    text.push_str(
        "}\nlocal requests, at = {}, 0\n\
         function setup(thread) at = at + 1; thread:set('place', at) end\n\
         function init()\n  for i, visit in ipairs(visits) do\n    \
         local host, cookie = visit:match('^(%S+) (%S+)$')\n    \
         requests[i] = wrk.format('GET', '/', { ['Host'] = host, ['Cookie'] = cookie })\n  end\n  \
         at = place * 4999\nend\n\
         function request() at = at % #requests + 1; return requests[at] end\n",
    );
    text
}
