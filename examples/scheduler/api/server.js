import { readConfig } from '../lib/config.js';
import { createPool } from '../lib/db.js';
import { log } from '../lib/log.js';
import { migrate } from '../lib/migrate.js';
import { createRedis } from '../lib/queue.js';
import { reason, retry } from '../lib/retry.js';
import { buildApp } from './app.js';
import { listenForChanges } from './live.js';

const config = readConfig();
const stop = new AbortController();
const state = { migrated: false };
const pool = createPool(config.databaseUrl, { log });
const redis = createRedis(config.redisUrl, { prefix: config.redisPrefix, log });
const { app, live } = buildApp({ pool, redis, log, state });

let shutdown;
function close(signal) {
  shutdown ??= (async () => {
    log.info('stopping', { signal });
    setTimeout(() => process.exit(1), 8000).unref();
    stop.abort();
    await app.close();
    await Promise.allSettled([pool.end(), redis.quit()]);
    redis.disconnect();
    log.info('stopped');
  })();
  return shutdown;
}
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => close(signal));

try {
  await app.listen({ port: config.port, host: config.host });
} catch (error) {
  log.error('cannot listen', { port: config.port, reason: reason(error) });
  process.exit(1);
}
log.info('api listening', { url: `http://${config.host}:${app.server.address().port}/api` });

// The port is open from the start; until the schema is there, requests are answered with 503.
await retry(() => migrate(pool, { log }), { signal: stop.signal, log, what: 'migrating' });
if (!stop.signal.aborted) {
  state.migrated = true;
  log.info('ready', { after_ms: Math.round(process.uptime() * 1000) });
  await listenForChanges(config.databaseUrl, {
    signal: stop.signal,
    log,
    onChange: (change) => live.broadcast(change),
  });
}
