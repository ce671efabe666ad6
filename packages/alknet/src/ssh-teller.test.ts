import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionClosed } from "@alknet/core/connection";
import { SshClientError } from "@alknet/ssh/client-error";
import { parseDynamicForward, parseLocalForward } from "./ssh-forward-spec.ts";
import { sshTeller } from "./ssh-teller.ts";

test("a cut by who took the access away is told as that, another one without saying twice that it is one", () => {
  const it = teller();
  const cut = (name: string, reason: string): Error => {
    const cause = new ConnectionClosed({ by: "peer", code: 3, name, reason });
    return new SshClientError("CONNECTION_LOST", `the SSH connection was lost: ${cause.message}`, {
      cause,
    });
  };
  it.teller.lost(cut("REVOKED", "access revoked"), undefined);
  assert.equal(it.take(), "alknet: den has taken this key's access away\n");
  it.teller.lost(cut("DRAINING", ""), 2_000);
  const words = "the connection to den was lost: connection closed by peer (DRAINING)";
  assert.equal(it.take(), `alknet: ${words}; trying again in 2 s\n`);
});

test("a listener here that other machines reach is warned of", () => {
  for (const [forward, host, isOpen] of [
    [parseLocalForward("0.0.0.0:8080:db:80"), "0.0.0.0", true],
    [parseLocalForward("*:8080:db:80"), "::", true],
    [parseDynamicForward("0.0.0.0:8080"), "0.0.0.0", true],
    [parseLocalForward("8080:db:80"), "127.0.0.1", false],
    [parseLocalForward("[::1]:8080:db:80"), "::1", false],
  ] as const) {
    const it = teller();
    it.teller.listening(forward, { host, port: 8080 }, "local");
    assert.equal(/^warning: .*other machines.*\nhint: /.test(it.take()), isOpen, forward.text);
  }
});

test("an agent that is not forwarded is told with the command that has it forwarded", () => {
  const it = teller();
  it.teller.notGiven("agent");
  assert.match(it.take(), /den gives no agent\nhint: .*alknet peers grant NAME ssh:agent\n$/);
});

test("a place that the far side does not connect to is named once", () => {
  const it = teller();
  const no = (text: string): Error => new SshClientError("CHANNEL_REFUSED", text, { reason: 1 });
  const to = { host: "db", port: 80 };
  assert.equal(
    it.teller.notConnected(to, no("db:80: not allowed")).message,
    "den does not connect to db:80: not allowed",
  );
  it.teller.refused(parseLocalForward("8080:db:80"), no("db:80: not allowed"), undefined);
  it.teller.refused(parseDynamicForward("1080"), no("db:80: not allowed"), to);
  const hint = "hint: to be let through, over there: alknet peers grant NAME tunnel:dial:db:80";
  assert.equal(
    it.take(),
    `alknet: 8080:db:80: not allowed\n${hint}\nalknet: 1080 (db:80): not allowed\n${hint}\n`,
  );
});

function teller() {
  let said = "";
  const sink = { isTerminal: false, write: (text: string): void => void (said += text) };
  const terminal = { data: { ...sink, writeBytes: async () => {} }, words: sink };
  return {
    teller: sshTeller(terminal, { json: false, target: "den", fingerprint: "ed25519:0" }),
    take(): string {
      const text = said;
      said = "";
      return text;
    },
  };
}
