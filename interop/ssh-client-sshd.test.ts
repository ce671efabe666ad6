import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { parseSshPublicKey } from "@alknet/core/ssh-public-key";
import { connectSsh, type SshClient, type SshSession } from "@alknet/ssh/client";
import { startSshServer } from "./ssh-server.ts";

test("connectSsh() runs commands on sshd, by a key, with its status, stderr apart and an end of stdin", async () => {
  for (const ahead of [false, true]) {
    await using it = await machines(ahead);
    const session = await run(it.client, "cat; echo oops >&2; exit 7");
    session.channel.end("typed");
    assert.deepEqual(await outcome(session), ["typed", "oops\n", { kind: "exited", status: 7 }]);
    const killed = await run(it.client, "kill -TERM $$");
    assert.deepEqual((await outcome(killed))[2], { kind: "killed", signal: "SIGTERM" });
  }
});

test("connectSsh() has a terminal on sshd, of the size that it is given and changed to", async () => {
  await using it = await machines();
  const session = await it.client.session({
    terminal: { name: "xterm", size: { columns: 91, rows: 23 }, modes: Uint8Array.of(0) },
    program: { kind: "exec", command: "stty size; read x; stty size" },
  });
  let screen = "";
  session.channel.on("data", (data: Buffer) => (screen += data.toString()));
  while (!screen.includes("23 91")) await once(session.channel, "data");
  session.resize({ columns: 111, rows: 31 });
  session.channel.write("\n");
  session.stderr.resume();
  assert.deepEqual(await session.ended, { kind: "exited", status: 0 });
  assert.match(screen, /31 111/);
});

test("connectSsh() forwards through sshd both ways, and hears why not", async () => {
  await using it = await machines();
  const echo = createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket));
  echo.listen(0, "127.0.0.1");
  await once(echo, "listening");
  const { port } = echo.address() as AddressInfo;
  const flow = await it.client.connect({ host: "127.0.0.1", port });
  flow.end("to the end");
  assert.equal(await text(flow), "to the end");
  echo.close();
  await once(echo, "close");
  await assert.rejects(it.client.connect({ host: "127.0.0.1", port }), {
    code: "CHANNEL_REFUSED",
    message: /Connection refused/,
  });

  for (const place of [{ host: "localhost", port: 0 }, { path: join(it.folder, "there.sock") }]) {
    const listener = await it.client.listen(place, ({ accept }) => {
      const channel = accept();
      channel.pipe(channel);
    });
    const socket = connect({
      ...("port" in listener.place
        ? { host: "127.0.0.1", port: listener.place.port }
        : listener.place),
      allowHalfOpen: true,
    });
    socket.end("from there");
    assert.equal(await text(socket), "from there");
    await listener.close();
  }
});

test("connectSsh() refuses an sshd with another key, and is refused without one of its own", async () => {
  await using it = await machines();
  await assert.rejects(it.connect({ checkHostKey: () => false }), { code: "HOST_KEY_REFUSED" });
  await assert.rejects(it.connect({ keys: [] }), { code: "LOGIN_REFUSED" });
});

async function machines(ahead = false) {
  await using made = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "alk-sshd-"));
  made.defer(() => rmSync(folder, { recursive: true, force: true }));
  const key = join(folder, "key");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key]);
  const server = made.use(await startSshServer([readFileSync(`${key}.pub`, "utf8").trim()]));
  const hostKey = parseSshPublicKey(server.hostKey).fingerprint;
  const connectWith = async (options: object): Promise<SshClient> => {
    const socket = connect({ host: "127.0.0.1", port: server.port, noDelay: true });
    await once(socket, "connect");
    return await connectSsh(socket, {
      user: userInfo().username,
      keys: [readFileSync(key, "utf8")],
      checkHostKey: ({ fingerprint }) => fingerprint === hostKey,
      ...options,
    });
  };
  const client = made.use(await connectWith({ ahead }));
  await client.loggedIn;
  const owned = made.move();
  return {
    client,
    folder,
    connect: connectWith,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function run(client: SshClient, command: string): Promise<SshSession> {
  return client.session({ program: { kind: "exec", command } });
}

async function outcome(session: SshSession): Promise<unknown[]> {
  return await Promise.all([text(session.channel), text(session.stderr), session.ended]);
}
