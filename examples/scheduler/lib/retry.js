import { setTimeout as sleep } from 'node:timers/promises';

/** A short text for the log. Some errors (a refused connection on both IPv4 and IPv6, for one) have no message of their own. */
export function reason(error) {
  if (error?.name === 'MaxRetriesPerRequestError') return 'redis does not answer';
  return error?.message || error?.errors?.[0]?.message || error?.code || String(error);
}

/** Waits; returns early, without an error, when the signal is aborted. */
export async function pause(ms, signal) {
  await sleep(ms, undefined, { signal }).catch(() => {});
}

/**
 * Calls `attempt` until it succeeds, waiting a little longer each time.
 * Returns undefined when the signal is aborted first.
 */
export async function retry(attempt, { signal, log, what, firstMs = 250, maxMs = 5000 }) {
  for (let wait = firstMs; !signal?.aborted; wait = Math.min(wait * 2, maxMs)) {
    try {
      return await attempt();
    } catch (error) {
      if (signal?.aborted) return undefined;
      log?.warn(`${what}: trying again`, { in_ms: wait, reason: reason(error) });
      await pause(wait, signal);
    }
  }
  return undefined;
}
