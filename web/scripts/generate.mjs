// Writes src/api/schema.ts from the API's reference document; `--check` only says whether it is up to date.
//
// Operation ids are dropped first: they repeat across nouns (`list`, `create`), and everything here is found by path.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const source = new URL("../../docs/reference/openapi.json", import.meta.url);
const target = new URL("../src/api/schema.ts", import.meta.url);

const document = JSON.parse(await readFile(source, "utf8"));
for (const operations of Object.values(document.paths)) {
  for (const operation of Object.values(operations)) delete operation.operationId;
}
const banner = "// Made by `npm run generate` from docs/reference/openapi.json. Do not edit.\n\n";
const text = banner + astToString(await openapiTS(document));

if (!process.argv.includes("--check")) {
  await writeFile(target, text);
} else if ((await readFile(target, "utf8").catch(() => "")) !== text) {
  console.error("src/api/schema.ts is stale: docs/reference/openapi.json has changed; run `npm run generate`");
  process.exitCode = 1;
}
