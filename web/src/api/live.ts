// A workspace as it is now, kept current by its event stream: read with fetch, because EventSource can't send the key.
//
//   connecting → live ⇄ reconnecting → ended (deleted, or refused for good)
//
// Every event is the whole workspace and the first after a reconnect is the present state, so nothing is merged and
// nothing can be missed.

import { useEffect, useState } from "react";
import type { Api } from "./client";
import { asRefused, refused, type RefusedError } from "./refusal";
import { readEvents } from "./sse";
import { useApi } from "./session";
import type { Workspace, WorkspaceChanged } from "./types";

/** Silence after which a connection counts as dead; the server says something every 10 s. */
const SILENCE_MS = 25_000;
const LONGEST_PAUSE_MS = 15_000;

export type LiveNews =
  | { kind: "changed"; workspace: Workspace }
  | { kind: "interrupted"; error: RefusedError | null }
  | { kind: "deleted" }
  | { kind: "refused"; error: RefusedError };

/** Milliseconds to wait before attempt number `attempt`, from 0.5 s doubling to 15 s, with jitter so that tabs don't come back in step. */
export function pause(attempt: number, random: number): number {
  return Math.min(LONGEST_PAUSE_MS, 500 * 2 ** attempt) * (0.75 + random / 2);
}

/** Follows a stream of `WorkspaceChanged` until it ends for good or `signal` says so. */
export async function follow(api: Api, path: string, signal: AbortSignal, tell: (news: LiveNews) => void) {
  let attempt = 0;
  while (!signal.aborted) {
    const connection = new AbortController();
    const stop = () => connection.abort();
    signal.addEventListener("abort", stop);
    let silence = setTimeout(stop, SILENCE_MS);
    let error: RefusedError | null = null;
    try {
      const response = await api.open(path, connection.signal);
      if (!response.ok || response.body === null) {
        throw refused(response.status, await response.json().catch(() => null));
      }
      const heard = () => {
        clearTimeout(silence);
        silence = setTimeout(stop, SILENCE_MS);
      };
      for await (const event of readEvents(response.body, heard)) {
        const { workspace } = JSON.parse(event.data) as WorkspaceChanged;
        if (signal.aborted) return;
        if (!workspace) return tell({ kind: "deleted" });
        attempt = 0;
        tell({ kind: "changed", workspace });
      }
    } catch (thrown) {
      // Given up for its silence: nobody refused anything.
      error = connection.signal.aborted ? null : asRefused(thrown);
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", stop);
      connection.abort();
    }
    if (signal.aborted) return;
    if (error !== null && error.status !== 0 && !error.mayPass) return tell({ kind: "refused", error });
    tell({ kind: "interrupted", error });
    const asked = (error?.refusal.retry_after ?? 0) * 1000;
    await sleep(Math.max(asked, pause(attempt++, Math.random())), signal);
  }
}

/** Waits, but not past a return of the network. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    window.addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}

export interface Live {
  readonly connection: "connecting" | "live" | "reconnecting" | "ended";
  /** The last known state; kept while reconnecting. */
  readonly workspace: Workspace | null;
  readonly error: RefusedError | null;
  readonly isDeleted: boolean;
}

const START: Live = { connection: "connecting", workspace: null, error: null, isDeleted: false };

function after(live: Live, news: LiveNews): Live {
  switch (news.kind) {
    case "changed":
      return { connection: "live", workspace: news.workspace, error: null, isDeleted: false };
    case "interrupted":
      return { ...live, connection: "reconnecting", error: news.error };
    case "deleted":
      return { connection: "ended", workspace: null, error: null, isDeleted: true };
    case "refused":
      return { connection: "ended", workspace: null, error: news.error, isDeleted: false };
  }
}

/**
 * One workspace, live. A hidden tab lets go of its connection (a browser opens only six to a plain HTTP server) and
 * is current again the moment it is looked at. Mount it under a `key` of org and slug.
 */
export function useLiveWorkspace(org: string, slug: string): Live {
  const api = useApi();
  const [live, setLive] = useState(START);

  useEffect(() => {
    let current: AbortController | null = null;
    const path = `/v1/orgs/${encodeURIComponent(org)}/workspaces/${encodeURIComponent(slug)}/events`;
    const look = () => {
      if (document.hidden) {
        current?.abort();
        current = null;
      } else if (current === null) {
        current = new AbortController();
        void follow(api, path, current.signal, (news) => setLive((live) => after(live, news)));
      }
    };
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      current?.abort();
    };
  }, [api, org, slug]);

  return live;
}
