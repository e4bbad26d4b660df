import { randomBytes } from 'node:crypto';
import { createPool } from '../lib/db.js';
import { migrate } from '../lib/migrate.js';
import { createRedis } from '../lib/queue.js';

const { DATABASE_URL, REDIS_URL } = process.env;

/** For `test(..., { skip })`: a reason when the servers to test against are not given. */
export const skip =
  DATABASE_URL && REDIS_URL ? false : 'DATABASE_URL and REDIS_URL are not set: this needs a real PostgreSQL and Redis';

/**
 * A Postgres schema and a Redis prefix of its own, so tests can run next to each other and
 * next to a database that is in use. `close` removes both.
 */
export async function createSandbox({ migrated = true } = {}) {
  const name = `test_${randomBytes(5).toString('hex')}`;
  const prefix = `${name}:`;
  const admin = createPool(DATABASE_URL, { max: 1 });
  await admin.query(`CREATE SCHEMA ${name}`);
  const pool = createPool(DATABASE_URL, { schema: name });
  const redis = createRedis(REDIS_URL, { prefix });
  const blocking = createRedis(REDIS_URL, { prefix, blocking: true });
  if (migrated) await migrate(pool);
  return {
    databaseUrl: DATABASE_URL,
    redisUrl: REDIS_URL,
    schema: name,
    prefix,
    pool,
    redis,
    blocking,
    async close() {
      const bare = createRedis(REDIS_URL, { prefix: '' });
      const keys = await bare.keys(`${prefix}*`);
      if (keys.length > 0) await bare.del(...keys);
      for (const one of [bare, redis, blocking]) one.disconnect();
      await pool.end();
      await admin.query(`DROP SCHEMA ${name} CASCADE`);
      await admin.end();
    },
  };
}

/** Asks again and again until the answer is truthy. */
export async function until(ask, what, ms = 5000) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`timed out: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
