// The typed client: paths, parameters and answers are those of docs/reference/openapi.json.

import createClient, { type Client } from "openapi-fetch";
import { asRefused, refused } from "./refusal";
import type { paths } from "./schema";

export type Fetch = typeof globalThis.fetch;

export interface Api {
  /** The calls; wrap each in `answer`. */
  readonly calls: Client<paths>;
  /** A call whose answer is read as it comes, for streams. */
  readonly open: (path: string, signal: AbortSignal) => Promise<Response>;
}

/** A client that signs every call with the key and says when the server no longer takes it. */
export function connect(key: string, onUnauthenticated: () => void, fetch: Fetch = globalThis.fetch): Api {
  const base = window.location.origin;
  const headers = { authorization: `Bearer ${key}` };
  const signed: Fetch = async (input, init) => {
    // A redirect would be followed without the key at best; the API has none.
    const response = await fetch(input, { ...init, credentials: "omit", redirect: "error" });
    if (response.status === 401) onUnauthenticated();
    return response;
  };
  return {
    calls: createClient<paths>({ baseUrl: base, headers, fetch: (request) => signed(request) }),
    open: (path, signal) =>
      signed(base + path, { headers: { ...headers, accept: "text/event-stream" }, cache: "no-store", signal }),
  };
}

interface Outcome<Data> {
  data?: Data;
  error?: unknown;
  response: Response;
}

/** What a call answered, or a `RefusedError`. */
export async function answer<Data>(call: Promise<Outcome<Data>>): Promise<Data> {
  let outcome;
  try {
    outcome = await call;
  } catch (thrown) {
    throw asRefused(thrown);
  }
  if (!outcome.response.ok) throw refused(outcome.response.status, outcome.error);
  return outcome.data as Data;
}
