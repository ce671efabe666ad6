import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { freePort } from "@alknet/core/testing-port";
import { sshFiles } from "./ssh-files.ts";
import { run, startNode, testHome, type TestHome, type TestNode } from "./testing.ts";
import { startAgent, vaultHome } from "./testing-vault.ts";

function know(home: TestHome, name: string, fingerprint: string, address: string): void {
  home.config(`[peers.${name}]`, `fingerprint = "${fingerprint}"`, `addresses = ["${address}"]`);
}

const knowNode = (home: TestHome, name: string, { home: there, address }: TestNode): void =>
  know(home, name, there.fingerprint, address);

test("alknet proxy carries SSH to a peer, by its name in any case, with .alk or without", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop, ["ssh:exec"]);
  knowNode(laptop, "Den", node);
  for (const [host, ...options] of [["den.alk"], ["DEN", "--tcp"], ["Den.ALK", "--quic"]]) {
    const [input, output] = [new PassThrough(), new PassThrough()];
    const ended = run(laptop, ["proxy", host!, ...options], { pipe: { input, output } });
    input.write("SSH-2.0-test\r\n");
    const [greeting] = (await once(output, "data")) as [Buffer];
    assert.match(greeting.toString(), /^SSH-2\.0-/, host!);
    input.end();
    assert.equal((await ended).code, 0);
  }
  // It has shown no key: there was no key exchange.
  assert.equal(readFileSync(sshFiles(laptop.home).knownHosts, "utf8"), "");
});

test("alknet proxy says why it came to nothing, and what to do", async () => {
  using laptop = testHome();
  using other = testHome();
  await using node = await startNode(other);
  const told = async (host: string) => {
    const input = new PassThrough();
    input.write("SSH-2.0-test\r\n");
    const { code, stderr } = await run(laptop, ["proxy", host], {
      pipe: { input, output: new PassThrough().resume() },
    });
    return `${code} ${stderr}`;
  };
  knowNode(laptop, "den", node);
  assert.equal(
    await told("dem.alk"),
    '2 alknet: no peer is called "dem"\nhint: did you mean "den.alk"?\n',
  );
  assert.match(await told("phone"), /^2 .*no peer is called "phone"\nhint: .*alknet peers/);
  assert.match(await told("den.alk"), /^3 .*the node refused: .*\nhint: .*alknet peers add NAME/);
  know(laptop, "den", node.home.fingerprint, `127.0.0.1:${await freePort()}`);
  assert.match(await told("den.alk"), /^4 alknet: cannot reach/);
  laptop.config("[peers.den]", `fingerprint = "${other.fingerprint}"`);
  assert.match(await told("den.alk"), /^2 .*no address is known/);
});

test("alknet proxy with a locked vault says that, and how to unlock it, without asking", async () => {
  using laptop = await vaultHome();
  await using agent = await startAgent(laptop);
  await agent.lock();
  using other = testHome();
  await using node = await startNode(other);
  knowNode(laptop, "den", node);
  const [input, output] = [new PassThrough(), new PassThrough().resume()];
  input.write("SSH-2.0-test\r\n");
  const { code, stderr } = await run(laptop, ["proxy", "den.alk"], { pipe: { input, output } });
  assert.equal(code, 5, stderr);
  assert.match(stderr, /^alknet: the vault is locked\nhint: alknet vault unlock\n$/);
});

test("alknet proxy goes without a word when it is interrupted", async () => {
  using laptop = testHome();
  await using node = await startNode(laptop, ["ssh:exec"]);
  knowNode(laptop, "den", node);
  const stop = new AbortController();
  const [input, output] = [new PassThrough(), new PassThrough()];
  const ended = run(laptop, ["proxy", "den.alk"], {
    pipe: { input, output },
    interrupted: stop.signal,
  });
  input.write("SSH-2.0-test\r\n");
  await once(output, "data");
  stop.abort();
  const { code, stderr } = await ended;
  assert.deepEqual([code, stderr], [130, ""]);
});
