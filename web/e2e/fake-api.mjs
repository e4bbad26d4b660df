// A tiny server with invented workspaces, for looking at the dashboard without an installation: `npm run fake`, then
// http://127.0.0.1:7090 after `npm run build`, or ENVFORGE_API=http://127.0.0.1:7090 npm run dev. Any key signs in but
// `bad`. It sends the strict policy that the real server may send.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";

const port = Number(process.env.PORT ?? 7090);
const dist = new URL("../dist/", import.meta.url);
const TYPES = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8" };
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
const part = (kind, name, state, more = {}) => ({ kind, name, state, restarts: 0, ...more });

function workspace(slug, branch, readiness, parts, runtime = {}) {
  const services = parts.filter(({ kind }) => kind === "service");
  return {
    id: `ws_${slug}`, org: "org_1", org_slug: "acme", slug, project: "planner", branch, created_at: ago(400_000),
    shell: part("shell", "shell", "ready"),
    runtime: { readiness, state: readiness === "ready" ? "awake" : readiness, generation: 4, size: "small", ...runtime },
    parts,
    dev_hosts: services.map(({ name }) => ({
      service: name, label: `${name}--${slug}--acme`, url: `https://${name}--${slug}--acme.dev.example.test`,
    })),
  };
}

const full = (state) => [
  part("service", "web", state, { port: 5173 }),
  part("service", "api", state, { port: 4000 }),
  part("service", "worker", state),
  part("resource", "postgres", state),
  part("resource", "redis", state),
  part("check", "api-answers", state),
  part("check", "page-loads", state),
];
const broken = [
  part("service", "web", "ready", { port: 5173 }),
  part("service", "api", "blocked", {
    port: 4000, restarts: 3, code: "service.command_not_found",
    cause: "`npm run api` ended with 127: sh: tsx: not found",
    fix: "run `npm ci` in the shell, then wake again",
  }),
  part("service", "worker", "waking", { cause: "waits for input `database_url` of postgres" }),
  part("resource", "postgres", "waking"),
  part("resource", "redis", "ready"),
  part("check", "api-answers", "blocked", { code: "check.service_blocked", cause: "its service `api` is blocked", fix: "see `api`" }),
];
const AWAKE = { awake_since: ago(2530), wake_cause: "asked by usr_ada", idle: { verdict: "busy", reason: "2 requests in flight" } };

const workspaces = new Map(
  [
    workspace("big-import", "feature/big-import", "ready", broken, AWAKE),
    workspace("checkout-copy", "copy/checkout", "asleep", full("asleep")),
    workspace("fix-login", "fix/login-redirect-loop", "asleep", full("asleep")),
    workspace("invoice-pdf", "feature/invoice-pdf", "waking", full("waking"), { wake_cause: "link visit to /invoices" }),
    workspace("main", "main", "ready", full("ready"), {
      ...AWAKE, size: "medium", idle: { verdict: "idle", sleeps_at: ago(-432) },
    }),
    workspace("upgrade-node", "chore/node-24", "blocked", full("blocked").slice(0, 0), {
      blocked_code: "host.no_capacity", blocked_cause: "no host has room for a large runtime", blocked_fix: "put another workspace to sleep, or choose a smaller size", size: "large",
    }),
  ].map((each) => [each.slug, each]),
);

const receipt = (number, seconds, cost, cause, end, more = {}) => ({
  session: `use_${number}`, awake_seconds: seconds, cost_micros: cost, currency: "EUR", is_final: true, unproven_seconds: 0,
  windows: [{ window: `win_${number}`, session: `use_${number}`, opened_at: ago(number * 90_000), closed_at: end && ago(number * 90_000 - seconds), size: "small", wake_cause: cause, end_cause: end, unproven_seconds: 0 }],
  ...more,
});
let receipts = [
  receipt(1, 2412, 26_800, "link visit to /login", "idle for 600 s"),
  receipt(2, 5400, 60_000, "asked by usr_ada", "asked by usr_ada", { unproven_seconds: 9 }),
  receipt(3, 310, 3_444, "job: npm test", "idle for 600 s"),
  receipt(4, 12_210, 135_660, "asked by usr_lin", "asked by usr_lin"),
];
let links = [
  { id: "lnk_1", service: "web", state: "active", created_at: ago(7000), expires_at: ago(-79_000), visits: 3, visit_budget: 20, wakes: 1, wake_budget: 10 },
  { id: "lnk_2", service: "api", state: "expired", created_at: ago(90_000), expires_at: ago(3600), visits: 1, wakes: 0, wake_budget: 10 },
];

const readers = new Map();
function changed(each) {
  for (const reader of readers.get(each.slug) ?? []) reader.write(`data: ${JSON.stringify({ workspace: each })}\n\n`);
}
function set(each, readiness, runtime) {
  each.runtime = { size: each.runtime.size, readiness, state: readiness === "ready" ? "awake" : readiness, generation: each.runtime.generation + 1, ...runtime };
  changed(each);
}
function wake(each) {
  if (["awake", "waking"].includes(each.runtime.state)) return;
  each.parts = full("waking");
  set(each, "waking", { wake_cause: "asked by usr_ada" });
  each.parts.forEach((one, index) =>
    setTimeout(() => {
      one.state = "ready";
      if (index === 0) set(each, "ready", { wake_cause: "asked by usr_ada", awake_since: ago(0) });
      else changed(each);
    }, 700 + index * 350),
  );
}
function sleep(each) {
  each.parts = full("asleep");
  set(each, "asleep", {});
}

const refuse = (status, code, kind, message, hint) => ({ status, body: { error: { code, kind, message, hint } } });

function usage(each) {
  const isAwake = each.runtime.state === "awake";
  const open = isAwake ? Math.floor((Date.now() - Date.parse(each.runtime.awake_since)) / 1000) : 0;
  const cap = each.slug === "fix-login" ? { mode: "none", minutes: 0 } : { mode: each.slug === "main" ? "stop" : "warn", minutes: 600 };
  const seconds = 20_332 + (each.slug === "main" ? 9_000 : 0) + open;
  const percent = Math.floor(seconds / 6 / 60);
  return {
    state: each.runtime.state, size: each.runtime.size, awake_seconds_this_month: seconds,
    awake_since: each.runtime.awake_since ?? null, wake_cause: each.runtime.wake_cause ?? null, cap,
    cap_posture: cap.mode === "none" ? { posture: "none" } : { posture: percent >= 80 ? "warning" : "within", percent },
    estimate_micros: seconds * 11, currency: "EUR", billed_separately: each.slug === "main" ? ["object_storage"] : [], receipts,
  };
}

function call(method, path, body) {
  if (path === "/v1/me") {
    return { body: { user: "usr_ada", name: "Ada Example", orgs: [{ org: "org_1", slug: "acme", role: "developer" }] } };
  }
  if (path === "/v1/orgs/acme/workspaces") return { body: { workspaces: [...workspaces.values()] } };
  const revoked = /^\/v1\/orgs\/acme\/links\/(\w+)$/.exec(path);
  if (revoked) {
    links = links.map((link) => (link.id === revoked[1] ? { ...link, state: "revoked" } : link));
    return { body: links.find(({ id }) => id === revoked[1]) };
  }
  const [, slug, rest] = /^\/v1\/orgs\/acme\/workspaces\/([^/]+)\/?(.*)$/.exec(path) ?? [];
  const each = workspaces.get(slug);
  if (!each) return refuse(404, "workspace.not_found", "not_found", `there is no workspace \`${slug}\``, "`envforge workspace list` shows those there are");
  switch (`${method} ${rest}`) {
    case "GET events": return { events: each };
    case "GET usage": return { body: usage(each) };
    case "GET links": return { body: { links } };
    case "POST wake":
      if (slug === "upgrade-node") return refuse(409, "runtime.no_capacity", "conflict", "no host has room for a large runtime", "put another workspace to sleep, or choose a smaller size");
      wake(each);
      return { body: each };
    case "POST sleep":
      sleep(each);
      receipts = [receipt(0, 42, 466, "asked by usr_ada", "asked by usr_ada"), ...receipts];
      return { body: each };
    case "POST links": {
      const service = each.parts.find(({ name }) => name === body.service);
      if (service?.state === "blocked") return refuse(409, "link.service_not_ready", "conflict", `no link to \`${body.service}\` yet: ${service.cause}`, service.fix);
      const link = { id: `lnk_${links.length + 1}`, service: body.service, state: "active", created_at: ago(0), expires_at: ago(-60 * (body.expires_in_minutes ?? 60)), visits: 0, visit_budget: body.visit_budget, wakes: 0, wake_budget: 10 };
      links = [link, ...links];
      const token = "v4.public.example-token-that-is-quite-long-0123456789";
      return { status: 201, body: { link, token, url: `https://${body.service}--${slug}--acme.dev.example.test/share/${token}` } };
    }
    default: return { body: each };
  }
}

createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://fake");
  if (!pathname.startsWith("/v1/")) {
    // Any address that is no file is the page: it knows what to show.
    const file = pathname.startsWith("/assets/") ? pathname.slice(1) : "index.html";
    const text = await readFile(new URL(file, dist)).catch(() => null);
    response.writeHead(text ? 200 : 404, { "content-type": TYPES[extname(file)] ?? "text/plain", "content-security-policy": POLICY });
    return response.end(text ?? "run `npm run build` first");
  }
  let text = "";
  for await (const piece of request) text += piece;
  const key = request.headers.authorization;
  const reply = !key || key === "Bearer bad"
    ? refuse(401, "api_key.unknown", "unauthenticated", "this API key is not known here", "check that it was copied whole; `envforge login` makes a new one")
    : call(request.method, pathname, text && JSON.parse(text));
  if (!reply.events) {
    response.writeHead(reply.status ?? 200, { "content-type": "application/json" });
    return response.end(JSON.stringify(reply.body));
  }
  const { slug } = reply.events;
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.write(`data: ${JSON.stringify({ workspace: reply.events })}\n\n`);
  const all = readers.get(slug) ?? new Set();
  readers.set(slug, all.add(response));
  const beat = setInterval(() => response.write(":\n\n"), 10_000);
  response.on("close", () => {
    clearInterval(beat);
    all.delete(response);
  });
}).listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}`));
