import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { buildApp } from '../api/app.js';
import { listenForChanges } from '../api/live.js';
import { createPool } from '../lib/db.js';
import { silent } from '../lib/log.js';
import { createRedis } from '../lib/queue.js';
import { createSandbox, skip, until } from './support.js';

describe('api', { skip }, () => {
  let box;
  let server;
  let base;
  const stop = new AbortController();
  const state = { migrated: true };

  const call = async (method, path, body) => {
    const response = await fetch(`${base}${path}`, {
      method,
      ...(body === undefined
        ? {}
        : { body: typeof body === 'string' ? body : JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : null };
  };
  const shift = (from, to, more = {}) => ({
    title: 'Front desk',
    startsAt: `2031-03-04T${from}:00Z`,
    endsAt: `2031-03-04T${to}:00Z`,
    ...more,
  });
  let names = 0;
  const person = async () => (await call('POST', '/people', { name: `Person ${++names}` })).body;

  before(async () => {
    box = await createSandbox();
    server = buildApp({ pool: box.pool, redis: box.redis, log: silent, state });
    await server.app.listen({ port: 0, host: '127.0.0.1' });
    base = `http://127.0.0.1:${server.app.server.address().port}/api`;
    await new Promise((resolve) => {
      void listenForChanges(box.databaseUrl, {
        schema: box.schema,
        signal: stop.signal,
        log: silent,
        onChange: server.live.broadcast,
        onReady: resolve,
      });
    });
  });

  after(async () => {
    stop.abort();
    await server?.app.close();
    await box?.close();
  });

  test('health', async () => {
    const { status, body } = await call('GET', '/health');
    assert.equal(status, 200);
    assert.deepEqual(body, { status: 'ok', postgres: 'ok', redis: 'ok', migrations: 'ok' });
  });

  test('until the schema is there, health and requests answer 503', async () => {
    state.migrated = false;
    try {
      assert.equal((await call('GET', '/health')).status, 503);
      const { status, body } = await call('GET', '/people');
      assert.deepEqual([status, body.error], [503, 'starting']);
    } finally {
      state.migrated = true;
    }
  });

  test('with no Postgres and no Redis, health says which', async () => {
    const pool = createPool('postgres://nobody@127.0.0.1:1/none');
    const redis = createRedis('redis://127.0.0.1:1');
    const other = buildApp({ pool, redis, log: silent, state: { migrated: true } });
    await other.app.listen({ port: 0, host: '127.0.0.1' });
    try {
      const origin = `http://127.0.0.1:${other.app.server.address().port}`;
      const health = await fetch(`${origin}/api/health`);
      const body = await health.json();
      assert.equal(health.status, 503);
      assert.match(body.postgres, /ECONNREFUSED/);
      assert.notEqual(body.redis, 'ok');
      const people = await fetch(`${origin}/api/people`);
      assert.equal(people.status, 503);
      assert.equal((await people.json()).error, 'unavailable');
    } finally {
      await other.app.close();
      redis.disconnect();
      await pool.end();
    }
  });

  test('people: create, list, change, delete', async () => {
    const created = await call('POST', '/people', { name: '  Grace ', color: 'teal' });
    assert.equal(created.status, 201);
    const { id } = created.body;
    assert.deepEqual(created.body, { id, name: 'Grace', color: 'teal' });
    assert.equal(created.headers.get('location'), `/api/people/${id}`);
    assert.deepEqual((await call('POST', '/people', { name: 'grace' })).status, 409);
    assert.equal((await call('PATCH', `/people/${id}`, { color: 'rose' })).body.color, 'rose');
    assert.ok((await call('GET', '/people')).body.some((one) => one.id === id && one.color === 'rose'));
    assert.equal((await call('DELETE', `/people/${id}`)).status, 204);
    assert.equal((await call('GET', `/people/${id}`)).status, 404);
    assert.equal((await call('DELETE', `/people/${id}`)).status, 404);
  });

  test('shifts: create, list by range, change, delete', async () => {
    const created = await call('POST', '/shifts', shift('09:00', '17:00', { remindMinutes: 60 }));
    assert.equal(created.status, 201);
    const { id } = created.body;
    assert.equal(created.body.reminder.status, 'pending');
    assert.equal(created.body.reminder.remindAt, '2031-03-04T08:00:00.000Z');

    const listed = (from, to) => call('GET', `/shifts?from=${from}&to=${to}`).then(({ body }) => body.some((one) => one.id === id));
    assert.ok(await listed('2031-03-04T16:00:00Z', '2031-03-05T00:00:00Z'));
    assert.ok(!(await listed('2031-03-04T17:00:00Z', '2031-03-05T00:00:00Z')));
    assert.ok(!(await listed('2031-03-04T00:00:00Z', '2031-03-04T09:00:00Z')));

    const changed = await call('PATCH', `/shifts/${id}`, { title: 'Late desk', startsAt: '2031-03-04T10:00:00Z' });
    assert.equal(changed.body.title, 'Late desk');
    assert.equal(changed.body.reminder.remindAt, '2031-03-04T09:00:00.000Z');
    assert.equal(await box.redis.zscore('reminders:delayed', String(changed.body.reminder.id)), String(Date.parse('2031-03-04T09:00:00Z')));
    assert.equal((await call('PATCH', `/shifts/${id}`, { endsAt: '2031-03-04T08:00:00Z' })).status, 400);
    assert.equal((await call('PATCH', `/shifts/${id}`, { remindMinutes: null })).body.reminder, null);

    assert.equal((await call('DELETE', `/shifts/${id}`)).status, 204);
    assert.equal((await call('GET', `/shifts/${id}`)).status, 404);
    assert.equal(await box.redis.zcard('reminders:delayed'), 0);
  });

  test('wrong input gets a clear answer', async () => {
    const wrong = await call('POST', '/shifts', { title: '', startsAt: 'soon' });
    assert.equal(wrong.status, 400);
    assert.deepEqual(Object.keys(wrong.body.fields), ['title', 'startsAt', 'endsAt']);
    assert.equal((await call('POST', '/shifts', '{broken')).status, 400);
    assert.equal((await call('POST', '/shifts', '[]')).status, 400);
    assert.match((await call('POST', '/shifts', shift('01:00', '02:00', { personId: 999999 }))).body.message, /no such person/);
    assert.equal((await call('GET', '/shifts/abc')).status, 404);
    assert.equal((await call('GET', '/shifts?from=yesterday')).status, 400);
    assert.equal((await call('GET', '/nothing')).status, 404);
  });

  test('a shift that overlaps another of the same person is refused unless allowed', async () => {
    const [ada, bob] = [await person(), await person()];
    const first = (await call('POST', '/shifts', shift('09:00', '12:00', { personId: ada.id }))).body;
    assert.equal((await call('POST', '/shifts', shift('12:00', '13:00', { personId: ada.id }))).status, 201);
    assert.equal((await call('POST', '/shifts', shift('10:00', '11:00', { personId: bob.id }))).status, 201);

    const refused = await call('POST', '/shifts', shift('11:00', '12:00', { personId: ada.id }));
    assert.equal(refused.status, 409);
    assert.deepEqual(refused.body.conflicts.map(({ id }) => id), [first.id]);

    const allowed = await call('POST', '/shifts', shift('11:00', '12:00', { personId: ada.id, allowConflict: true }));
    assert.equal(allowed.status, 201);
    assert.deepEqual(allowed.body.conflictsWith, [first.id]);
    assert.deepEqual((await call('GET', `/shifts/${first.id}`)).body.conflictsWith, [allowed.body.id]);
    // Its title can change without the question coming up again.
    assert.equal((await call('PATCH', `/shifts/${first.id}`, { title: 'Still here' })).status, 200);

    assert.equal((await call('DELETE', `/people/${ada.id}`)).status, 204);
    const after = (await call('GET', `/shifts/${first.id}`)).body;
    assert.deepEqual([after.personId, after.conflictsWith], [null, []]);
  });

  test('of two overlapping shifts sent at the same time, one is refused', async () => {
    const ada = await person();
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => call('POST', '/shifts', shift('20:00', '21:00', { personId: ada.id }))),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409]);
  });

  test('live: changes reach every client, and text comes back', async () => {
    const url = `${base.replace('http', 'ws')}/live`;
    const clients = await Promise.all(
      [1, 2].map(
        () =>
          new Promise((resolve, reject) => {
            const socket = new WebSocket(url);
            const seen = [];
            socket.on('message', (data) => seen.push(JSON.parse(String(data))));
            socket.on('open', () => resolve({ socket, seen }));
            socket.on('error', reject);
          }),
      ),
    );
    clients[0].socket.send('hello there');
    await until(() => clients[0].seen.some((one) => one.type === 'echo' && one.text === 'hello there'), 'the echo');
    assert.ok(!clients[1].seen.some((one) => one.type === 'echo'));

    const { id } = (await call('POST', '/shifts', shift('02:00', '03:00'))).body;
    await call('DELETE', `/shifts/${id}`);
    for (const { seen } of clients) {
      for (const action of ['created', 'deleted']) {
        await until(
          () => seen.some((one) => one.type === 'change' && one.entity === 'shift' && one.action === action && one.id === id),
          `the news: ${action}`,
        );
      }
    }
    for (const { socket } of clients) socket.close();
  });

  test('a WebSocket anywhere else is refused', async () => {
    await assert.rejects(
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`${base.replace('http', 'ws')}/elsewhere`);
        socket.on('open', resolve);
        socket.on('error', reject);
      }),
      /404/,
    );
  });
});
