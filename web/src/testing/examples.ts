// Answers of an invented server, for tests.

import type { Workspace, WorkspaceUsage } from "../api/types";

export function exampleWorkspace(change: Partial<Workspace> = {}): Workspace {
  return {
    id: "ws_1",
    org: "org_1",
    org_slug: "acme",
    slug: "fix-login",
    project: "planner",
    branch: "fix/login",
    created_at: "2026-01-01T00:00:00Z",
    shell: { kind: "shell", name: "shell", state: "ready" },
    runtime: { readiness: "asleep", state: "asleep", generation: 1, size: "small" },
    parts: [
      { kind: "service", name: "web", state: "asleep" },
      {
        kind: "service",
        name: "api",
        state: "blocked",
        code: "service.command_not_found",
        cause: "`npm run api` ended with 127",
        fix: "run `npm ci` in the shell",
      },
      { kind: "resource", name: "postgres", state: "asleep" },
    ],
    dev_hosts: [{ service: "web", label: "web--fix-login--acme", url: "https://web--fix-login--acme.dev.test" }],
    ...change,
  };
}

export function exampleUsage(change: Partial<WorkspaceUsage> = {}): WorkspaceUsage {
  return {
    state: "asleep",
    size: "small",
    awake_seconds_this_month: 2530,
    cap: { mode: "warn", minutes: 600 },
    cap_posture: { posture: "within", percent: 7 },
    estimate_micros: 28_000,
    currency: "EUR",
    billed_separately: ["postgres"],
    receipts: [],
    ...change,
  };
}

export const json = (body: unknown, status = 200): Promise<Response> =>
  Promise.resolve(new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } }));

/** A stream of these pieces; it ends after them unless it stays open. */
export function streamOf(pieces: string[], { isOpen = false } = {}): Promise<Response> {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (const piece of pieces) controller.enqueue(encoder.encode(piece));
      if (!isOpen) controller.close();
    },
  });
  return Promise.resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }));
}
