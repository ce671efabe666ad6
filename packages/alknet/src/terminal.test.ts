import assert from "node:assert/strict";
import { test } from "node:test";
import { printFields, say, type Terminal } from "./terminal.ts";

function captured(): { terminal: Terminal; text: () => string } {
  let text = "";
  const sink = { isTerminal: true, write: (more: string) => void (text += more) };
  const writeBytes = async (bytes: Uint8Array) => sink.write(Buffer.from(bytes).toString());
  return { terminal: { data: { ...sink, writeBytes }, words: sink }, text: () => text };
}

test("what stands in a store is shown without its control characters, whoever wrote it there", () => {
  const { terminal, text } = captured();
  printFields(terminal, [
    ["may", "fs:read:\u001b]0;owned\u0007\u009b2J\u202e\nenabled  yes"],
    ["\u001bname", "x"],
  ]);
  assert.equal(
    text(),
    "may    fs:read:\ufffd]0;owned\ufffd\ufffd2J\ufffd\ufffdenabled  yes\n\ufffdname  x\n",
  );
});

test("say() keeps lines and indents, and nothing else that moves a cursor", () => {
  const { terminal, text } = captured();
  say(terminal, "\n\tone\u001b[2J\r\ntwo\u200d");
  assert.equal(text(), "\n\tone\ufffd[2J\ufffd\ntwo\ufffd\n");
});
