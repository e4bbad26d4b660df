// What a call can answer instead of what was asked for, always as the API's own refusal: code, message, hint.

import type { Refusal } from "./types";

export class RefusedError extends Error {
  readonly refusal: Refusal;
  /** The HTTP status; 0 when no answer came at all. */
  readonly status: number;

  constructor(status: number, refusal: Refusal) {
    super(refusal.message);
    this.name = "RefusedError";
    this.status = status;
    this.refusal = refusal;
  }

  /** Whether asking again, unchanged, may help. */
  get mayPass(): boolean {
    return this.status === 0 || this.status >= 500 || [408, 425, 429].includes(this.status);
  }
}

/** Reads the body of an answer that is no success; one that is not the API's (a proxy's page) still says something useful. */
export function refused(status: number, body: unknown): RefusedError {
  if (isObject(body) && isObject(body.error) && typeof body.error.message === "string") {
    return new RefusedError(status, body.error as Refusal);
  }
  return new RefusedError(status, {
    code: `http.${status}`,
    kind: status >= 500 ? "unavailable" : "invalid",
    message: `the server answered ${status} without saying why`,
    hint: status >= 500 ? "it may be starting again; try again in a moment" : null,
  });
}

/** Turns whatever was thrown into a refusal, so that a page shows one kind of error. */
export function asRefused(thrown: unknown): RefusedError {
  if (thrown instanceof RefusedError) return thrown;
  if (thrown instanceof TypeError) {
    return new RefusedError(0, {
      code: "network.unreachable",
      kind: "unavailable",
      message: "the server can't be reached",
      hint: "check the network, and that the server runs",
    });
  }
  return new RefusedError(0, {
    code: "dashboard.fault",
    kind: "internal",
    message: thrown instanceof Error ? thrown.message : "something went wrong in this page",
    hint: "reload the page",
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
