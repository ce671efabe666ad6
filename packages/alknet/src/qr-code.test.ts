import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { encode } from "uqr";
import { qrCode } from "./qr-code.ts";

test("qrCode() draws every module, black on white", () => {
  const text = "ALKINVITE1AAASGRLHRGV433YBENCWPCNLZXXQCI2FM6E2XTPPAERUKZ4JVPG66A3EMVXAG";
  const { data } = encode(text, { ecc: "L", border: 2 });
  const lines = qrCode(text)!.split("\n").slice(0, -1);
  assert.equal(lines.length, Math.ceil(data.length / 2));
  for (const [index, line] of lines.entries()) {
    assert.ok(line.startsWith("\u001b[38;5;16;48;5;231m") && line.endsWith("\u001b[0m"));
    const drawn = stripVTControlCharacters(line);
    assert.equal(drawn.length, data.length);
    for (const [at, block] of drawn.split("").entries()) {
      assert.equal("▀█".includes(block), data[index * 2]![at], `${index}, ${at}`);
      assert.equal("▄█".includes(block), data[index * 2 + 1]?.[at] ?? false, `${index}, ${at}`);
    }
  }
});

test("qrCode() draws nothing that would wrap", () => {
  assert.ok((qrCode("A".repeat(400))?.length ?? 0) > 0);
  assert.equal(qrCode("A".repeat(1_500)), undefined);
  assert.equal(qrCode("A".repeat(9_000)), undefined);
});
