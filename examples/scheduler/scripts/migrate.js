import { readConfig } from '../lib/config.js';
import { createPool } from '../lib/db.js';
import { log } from '../lib/log.js';
import { migrate } from '../lib/migrate.js';
import { reason } from '../lib/retry.js';

const config = readConfig({ needs: ['DATABASE_URL'] });
const pool = createPool(config.databaseUrl, { max: 1, log });
try {
  const applied = await migrate(pool, { log });
  log.info(applied.length > 0 ? 'migrations done' : 'nothing to migrate', { applied: applied.length });
} catch (error) {
  log.error('migration failed', { reason: reason(error) });
  process.exitCode = 1;
} finally {
  await pool.end();
}
