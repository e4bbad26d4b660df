import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const DIRECTORY = fileURLToPath(new URL('../migrations/', import.meta.url));
const LOCK_ID = 7_243_119; // any constant: two processes that start together take turns

/**
 * Applies the .sql files of migrations/ that the database has not seen, in the order of
 * their names, each in a transaction. Returns the names of those it applied.
 */
export async function migrate(pool, { directory = DIRECTORY, log } = {}) {
  const files = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort();
  const client = await pool.connect();
  const applied = [];
  let failure;
  try {
    await client.query('SELECT pg_advisory_lock($1)', [LOCK_ID]);
    await client.query(`CREATE TABLE IF NOT EXISTS schema_migrations (
      name text PRIMARY KEY,
      applied_at timestamptz NOT NULL DEFAULT now()
    )`);
    const { rows } = await client.query('SELECT name FROM schema_migrations');
    const done = new Set(rows.map((row) => row.name));
    for (const name of files) {
      if (done.has(name)) continue;
      const sql = await readFile(`${directory}/${name}`, 'utf8');
      await client.query('BEGIN');
      try {
        await client.query(sql);
        await client.query('INSERT INTO schema_migrations (name) VALUES ($1)', [name]);
        await client.query('COMMIT');
      } catch (error) {
        await client.query('ROLLBACK').catch(() => {});
        error.message = `migration ${name}: ${error.message}`;
        throw error;
      }
      applied.push(name);
      log?.info('migration applied', { name });
    }
    await client.query('SELECT pg_advisory_unlock($1)', [LOCK_ID]);
    return applied;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    client.release(failure); // after a failure the connection is closed, and the lock with it
  }
}
