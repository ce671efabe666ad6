import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { createLogger, humanLine } from "./log.ts";

test("createLogger() writes one JSON object a line, from its level on", async () => {
  const lines: string[] = [];
  const logger = await createLogger({ level: "info", human: false, write: (t) => lines.push(t) });
  logger.debug({}, "not this");
  logger.info({ peer: "laptop" }, "connection opened");
  assert.equal(lines.length, 1);
  const { time, ...rest } = JSON.parse(lines[0]!) as Record<string, unknown>;
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(rest, { level: "info", peer: "laptop", msg: "connection opened" });
});

test("createLogger() writes for people on a terminal", async () => {
  const lines: string[] = [];
  const logger = await createLogger({ level: "debug", human: true, write: (t) => lines.push(t) });
  const paste = '[peers.x]\nfingerprint = "…"';
  logger.warn({ peer: "laptop", remoteAddress: undefined, paste }, "refused");
  logger.info({ err: Object.assign(new Error("no way"), { code: "E" }) }, "ended");
  const plain = lines.map((line) => stripVTControlCharacters(line).replace(/^[\d:]{8}/, "T"));
  assert.deepEqual(plain, [
    'T warn  refused peer=laptop\n    [peers.x]\n    fingerprint = "…"\n',
    "T info  ended error=no way\n",
  ]);
});

test("humanLine() shows whatever was thrown", () => {
  const shown = [null, "no way", 7, {}, { code: "E" }, { message: { toString: 1 } }].map((err) =>
    /error=.*/
      .exec(stripVTControlCharacters(humanLine(JSON.stringify({ level: "warn", err }))))
      ?.at(0),
  );
  const told = ["null", "no way", "7", "{}", "E", '{"toString":1}'];
  assert.deepEqual(
    shown,
    told.map((text) => `error=${text}`),
  );
});

test("humanLine() lets no control character through", () => {
  const line = humanLine(
    JSON.stringify({ time: "", level: "info", msg: "a\u001b[2Jb", x: "\u202e" }),
  );
  assert.match(stripVTControlCharacters(line), /a\ufffd\[2Jb x=\ufffd/);
});
