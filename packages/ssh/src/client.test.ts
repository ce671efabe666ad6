import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectSocket, createServer, type Socket } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, duplexPair } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "@alknet/core/clock";
import { staticIdentities } from "@alknet/core/static-identities";
import { connectionPair } from "@alknet/core/testing";
import ssh2 from "ssh2";
import { ownAccount } from "./account.ts";
import { connectSsh, type SshClient, type SshClientOptions, type SshSession } from "./client.ts";
import { batchWrites, extendSshServer } from "./ssh2-extension/extend.ts";
import { ssh } from "./ssh.ts";
import { HOST, LAPTOP, STRANGER } from "./test-keys.ts";

test("connectSsh() runs commands, with exact statuses and signals, stderr apart, and an end of stdin", async () => {
  for (const ahead of [false, true]) {
    await using it = await connect({ ahead });
    const cat = await run(it.client, "cat; echo oops >&2; exit 7");
    cat.channel.end("typed");
    assert.deepEqual(await outcome(cat), ["typed", "oops\n", { kind: "exited", status: 7 }]);
    const killed = await run(it.client, "kill -TERM $$");
    assert.deepEqual((await outcome(killed))[2], { kind: "killed", signal: "SIGTERM" });
    const sleeping = await run(it.client, "echo ready; exec sleep 1000");
    await once(sleeping.channel, "readable");
    sleeping.channel.end();
    sleeping.signal("SIGINT");
    assert.deepEqual((await outcome(sleeping))[2], { kind: "killed", signal: "SIGINT" });
    await it.client.close();
    assert.deepEqual(await it.client.closed, { kind: "closed" });
  }
});

test("a program that is over before its channel is here has its status all the same", async () => {
  for (const ahead of [false, true]) {
    await using it = await connect({ ahead, scopes: ["ssh:shell"] });
    const [, words, end] = await outcome(await run(it.client, "true"));
    assert.match(String(words), /lacks ssh:exec/);
    assert.deepEqual(end, { kind: "exited", status: 126 });
  }
});

test("connectSsh() ahead: the program runs when the server has heard from us twice, and we from it once", async () => {
  const pair = connectionPair({
    auth: { server: { identities: laptop(), fingerprint: LAPTOP.fingerprint } },
  });
  await using _ = pair;
  const handler = serverOf();
  const served = handler.handle(pair.server);
  const far = await pair.client.open();
  const [near, between] = duplexPair();
  // What the server says after our second flight is held back.
  let flights = 0;
  let heard = true;
  let isHeld = true;
  const said: Buffer[] = [];
  between.on("data", (data: Buffer) => {
    if (heard) flights++;
    heard = false;
    far.write(data);
  });
  const pass = (): void => {
    if (said.length === 0 || (flights >= 2 && isHeld)) return;
    between.write(Buffer.concat(said.splice(0)));
    heard = true;
  };
  between.once("end", () => far.end());
  // All of one turn together, as one flight.
  far.on("data", (data: Buffer) => {
    said.push(data);
    setImmediate(pass);
  });
  const client = await connectSsh(near, { ...OPTIONS, ahead: true });
  const session = client.session({ program: { kind: "exec", command: "echo hello" } });
  while (handler.sessions === 0) await turn();
  assert.equal(flights, 2);
  isHeld = false;
  pass();
  assert.deepEqual(await outcome(await session), ["hello\n", "", { kind: "exited", status: 0 }]);
  void client.close();
  await served;
});

test("connectSsh() asks for a key of the host that the caller knows, and for nothing is it there by default", async () => {
  const seen: string[] = [];
  for (const [checkHostKey, code] of [
    [() => false, "HOST_KEY_REFUSED"],
    [() => Promise.reject(new Error("the file cannot be read")), "HOST_KEY_REFUSED"],
  ] as const) {
    for (const ahead of [false, true]) {
      await assert.rejects(connect({ ahead, checkHostKey }), { code });
    }
  }
  await using it = await connect({
    checkHostKey: ({ fingerprint }) => {
      seen.push(fingerprint);
      return true;
    },
  });
  assert.deepEqual(seen, [HOST.fingerprint]);
  assert.equal(it.client.hostKey.fingerprint, HOST.fingerprint);
});

test("connectSsh() logs in by a key where TLS proves nobody, and says when it is refused", async () => {
  await using it = await connect({
    tls: undefined,
    keys: [STRANGER.privateKey, LAPTOP.privateKey],
  });
  assert.equal((await outcome(await run(it.client, "echo in")))[0], "in\n");
  for (const ahead of [false, true]) {
    const refused = connect({ tls: undefined, ahead });
    if (!ahead) await assert.rejects(refused, { code: "LOGIN_REFUSED" });
    else {
      await using early = await refused;
      await assert.rejects(run(early.client, "echo in"), { code: "LOGIN_REFUSED" });
    }
  }
});

test("connectSsh() says what the server says of a login that it refuses", async () => {
  await assert.rejects(connect({ scopes: ["call:invoke"] }), {
    code: "LOGIN_REFUSED",
    message: 'peer "laptop" has no right that SSH serves',
  });
});

test("a shell has a terminal of the asked size, and its changes", async () => {
  await using it = await connect({ scopes: ["ssh:shell"], ahead: true });
  const session = await it.client.session({
    env: { LC_TEST: "as it was" },
    terminal: { name: "xterm", size: { columns: 91, rows: 23 }, modes: Uint8Array.of(0) },
    program: { kind: "shell" },
  });
  assert.deepEqual(session.refused, []);
  let screen = "";
  session.channel.on("data", (data: Buffer) => (screen += data.toString()));
  const until = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(screen)) await once(session.channel, "data");
  };
  session.channel.write('stty size; echo "$TERM, $LC_TEST"\n');
  await until(/23 91[^]*xterm, as it was/);
  session.resize({ columns: 111, rows: 31 });
  session.channel.write("stty size\n");
  await until(/31 111/);
  session.channel.write("exit 9\n");
  session.stderr.resume();
  assert.deepEqual(await session.ended, { kind: "exited", status: 9 });
});

test("a connection that breaks is lost, with all that was on it", async () => {
  await using it = await connect({});
  const session = await run(it.client, "sleep 1000");
  it.cut();
  assert.deepEqual((await outcome(session))[2], { kind: "lost" });
  assert.equal((await it.client.closed).kind, "lost");
  await assert.rejects(run(it.client, "true"));
  await assert.rejects(it.client.connect({ host: "localhost", port: 1 }));
});

test("connectSsh() gives up when it is told to, at whatever state", async () => {
  for (const answer of [undefined, "SSH-2.0-x\r\n"]) {
    const [near, far] = duplexPair();
    const stop = new AbortController();
    const connecting = connectSsh(near, { ...OPTIONS, signal: stop.signal });
    await once(far, "data");
    if (answer !== undefined) far.write(answer);
    await turn();
    const reason = new Error("enough");
    stop.abort(reason);
    await assert.rejects(connecting, reason);
    assert.ok(near.destroyed);
  }
});

test("what does not speak SSH is told as such", async () => {
  for (const answer of ["HTTP/1.1 400 Bad Request\r\n\r\n", ""]) {
    const [near, far] = duplexPair();
    const connecting = connectSsh(near, OPTIONS);
    far.resume().end(answer);
    await assert.rejects(connecting, { code: "NOT_CONNECTED" });
  }
});

test("connect() opens flows whose directions end by themselves, and tells why not", async () => {
  await using peer = await forwarder();
  const { client } = peer;
  const flow = await client.connect({ host: "localhost", port: peer.echoPort });
  flow.end("to the end");
  assert.equal(await text(flow), "to the end");
  await assert.rejects(client.connect({ host: "nobody.invalid", port: 1 }), {
    code: "CHANNEL_REFUSED",
    reason: 2,
  });
  const broken = await client.connect({ host: "localhost", port: peer.echoPort });
  broken.on("error", () => {});
  peer.cut();
  await once(broken, "close");
  assert.ok(broken.errored);
});

test("connectSsh() ahead, to a server that likes another exchange best, sends its key again", async () => {
  await using peer = await forwarder({ ahead: true });
  const flow = await peer.client.connect({ host: "localhost", port: peer.echoPort });
  flow.end("all the same");
  assert.equal(await text(flow), "all the same");
});

test("listen() has the server listen on a port that it picks, and no more when it is closed", async () => {
  await using peer = await forwarder();
  const listener = await peer.client.listen({ host: "localhost", port: 0 }, ({ accept }) => {
    const flow = accept();
    flow.pipe(flow);
  });
  const { place } = listener;
  assert.ok("port" in place && place.port > 0);
  const socket = connectSocket({ port: place.port, host: "127.0.0.1", allowHalfOpen: true });
  socket.end("over there");
  assert.equal(await text(socket), "over there");
  await listener.close();
  const refused = connectSocket(place.port, "127.0.0.1");
  await assert.rejects(once(refused, "connect"), { code: "ECONNREFUSED" });
  await assert.rejects(
    peer.client.listen({ host: "localhost", port: 1 }, () => {}),
    {
      code: "LISTEN_REFUSED",
    },
  );
});

test("an agent is forwarded, channel by channel", async () => {
  await using peer = await forwarder();
  const [channel] = await Promise.all([
    peer.agentChannel(),
    peer.client.session({ agent: true, program: { kind: "exec", command: "agent" } }),
  ]);
  channel.write("sign this");
  assert.equal(String((await once(channel, "data"))[0]), "sign this");
});

const OPTIONS: SshClientOptions = {
  user: "me",
  checkHostKey: ({ fingerprint }) => fingerprint === HOST.fingerprint,
};

function laptop(scopes: readonly string[] = ["ssh:exec"]) {
  const fingerprints = [LAPTOP.fingerprint];
  return staticIdentities([{ peerId: "laptop", fingerprints, scopes, enabled: true }]);
}

function serverOf() {
  const accounts = () => ({ ...ownAccount(), shell: "/bin/sh" });
  return ssh({ hostKey: HOST.privateKey, accounts });
}

interface ConnectOptions extends Partial<SshClientOptions> {
  /** Key that TLS has proved; `undefined`: none. */
  readonly tls?: string | undefined;
  readonly scopes?: readonly string[] | undefined;
}

/** Connect to a server that knows `laptop`. */
async function connect(options: ConnectOptions) {
  const { scopes, tls, ...rest } = { tls: LAPTOP.fingerprint, ...options };
  await using made = new AsyncDisposableStack();
  const identities = made.use(laptop(scopes));
  const pair = made.use(connectionPair({ auth: { server: { identities, fingerprint: tls } } }));
  const served = serverOf().handle(pair.server);
  made.defer(async () => {
    pair.client.abort(0);
    await served;
  });
  const stream = await pair.client.open();
  const client = await connectSsh(stream, { ...OPTIONS, ...rest });
  const owned = made.move();
  return {
    client,
    cut: () => void stream.destroy(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function run(client: SshClient, command: string): Promise<SshSession> {
  return client.session({ program: { kind: "exec", command } });
}

async function outcome(session: SshSession): Promise<unknown[]> {
  return await Promise.all([text(session.channel), text(session.stderr), session.ended]);
}

/** A server that forwards whatever it is asked to: ssh2's own. */
async function forwarder(options: Partial<SshClientOptions> = {}) {
  await using made = new AsyncDisposableStack();
  const sockets = new Set<Socket>();
  const own = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on("error", () => {});
  };
  const echo = createServer({ allowHalfOpen: true }, (socket) => void own(socket).pipe(socket));
  const listeners = new Map<number, ReturnType<typeof createServer>>();
  echo.listen(0, "127.0.0.1");
  await once(echo, "listening");
  const folder = mkdtempSync(join(tmpdir(), "alk-ssh-"));
  const agent = createServer((socket) => void own(socket).pipe(socket));
  agent.listen(join(folder, "agent"));
  await once(agent, "listening");
  made.defer(() => {
    for (const server of [echo, agent, ...listeners.values()]) server.close();
    for (const socket of sockets) socket.destroy();
    rmSync(folder, { recursive: true, force: true });
  });
  const agentChannel = Promise.withResolvers<Duplex>();
  const server = new ssh2.Server({ hostKeys: [HOST.privateKey] }, (peer) => {
    const extended = extendSshServer(peer, { clock: systemClock, channels: 16 });
    peer.on("error", () => {});
    peer.on("authentication", (request) => request.accept());
    peer.on("tcpip", (accept, reject, { destIP, destPort }) => {
      if (destIP !== "localhost") return reject();
      const channel = accept();
      const socket = own(connectSocket({ port: destPort, host: "127.0.0.1", allowHalfOpen: true }));
      channel.pipe(socket).pipe(channel);
    });
    peer.on("request", (accept, reject, name, info) => {
      const { bindAddr, bindPort } = info as ssh2.TcpipBindInfo;
      if (name === "cancel-tcpip-forward") {
        listeners.get(bindPort)?.close();
        return accept?.();
      }
      if (name !== "tcpip-forward" || bindPort !== 0) return reject?.();
      const listener = createServer({ allowHalfOpen: true }, (socket) => {
        own(socket);
        peer.forwardOut(bindAddr, port(), "127.0.0.1", 1, (error, channel) => {
          if (error === undefined) channel.pipe(socket).pipe(channel);
        });
      });
      const port = (): number => (listener.address() as { port: number }).port;
      listener.listen(0, "127.0.0.1", () => {
        listeners.set(port(), listener);
        accept?.(port());
      });
    });
    peer.on("session", (accept) => {
      const session = accept();
      session.on("auth-agent", (granted) => granted());
      session.on("exec", (granted) => {
        granted();
        extended.openAgent().then(agentChannel.resolve, agentChannel.reject);
      });
    });
  });
  const [near, far] = duplexPair();
  batchWrites(far);
  server.injectSocket(far as never);
  const connectAgent = async (): Promise<Socket> => own(connectSocket(join(folder, "agent")));
  const client = await connectSsh(near, { ...OPTIONS, connectAgent, ...options });
  const owned = made.move();
  return {
    client,
    echoPort: (echo.address() as { port: number }).port,
    agentChannel: () => agentChannel.promise,
    cut: () => void near.destroy(),
    async [Symbol.asyncDispose]() {
      client.abort();
      await owned.disposeAsync();
    },
  };
}
