// The smallest service that still has a database: ready once PostgreSQL answers, and echoes WebSocket messages.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { connect } from "node:net";

const database = new URL(process.env.DATABASE_URL ?? "postgres://localhost:1");
const answers = () =>
  new Promise((done) => {
    const socket = connect(Number(database.port || 5432), database.hostname, () => (socket.destroy(), done(true)));
    socket.on("error", () => done(process.env.DATABASE_URL === undefined));
  });

const server = createServer(async (request, response) => {
  const ok = request.url !== "/api/health" || (await answers());
  response.writeHead(ok ? 200 : 503, { "content-type": "application/json" }).end(JSON.stringify({ ok }));
});

// Enough of RFC 6455 for short texts: unmasks, and sends them back.
server.on("upgrade", (request, socket) => {
  const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const accept = createHash("sha1").update(key).digest("base64");
  socket.setNoDelay(true);
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let rest = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (data) => {
    rest = Buffer.concat([rest, data]);
    while (rest.length >= 6 && rest.length >= 6 + (rest[1] & 127)) {
      const length = rest[1] & 127;
      const text = Buffer.from(rest.subarray(6, 6 + length));
      for (let i = 0; i < length; i++) text[i] ^= rest[2 + (i % 4)];
      const kind = rest[0] & 15;
      rest = rest.subarray(6 + length);
      if (kind === 8) return socket.end();
      socket.write(Buffer.concat([Buffer.from([kind === 9 ? 0x8a : 0x81, length]), text]));
    }
  });
});

server.listen(Number(process.env.PORT ?? 4000), "127.0.0.1");
