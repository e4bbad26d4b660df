import { WebSocketServer } from 'ws';
import { createClient } from '../lib/db.js';
import { pause, retry } from '../lib/retry.js';

const PATH = '/api/live';
const PING_MS = 30_000;

/** The WebSocket at /api/live: sends every change to every client, and echoes text messages. */
export function createLive(server, { log }) {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 });

  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    if (new URL(request.url, 'http://local').pathname !== PATH) {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (client) => sockets.emit('connection', client));
  });

  sockets.on('connection', (client) => {
    client.alive = true;
    client.on('pong', () => {
      client.alive = true;
    });
    client.on('error', (error) => log.warn('live client', { reason: error.message }));
    client.on('message', (data, isBinary) => {
      if (!isBinary) client.send(JSON.stringify({ type: 'echo', text: data.toString() }));
    });
  });

  const pinging = setInterval(() => {
    for (const client of sockets.clients) {
      if (!client.alive) {
        client.terminate();
        continue;
      }
      client.alive = false;
      client.ping();
    }
  }, PING_MS);
  pinging.unref();

  return {
    broadcast(change) {
      const text = JSON.stringify(change);
      for (const client of sockets.clients) if (client.readyState === client.OPEN) client.send(text);
    },
    async close() {
      clearInterval(pinging);
      for (const client of sockets.clients) client.close(1001, 'server is going away');
      await pause(50);
      for (const client of sockets.clients) client.terminate();
      sockets.close();
    },
  };
}

/**
 * Hands every change Postgres announces to `onChange`, until the signal is aborted.
 * After a lost connection it also says "resync": what happened meanwhile is unknown.
 */
export async function listenForChanges(databaseUrl, { schema, signal, log, onChange, onReady }) {
  for (let first = true; !signal.aborted; first = false) {
    const client = await retry(
      async () => {
        const candidate = createClient(databaseUrl, { schema });
        candidate.on('error', () => {});
        try {
          await candidate.connect();
          await candidate.query('LISTEN scheduler_changes');
          return candidate;
        } catch (error) {
          await candidate.end().catch(() => {});
          throw error;
        }
      },
      { signal, log, what: 'listening for changes' },
    );
    if (!client) return;
    client.on('notification', ({ payload }) => onChange(JSON.parse(payload)));
    if (first) onReady?.();
    else onChange({ type: 'resync' });
    await new Promise((resolve) => {
      client.once('end', resolve);
      client.once('error', resolve);
      if (signal.aborted) resolve();
      signal.addEventListener('abort', resolve, { once: true });
    });
    client.removeAllListeners('notification');
    await client.end().catch(() => {});
    if (!signal.aborted) {
      log.warn('no longer listening for changes');
      await pause(250, signal);
    }
  }
}
