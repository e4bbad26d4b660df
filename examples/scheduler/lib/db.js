import pg from 'pg';

const UNDEFINED_TABLE = '42P01';
const UNDEFINED_COLUMN = '42703';

/** @param {string} connectionString @param {{ schema?: string, max?: number, log?: any }} [options] */
export function createPool(connectionString, { schema, max = 5, log } = {}) {
  const pool = new pg.Pool({ ...connection(connectionString, schema), max });
  // An idle connection that breaks is replaced on next use; without a listener it would end the process.
  pool.on('error', (error) => log?.warn('postgres connection lost', { reason: error.message }));
  return pool;
}

/** A connection of its own, for LISTEN. */
export function createClient(connectionString, { schema } = {}) {
  return new pg.Client({ ...connection(connectionString, schema), keepAlive: true });
}

function connection(connectionString, schema) {
  return {
    connectionString,
    connectionTimeoutMillis: 5000,
    application_name: 'scheduler',
    ...(schema ? { options: `-c search_path=${schema}` } : {}),
  };
}

/** Runs `work` in one transaction. */
export async function transaction(pool, work) {
  const client = await pool.connect();
  let broken;
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch((rollbackError) => {
      broken = rollbackError;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}

export const isSchemaMissing = (error) => error?.code === UNDEFINED_TABLE || error?.code === UNDEFINED_COLUMN;

/** True for errors that say "the database is not there or not ready", not "this query is wrong". */
export function isUnavailable(error) {
  if (!error) return false;
  if (isSchemaMissing(error)) return true;
  if (/^(08|57P|53)/.test(error.code ?? '')) return true;
  if (/^(ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENOENT)/.test(error.code ?? '')) return true;
  return /Connection terminated|timeout exceeded when trying to connect|connection timeout/i.test(error.message ?? '');
}
