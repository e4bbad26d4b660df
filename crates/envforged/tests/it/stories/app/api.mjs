// The API, without one dependency: notes in Postgres through psql, a counter in Redis, an echoing WebSocket.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { connect } from "node:net";

const sql = (text) =>
  new Promise((done, failed) =>
    execFile("psql", [process.env.DATABASE_URL, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", text], (error, out, complaint) =>
      error ? failed(new Error(complaint || error.message)) : done(out.trim()),
    ),
  );

const redis = (...words) =>
  new Promise((done, failed) => {
    const url = new URL(process.env.REDIS_URL);
    const socket = connect(Number(url.port), url.hostname);
    const say = (parts) => socket.write(`*${parts.length}\r\n${parts.map((part) => `$${part.length}\r\n${part}\r\n`).join("")}`);
    let answers = "";
    const wanted = url.password ? 2 : 1;
    socket.on("error", failed);
    socket.on("close", () => failed(new Error("Redis closed the connection")));
    socket.on("data", (data) => {
      answers += data;
      if (answers.split("\r\n").length > wanted) {
        socket.end();
        done(answers.split("\r\n")[wanted - 1]);
      }
    });
    if (url.password) say(url.username ? ["AUTH", url.username, url.password] : ["AUTH", url.password]);
    say(words);
  });

// Made once; tried again by the next request if the database was away.
let made;
const ready = () =>
  (made ??= sql("CREATE TABLE IF NOT EXISTS notes (text text)").catch((error) => {
    made = undefined;
    throw error;
  }));

const answer = async (request, body) => {
  await ready();
  if (request.url === "/api/health") return (await sql("SELECT 1"), await redis("PING"), { ok: true });
  if (request.url === "/api/count") return { count: await redis("INCR", "visits") };
  if (request.url === "/api/notes" && request.method === "POST") {
    await sql(`INSERT INTO notes VALUES ('${JSON.parse(body).text.replaceAll("'", "''")}')`);
  }
  return { notes: (await sql("SELECT text FROM notes")).split("\n").filter(Boolean) };
};

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () =>
    answer(request, body)
      .then((value) => [200, value])
      .catch((error) => [503, { error: error.message }])
      .then(([status, value]) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value))),
  );
});

// Enough of RFC 6455 to echo a short text.
server.on("upgrade", (request, socket) => {
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.on("error", () => {});
  socket.on("data", (frame) => {
    const length = frame[1] & 127;
    if ((frame[0] & 15) !== 1 || length > 125) return;
    const text = Buffer.from(frame.subarray(6, 6 + length).map((byte, index) => byte ^ frame[2 + (index % 4)]));
    socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]));
  });
});
server.listen(Number(process.env.PORT), "127.0.0.1");
