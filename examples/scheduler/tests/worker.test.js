import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { after, afterEach, before, describe, test } from 'node:test';
import { silent } from '../lib/log.js';
import { migrate } from '../lib/migrate.js';
import { Consumer, schedule } from '../lib/queue.js';
import { MAX_ATTEMPTS, processReminder, sweep } from '../worker/reminders.js';
import { createSandbox, skip, until } from './support.js';

describe('worker', { skip }, () => {
  let box;
  before(async () => {
    box = await createSandbox();
  });
  after(() => box?.close());
  afterEach(async () => {
    for (const key of ['delayed', 'queue', 'workers', 'processing:one', 'processing:two']) await box.redis.del(`reminders:${key}`);
  });

  async function addReminder(remindAt, pool = box.pool) {
    const { rows: [shift] } = await pool.query(
      `INSERT INTO shifts (title, starts_at, ends_at) VALUES ('Front desk', now() + '1 hour', now() + '2 hours') RETURNING id`,
    );
    const { rows: [reminder] } = await pool.query(
      'INSERT INTO reminders (shift_id, minutes_before, remind_at) VALUES ($1, 60, $2) RETURNING id',
      [shift.id, remindAt],
    );
    return { id: reminder.id, shiftId: shift.id };
  }
  const read = async (id, pool = box.pool) => (await pool.query('SELECT * FROM reminders WHERE id = $1', [id])).rows[0];
  const consumer = (name) => new Consumer({ redis: box.redis, blocking: box.blocking, name, log: silent });
  const past = () => new Date(Date.now() - 1000);
  const quiet = { log: silent, deliver: async () => {} };

  test('a due reminder goes from the sorted set through the queue and is marked as sent', async () => {
    const one = consumer('one');
    const { id } = await addReminder(past());
    const later = await addReminder(new Date(Date.now() + 60_000));
    await sweep(box.pool, box.redis);
    assert.equal(await one.promoteDue(), 1);
    const job = await one.take(1);
    assert.equal(job, String(id));
    const delivered = [];
    const result = await processReminder(box.pool, job, { log: silent, deliver: async (reminder) => delivered.push(reminder) });
    await one.finish(job);
    assert.equal(result.done, 'sent');
    assert.equal(delivered[0].title, 'Front desk');
    const row = await read(id);
    assert.equal(row.status, 'sent');
    assert.ok(row.sent_at);
    assert.equal(await box.redis.llen('reminders:processing:one'), 0);
    assert.equal((await read(later.id)).status, 'pending');
  });

  test('a job that comes twice is delivered once', async () => {
    const { id } = await addReminder(past());
    let delivered = 0;
    const options = { log: silent, deliver: async () => void (delivered += 1) };
    const results = await Promise.all([1, 2, 3].map(() => processReminder(box.pool, String(id), options)));
    assert.deepEqual(results.map(({ done }) => done).sort(), ['dropped', 'dropped', 'sent']);
    assert.equal(delivered, 1);
  });

  test('jobs without a reminder are dropped, early ones postponed', async () => {
    assert.equal((await processReminder(box.pool, '99999999', quiet)).done, 'dropped');
    assert.equal((await processReminder(box.pool, 'garbage', quiet)).done, 'dropped');
    const soon = new Date(Date.now() + 60_000);
    const { id } = await addReminder(soon);
    const one = consumer('one');
    await schedule(box.redis, id, past());
    await one.promoteDue();
    const job = await one.take(1);
    const { again } = await processReminder(box.pool, job, quiet);
    assert.equal(again.getTime(), soon.getTime());
    await one.postpone(job, again);
    assert.equal(await box.redis.zscore('reminders:delayed', job), String(soon.getTime()));
    assert.equal(await box.redis.llen('reminders:processing:one'), 0);
  });

  test('a delivery that fails is tried again later, and given up in the end', async () => {
    const { id } = await addReminder(past());
    let clock = Date.now();
    const options = { log: silent, now: () => new Date(clock), deliver: async () => { throw new Error('mail server down'); } };
    let last = clock;
    for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt += 1) {
      const { again } = await processReminder(box.pool, String(id), options);
      assert.ok(again.getTime() > last);
      last = clock = again.getTime();
    }
    assert.equal((await processReminder(box.pool, String(id), options)).done, 'failed');
    const row = await read(id);
    assert.deepEqual([row.status, row.attempts, row.last_error], ['failed', MAX_ATTEMPTS, 'mail server down']);
  });

  test('what a worker that died had taken is put back', async () => {
    const [one, two] = [consumer('one'), consumer('two')];
    await one.heartbeat();
    await two.heartbeat();
    await schedule(box.redis, 123, past());
    await one.promoteDue();
    assert.equal(await one.take(1), '123');
    assert.equal(await two.recoverLost(), 0, 'worker one is alive');
    await box.redis.del('reminders:alive:one');
    assert.equal(await two.recoverLost(), 1);
    assert.equal(await two.take(1), '123');
    await two.finish('123');
  });

  test('the process: starts before the schema, sends, and stops on SIGTERM', async () => {
    const fresh = await createSandbox({ migrated: false });
    const url = new URL(fresh.databaseUrl);
    url.searchParams.set('options', `-c search_path=${fresh.schema}`);
    const child = spawn(process.execPath, [fileURLToPath(new URL('../worker/main.js', import.meta.url))], {
      env: { ...process.env, DATABASE_URL: String(url), REDIS_URL: fresh.redisUrl, REDIS_PREFIX: fresh.prefix },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (data) => (output += data));
    try {
      await until(() => output.includes('waiting for the schema: trying again'), 'the worker waits');
      await migrate(fresh.pool);
      await until(() => output.includes('worker ready'), 'the worker is ready', 8000);
      const { id } = await addReminder(past(), fresh.pool);
      await schedule(fresh.redis, id, past());
      await until(async () => (await read(id, fresh.pool)).status === 'sent', 'the reminder is sent', 8000);
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      assert.deepEqual(await exit, [0, null]);
      assert.match(output, /reminder sent/);
      assert.deepEqual(await fresh.redis.smembers('reminders:workers'), []);
    } finally {
      child.kill('SIGKILL');
      await fresh.close();
    }
  });
});
