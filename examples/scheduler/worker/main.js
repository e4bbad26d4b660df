import { readConfig } from '../lib/config.js';
import { createPool } from '../lib/db.js';
import { log } from '../lib/log.js';
import { Consumer, createRedis } from '../lib/queue.js';
import { pause, reason, retry } from '../lib/retry.js';
import { createDeliver } from './deliver.js';
import { processReminder, sweep } from './reminders.js';

const PROMOTE_MS = 1000;
const CARE_MS = 10_000;
const SWEEP_MS = 60_000;

const config = readConfig();
const stop = new AbortController();
const { signal } = stop;
const pool = createPool(config.databaseUrl, { max: 2, log });
const redis = createRedis(config.redisUrl, { prefix: config.redisPrefix, log });
const blocking = createRedis(config.redisUrl, { prefix: config.redisPrefix, blocking: true, log });
const consumer = new Consumer({ redis, blocking, log });
const deliver = createDeliver(log);

for (const name of ['SIGTERM', 'SIGINT']) {
  process.on(name, () => {
    if (signal.aborted) return;
    log.info('stopping', { signal: name });
    setTimeout(() => process.exit(1), 8000).unref();
    stop.abort();
    blocking.disconnect(); // wakes the worker if it is waiting for a job
  });
}

log.info('worker starting', { worker: consumer.name });

// The api creates the schema and may start after the worker; Redis may too.
await retry(() => pool.query('SELECT FROM reminders LIMIT 1'), { signal, log, what: 'waiting for the schema', maxMs: 2000 });
await retry(() => consumer.heartbeat(), { signal, log, what: 'waiting for redis', maxMs: 2000 });
if (!signal.aborted) log.info('worker ready', { worker: consumer.name, after_ms: Math.round(process.uptime() * 1000) });

await Promise.all([
  consume(),
  every(PROMOTE_MS, 'promoting', () => consumer.promoteDue()),
  every(CARE_MS, 'heartbeat', async () => {
    await consumer.heartbeat();
    await consumer.recoverLost();
  }),
  every(SWEEP_MS, 'sweep', () => sweep(pool, redis)),
]);

await consumer.giveBack().catch((error) => log.warn('jobs not put back', { reason: reason(error) }));
await Promise.allSettled([pool.end(), redis.quit()]);
redis.disconnect();
log.info('stopped');

async function consume() {
  while (!signal.aborted) {
    let job;
    try {
      job = await consumer.take();
    } catch (error) {
      if (!signal.aborted) log.warn('cannot take a job', { reason: reason(error) });
      await pause(1000, signal);
      continue;
    }
    if (job === null) continue;
    // The job stays in this worker's processing list until Postgres and Redis have both heard of it.
    await retry(
      async () => {
        const result = await processReminder(pool, job, { deliver, log });
        if (result.again) await consumer.postpone(job, result.again);
        else await consumer.finish(job);
      },
      { signal, log, what: `job ${job}` },
    );
  }
}

/** Runs `task` now and then again and again; a failure is logged once until it works again. */
async function every(ms, what, task) {
  let failing = false;
  while (!signal.aborted) {
    try {
      await task();
      if (failing) log.info(`${what} works again`);
      failing = false;
    } catch (error) {
      if (!failing && !signal.aborted) log.warn(`${what} failed`, { reason: reason(error) });
      failing = true;
    }
    await pause(ms, signal);
  }
}
