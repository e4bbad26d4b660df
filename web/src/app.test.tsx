// The whole dashboard against a fake fetch: what people see and do, not how it is made.

import { QueryClientProvider } from "@tanstack/react-query";
import { fireEvent, render, screen, within } from "@testing-library/react";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Fetch } from "./api/client";
import { makeQueries } from "./api/queries";
import { SessionProvider } from "./api/session";
import type { Role } from "./api/types";
import { App } from "./app";
import { exampleUsage, exampleWorkspace, json, streamOf } from "./testing/examples";

const WORKSPACE = "/v1/orgs/acme/workspaces/fix-login";
const LINK = {
  id: "lnk_1", workspace: "ws_1", service: "web", label: "web--fix-login--acme", state: "active", visits: 2, wakes: 0,
  wake_budget: 10, minutes: 1, minute_budget: 240, routes: [], created_at: "2026-01-01T00:00:00Z", expires_at: "2099-01-01T00:00:00Z",
};

type Answers = Record<string, (body: unknown) => Promise<Response>>;

/** Opens the dashboard at an address; answers not given are those of a workspace that sleeps. */
function open(address: string, answers: Answers = {}, role: Role = "developer") {
  const usual: Answers = {
    "GET /v1/me": () => json({ user: "usr_1", name: "Ada", orgs: [{ org: "org_1", slug: "acme", role }] }),
    "GET /v1/orgs/acme/workspaces": () => json({ workspaces: [exampleWorkspace()] }),
    [`GET ${WORKSPACE}/events`]: () =>
      streamOf([`data: ${JSON.stringify({ workspace: exampleWorkspace() })}\n\n`], { isOpen: true }),
    [`GET ${WORKSPACE}/usage`]: () => json(exampleUsage()),
    [`GET ${WORKSPACE}/links`]: () => json({ links: [LINK] }),
  };
  const fetch = vi.fn(async (input: RequestInfo | URL, init?: RequestInit) => {
    const request = new Request(input, init);
    const call = `${request.method} ${new URL(request.url).pathname}`;
    if (request.headers.get("authorization") !== "Bearer good") {
      return json({ error: { code: "api_key.unknown", kind: "unauthenticated", message: "this key is not known", hint: "make a new one" } }, 401);
    }
    const text = await request.text();
    const answer = answers[call] ?? usual[call];
    if (!answer) throw new TypeError(`no answer to ${call}`);
    return answer(text === "" ? undefined : JSON.parse(text));
  });
  window.history.replaceState(null, "", address);
  render(
    <QueryClientProvider client={makeQueries()}>
      <SessionProvider fetch={fetch as Fetch}>
        <App />
      </SessionProvider>
    </QueryClientProvider>,
  );
  return fetch;
}

const press = (name: string | RegExp) => fireEvent.click(screen.getByRole("button", { name }));

describe("sign-in", () => {
  it("says why a key is refused, then keeps a good one for this tab", async () => {
    open("/");
    const field = screen.getByLabelText("API key");
    fireEvent.change(field, { target: { value: "bad" } });
    press("Sign in");
    const alert = await screen.findByRole("alert");
    expect(alert.textContent).toContain("This key is not known");
    expect(alert.textContent).toContain("Make a new one");
    expect(sessionStorage.length).toBe(0);

    fireEvent.change(field, { target: { value: " good " } });
    press("Sign in");
    expect(await screen.findByRole("link", { name: "fix-login" })).toBeTruthy();
    expect(sessionStorage.getItem("envforge.api_key")).toBe("good");
    expect(window.location.pathname).toBe("/orgs/acme/workspaces");

    press("Sign out");
    expect(screen.getByLabelText("API key")).toBeTruthy();
    expect(sessionStorage.length).toBe(0);
  });

  it("comes back when a kept key is no longer taken", async () => {
    sessionStorage.setItem("envforge.api_key", "revoked");
    open("/orgs/acme/workspaces");
    expect(await screen.findByText(/no longer taken/)).toBeTruthy();
    expect(sessionStorage.length).toBe(0);
  });
});

describe("signed in", () => {
  beforeEach(() => sessionStorage.setItem("envforge.api_key", "good"));

  it("lists workspaces, or says how to make the first", async () => {
    open("/orgs/acme/workspaces", { "GET /v1/orgs/acme/workspaces": () => json({ workspaces: [] }) });
    expect(await screen.findByText("No workspace yet")).toBeTruthy();
    expect(screen.getByDisplayValue("envforge up")).toBeTruthy();
  });

  it("shows a workspace: readiness with cause and fix, dev host, usage", async () => {
    open("/orgs/acme/workspaces/fix-login");
    const services = await screen.findByRole("region", { name: "Services" });
    expect(services.textContent).toContain("npm run api ended with 127");
    expect(services.textContent).toContain("Run npm ci in the shell");
    expect(within(services).getByRole("link").getAttribute("href")).toBe("https://web--fix-login--acme.dev.test");

    // proves COST-2b
    const usage = screen.getByRole("region", { name: "Usage" });
    await within(usage).findByText("42 min 10 s");
    expect(usage.textContent).toContain("asleep");
    expect(usage.textContent).toContain("Small");
    expect(usage.textContent).toContain("7 % of the cap used");
    expect(usage.textContent).toContain("Warns from 80 % of 600 min a month");
    expect(usage.textContent).toContain("postgres, by their provider");
    expect(usage.textContent).toContain("kept after sleep");
  });

  it("wakes on request and shows what the stream then says", async () => {
    let say: (text: string) => void = () => undefined;
    const live = new ReadableStream<Uint8Array>({
      start: (controller) => {
        say = (text) => controller.enqueue(new TextEncoder().encode(text));
      },
    });
    const event = (workspace: unknown) => `data: ${JSON.stringify({ workspace })}\n\n`;
    say(event(exampleWorkspace()));
    open("/orgs/acme/workspaces/fix-login", {
      [`GET ${WORKSPACE}/events`]: () => Promise.resolve(new Response(live)),
      [`POST ${WORKSPACE}/wake`]: () => {
        const runtime = { readiness: "waking", state: "waking", generation: 2, size: "small" };
        say(event({ ...exampleWorkspace(), runtime }));
        return json(exampleWorkspace());
      },
    });
    fireEvent.click(await screen.findByRole("button", { name: "Wake" }));
    expect(await screen.findByRole("button", { name: "Sleep" })).toBeTruthy();
    expect(screen.getByText("The runtime is waking")).toBeTruthy();
  });

  it("shows a refusal where it was asked for", async () => {
    open("/orgs/acme/workspaces/fix-login", {
      [`POST ${WORKSPACE}/wake`]: () =>
        json({ error: { code: "cap.reached", kind: "limit", message: "the cap is used up", hint: "raise it" } }, 429),
    });
    fireEvent.click(await screen.findByRole("button", { name: "Wake" }));
    const alert = await screen.findByRole("alert");
    expect(alert.textContent).toBe("The cap is used upRaise itcap.reached");
  });

  it("shows a new link once, and revokes one only when sure", async () => {
    const asked: unknown[] = [];
    const url = "https://web--fix-login--acme.dev.test/share/token";
    const fetch = open("/orgs/acme/workspaces/fix-login", {
      [`POST ${WORKSPACE}/links`]: (body) => {
        asked.push(body);
        return json({ link: LINK, token: "token", url }, 201);
      },
      "DELETE /v1/orgs/acme/links/lnk_1": () => json({ ...LINK, state: "revoked" }),
    });
    fireEvent.click(await screen.findByRole("button", { name: "New link" }));
    press("Make the link");
    expect(await screen.findByDisplayValue(url)).toBeTruthy();
    expect(asked).toEqual([{ service: "web", expires_in_minutes: 60, visit_budget: null }]);
    press("Done");
    expect(screen.queryByDisplayValue(url)).toBeNull();

    const deletions = () => fetch.mock.calls.filter(([input]) => (input as Request).method === "DELETE").length;
    press("Revoke the link to web");
    expect(deletions()).toBe(0);
    press("Revoke now");
    await vi.waitFor(() => expect(deletions()).toBe(1));
  });

  it("offers a reviewer nothing the server would refuse", async () => {
    open("/orgs/acme/workspaces/fix-login", {}, "reviewer");
    await screen.findByText("42 min 10 s");
    for (const name of ["Wake", "New link", /Revoke/]) expect(screen.queryByRole("button", { name })).toBeNull();
  });

  it("says that a workspace does not exist", async () => {
    open("/orgs/acme/workspaces/fix-login", {
      [`GET ${WORKSPACE}/events`]: () =>
        json({ error: { code: "workspace.not_found", kind: "not_found", message: "there is no such workspace" } }, 404),
    });
    expect((await screen.findByRole("alert")).textContent).toContain("There is no such workspace");
    expect(screen.getByRole("link", { name: /Back to the workspaces/ })).toBeTruthy();
  });
});
