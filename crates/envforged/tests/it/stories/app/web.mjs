// The front end: one page, read from the checkout at each request, so a change in the shell shows at once.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

createServer((request, response) => {
  response.setHeader("content-type", "text/html");
  response.end(readFileSync("page.html"));
}).listen(Number(process.env.PORT), "127.0.0.1");
