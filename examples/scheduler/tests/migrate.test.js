import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { migrate } from '../lib/migrate.js';
import { createSandbox, skip } from './support.js';

test('migrations run once, also when several processes start together', { skip }, async (t) => {
  const box = await createSandbox({ migrated: false });
  t.after(() => box.close());
  const results = await Promise.all([migrate(box.pool), migrate(box.pool), migrate(box.pool)]);
  const applied = results.flat();
  assert.ok(applied.length >= 3);
  assert.equal(new Set(applied).size, applied.length);
  assert.deepEqual(await migrate(box.pool), []);
});

test('a migration that fails leaves nothing behind and is named', { skip }, async (t) => {
  const box = await createSandbox({ migrated: false });
  const directory = await mkdtemp(join(tmpdir(), 'migrations-'));
  t.after(async () => {
    await box.close();
    await rm(directory, { recursive: true });
  });
  await writeFile(join(directory, '001_good.sql'), 'CREATE TABLE good (id int);');
  await writeFile(join(directory, '002_bad.sql'), 'CREATE TABLE half (id int); SELECT nonsense;');
  await assert.rejects(migrate(box.pool, { directory }), /migration 002_bad\.sql: .*nonsense/);
  const { rows } = await box.pool.query(`SELECT to_regclass('good') AS good, to_regclass('half') AS half`);
  assert.deepEqual(rows[0], { good: 'good', half: null });

  await writeFile(join(directory, '002_bad.sql'), 'CREATE TABLE half (id int);');
  assert.deepEqual(await migrate(box.pool, { directory }), ['002_bad.sql']);
});
