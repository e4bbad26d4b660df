import Fastify from 'fastify';
import { isUnavailable } from '../lib/db.js';
import { reason } from '../lib/retry.js';
import { createLive } from './live.js';
import { peopleRoutes } from './people.js';
import { shiftRoutes } from './shifts.js';
import { ApiError } from './validate.js';

/** The HTTP application, without a port. `state.migrated` says whether the schema is in place. */
export function buildApp({ pool, redis, log, state }) {
  const app = Fastify({ logger: false, bodyLimit: 64 * 1024, forceCloseConnections: 'idle' });
  const live = createLive(app.server, { log });

  app.addHook('onResponse', async (request, reply) => {
    const level = reply.statusCode >= 500 ? 'warn' : 'info';
    log[level](`${request.method} ${request.url}`, {
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
    });
  });

  app.addHook('onRequest', async (request) => {
    if (!state.migrated && request.url.split('?')[0] !== '/api/health') {
      throw new ApiError(503, 'starting', 'The database is not ready yet. Try again in a moment.');
    }
  });

  app.setErrorHandler((error, request, reply) => {
    if (error instanceof ApiError) return reply.code(error.status).send(error.body);
    if (error.statusCode >= 400 && error.statusCode < 500) {
      return reply.code(error.statusCode).send({ error: 'invalid', message: error.message });
    }
    if (isUnavailable(error)) {
      log.warn('database unavailable', { reason: reason(error) });
      return reply.code(503).send({ error: 'unavailable', message: 'The database does not answer. Try again in a moment.' });
    }
    log.error('request failed', { path: request.url, reason: error.stack ?? reason(error) });
    return reply.code(500).send({ error: 'internal', message: 'Something went wrong on our side.' });
  });

  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({ error: 'not_found', message: `There is nothing at ${request.method} ${request.url}.` }),
  );

  app.get('/api/health', async (request, reply) => {
    const [postgres, queue] = await Promise.all([
      answer(pool.query('SELECT 1')),
      answer(redis.ping()),
    ]);
    const ok = postgres === 'ok' && queue === 'ok' && state.migrated;
    reply.code(ok ? 200 : 503).header('cache-control', 'no-store');
    return {
      status: ok ? 'ok' : 'unavailable',
      postgres,
      redis: queue,
      migrations: state.migrated ? 'ok' : 'pending',
    };
  });

  peopleRoutes(app, { pool });
  shiftRoutes(app, { pool, redis, log });

  app.addHook('preClose', () => live.close());
  return { app, live };
}

async function answer(promise, ms = 3000) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms, `no answer in ${ms} ms`);
  });
  const result = promise.then(
    () => 'ok',
    (error) => reason(error),
  );
  return Promise.race([result, late]).finally(() => clearTimeout(timer));
}
