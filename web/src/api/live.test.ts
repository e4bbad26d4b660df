import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { exampleWorkspace, json, streamOf } from "../testing/examples";
import type { Api } from "./client";
import { follow, pause, type LiveNews } from "./live";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Follows a server that gives these answers in turn, then none. */
async function heard(...answers: (() => Promise<Response>)[]) {
  const news: LiveNews[] = [];
  const leave = new AbortController();
  const open = vi.fn<Api["open"]>(() => answers.shift()?.() ?? new Promise(() => undefined));
  void follow({ open } as unknown as Api, "/events", leave.signal, (one) => news.push(one));
  await vi.advanceTimersByTimeAsync(60_000);
  leave.abort();
  return { kinds: news.map(({ kind }) => kind), calls: open.mock.calls.length };
}

const event = (workspace: unknown) => `data: ${JSON.stringify({ workspace })}\n\n`;
const some = event(exampleWorkspace());

describe("follow", () => {
  it("comes back after the connection ends", async () => {
    const { kinds } = await heard(() => streamOf([some]), () => streamOf([some]));
    expect(kinds.slice(0, 3)).toEqual(["changed", "interrupted", "changed"]);
  });

  it("comes back while the server is away or starting", async () => {
    const { kinds } = await heard(
      () => Promise.reject(new TypeError("Failed to fetch")),
      () => json({}, 503),
      () => streamOf([some]),
    );
    expect(kinds.slice(0, 3)).toEqual(["interrupted", "interrupted", "changed"]);
  });

  it("gives a silent connection up", async () => {
    const { kinds } = await heard(() => streamOf([some], { isOpen: true }));
    expect(kinds).toEqual(["changed"]);
    // The fake does not see the abort; a real fetch rejects with it.
    const silent = vi.fn<Api["open"]>(
      (_, signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(new DOMException("", "AbortError")))),
    );
    const leave = new AbortController();
    void follow({ open: silent } as unknown as Api, "/events", leave.signal, () => undefined);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(silent).toHaveBeenCalledTimes(2);
    leave.abort();
  });

  it("stops at a refusal and at a deletion", async () => {
    const refusal = { error: { code: "workspace.not_found", kind: "not_found", message: "there is none" } };
    expect(await heard(() => json(refusal, 404))).toEqual({ kinds: ["refused"], calls: 1 });
    expect(await heard(() => streamOf([some, event(null)]))).toEqual({ kinds: ["changed", "deleted"], calls: 1 });
  });
});

it("waits longer each time, up to a bound", () => {
  expect([0, 1, 2, 9].map((attempt) => pause(attempt, 0.5))).toEqual([500, 1000, 2000, 15_000]);
  expect(pause(9, 1)).toBeLessThan(20_000);
});
