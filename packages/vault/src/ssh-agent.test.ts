import assert from "node:assert/strict";
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { once } from "node:events";
import { duplexPair } from "node:stream";
import { test } from "node:test";
import * as fc from "fast-check";
import { DerivedKey, ed25519PublicKey } from "./derived-key.ts";
import { sshPublicKeyBlob } from "./openssh-key.ts";
import { type AgentKey, type AgentUse, createSshAgent, type SshAgentOptions } from "./ssh-agent.ts";
import { SshReader, sshString } from "./wire/ssh-data.ts";

const FAILURE = "05";
const SUCCESS = "06";
const EXTENSION_FAILURE = "1c";

interface TestKey extends AgentKey {
  readonly blob: Uint8Array;
  readonly seed: Uint8Array;
}

function key(number: number, confirm = false): TestKey {
  const seed = Buffer.alloc(32, number);
  const publicKey = ed25519PublicKey(seed);
  const derived = new DerivedKey("ed25519", "m", seed, publicKey);
  return {
    publicKey,
    comment: `key ${number}`,
    confirm,
    blob: sshPublicKeyBlob(publicKey),
    seed,
    sign: (data) => derived.sign(data),
  };
}

const [ONE, TWO] = [key(1), key(2)];

/** An agent, and why it refused what it refused. */
function agentOf(keys: readonly AgentKey[], options: Partial<SshAgentOptions> = {}) {
  const refusals: string[] = [];
  const agent = createSshAgent({
    keys: () => keys,
    onrefused: (reason) => refusals.push(reason),
    ...options,
  });
  /** A client of it. */
  function connect() {
    const [ours, theirs] = duplexPair();
    agent.serve(theirs);
    let bytes: Buffer = Buffer.alloc(0);
    let came = Promise.withResolvers<void>();
    const wake = (): void => {
      came.resolve();
      came = Promise.withResolvers();
    };
    ours.once("end", wake);
    ours.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      wake();
    });
    const client = {
      stream: ours,
      /** The agent's end. */
      theirs,
      /** The next answer, without its length. */
      async answer(): Promise<Buffer> {
        while (bytes.length < 4 || bytes.length < 4 + bytes.readUInt32BE()) {
          if (ours.readableEnded) throw new Error("the agent has hung up");
          await came.promise;
        }
        const end = 4 + bytes.readUInt32BE();
        const answer = bytes.subarray(4, end);
        bytes = bytes.subarray(end);
        return answer;
      },
      async ask(message: Uint8Array): Promise<Buffer> {
        ours.write(sshString(message));
        return client.answer();
      },
      async code(message: Uint8Array): Promise<string> {
        return (await client.ask(message)).toString("hex");
      },
      async comments(): Promise<string[]> {
        const reader = new SshReader(await client.ask(Buffer.of(11)));
        assert.equal(reader.byte(), 12);
        const comments = Array.from({ length: reader.uint32() }, () => {
          reader.string();
          return reader.text();
        });
        reader.end();
        return comments;
      },
    };
    return client;
  }
  return { agent, refusals, connect };
}

function strings(number: number, ...parts: readonly (string | Uint8Array)[]): Buffer {
  return Buffer.concat([Buffer.of(number), ...parts.map(sshString)]);
}

const signRequest = ({ blob }: TestKey, data: Uint8Array): Buffer =>
  Buffer.concat([strings(13, blob, data), Buffer.alloc(4)]);

interface Login {
  user?: string;
  sessionId?: Uint8Array;
  hostKey?: Uint8Array;
}

function login({ blob }: TestKey, { user = "ann", sessionId, hostKey }: Login = {}): Buffer {
  const method = hostKey === undefined ? "publickey" : "publickey-hostbound-v00@openssh.com";
  return Buffer.concat([
    sshString(sessionId ?? Buffer.alloc(32, 8)),
    strings(50, user, "ssh-connection", method),
    strings(1, "ssh-ed25519", blob),
    ...(hostKey === undefined ? [] : [sshString(hostKey)]),
  ]);
}

const SSHSIG = Buffer.concat([
  Buffer.from("SSHSIG"),
  ...["git", "", "sha256", Buffer.alloc(32)].map(sshString),
]);

function assertSigned(answer: Buffer, by: TestKey, data: Uint8Array): void {
  const reader = new SshReader(answer);
  assert.equal(reader.byte(), 14, `no signature but ${answer.toString("hex")}`);
  const signature = new SshReader(reader.string());
  assert.equal(signature.text(), "ssh-ed25519");
  const x = Buffer.from(by.publicKey).toString("base64url");
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  assert.equal(verify(null, data, publicKey, signature.string()), true);
}

test("an agent lists its keys, and signs logins and SSHSIG messages with the one that is named", async () => {
  const seen: unknown[] = [];
  const { connect } = agentOf([ONE, TWO], {
    onsigned: ({ comment }, { kind }) => seen.push([comment, kind]),
  });
  const client = connect();
  assert.deepEqual(await client.comments(), ["key 1", "key 2"]);
  assertSigned(await client.ask(signRequest(TWO, login(TWO))), TWO, login(TWO));
  assertSigned(await client.ask(signRequest(ONE, SSHSIG)), ONE, SSHSIG);
  assert.deepEqual(seen, [
    ["key 2", "userauth"],
    ["key 1", "sshsig"],
  ]);
});

test("an agent signs nothing else: not for TLS, not by a key that it does not offer", async () => {
  const { connect, refusals } = agentOf([ONE]);
  const client = connect();
  const tls = Buffer.concat([
    Buffer.alloc(64, 0x20),
    Buffer.from("TLS 1.3, server CertificateVerify\0"),
    createHash("sha256").digest(),
  ]);
  for (const data of [tls, Buffer.alloc(0), Buffer.from("hello"), login(TWO)]) {
    assert.equal(await client.code(signRequest(ONE, data)), FAILURE);
  }
  assert.equal(await client.code(signRequest(TWO, login(TWO))), FAILURE);
  assert.match(refusals[0]!, /"key 1" over what is neither an SSH login nor an SSHSIG/);
  assert.match(refusals[4]!, /not offered/);
});

test("a key that wants to be confirmed signs after a yes alone", async () => {
  const asked: AgentUse[] = [];
  let yes = true;
  const wary = key(3, true);
  const { connect } = agentOf([wary], {
    async confirm(use) {
      asked.push(use);
      return yes;
    },
  });
  const client = connect();
  assertSigned(await client.ask(signRequest(wary, SSHSIG)), wary, SSHSIG);
  yes = false;
  assert.equal(await client.code(signRequest(wary, login(wary))), FAILURE);
  assert.equal(asked.length, 2);
  assert.deepEqual(asked[0]!.data, { kind: "sshsig", namespace: "git" });
  assert.match(asked[0]!.fingerprint, /^SHA256:[A-Za-z0-9+/]{43}$/);
  const alone = agentOf([wary]);
  assert.equal(await alone.connect().code(signRequest(wary, SSHSIG)), FAILURE);
  assert.match(alone.refusals[0]!, /not confirmed/);
});

test("a vault that locks, or a client that leaves, while a person thinks: nothing is signed", async () => {
  const wary = key(3, true);
  const keys: AgentKey[] = [wary];
  let signatures = 0;
  let asked = Promise.withResolvers<AbortSignal>();
  let decide = Promise.withResolvers<boolean>();
  const { connect } = agentOf(keys, {
    onsigned: () => signatures++,
    confirm: (_, signal) => {
      asked.resolve(signal);
      return decide.promise;
    },
  });
  const client = connect();
  const answer = client.code(signRequest(wary, SSHSIG));
  await asked.promise;
  keys.length = 0;
  decide.resolve(true);
  assert.equal(await answer, FAILURE);

  keys.push(wary);
  asked = Promise.withResolvers();
  decide = Promise.withResolvers();
  const leaving = connect();
  leaving.stream.write(sshString(signRequest(wary, SSHSIG)));
  const signal = await asked.promise;
  leaving.stream.end();
  await once(signal, "abort");
  decide.resolve(false);
  await once(leaving.stream, "end");
  assert.equal(signatures, 0);
});

test("ssh-add -x hides all until -X with the same passphrase; wrong ones wait longer and longer", async () => {
  const waits: number[] = [];
  const { agent, connect } = agentOf([ONE], {
    async sleep(milliseconds) {
      waits.push(milliseconds);
    },
  });
  const [client, other] = [connect(), connect()];
  assert.equal(await client.code(strings(23, "none")), FAILURE);
  assert.equal(await client.code(strings(22, "secret")), SUCCESS);
  assert.equal(agent.locked, true);
  assert.deepEqual(await other.comments(), []);
  assert.equal(await other.code(signRequest(ONE, SSHSIG)), FAILURE);
  assert.equal(await other.code(strings(22, "another")), FAILURE);
  assert.equal(await other.code(Buffer.of(19)), FAILURE);
  for (let at = 0; at < 3; at++) assert.equal(await other.code(strings(23, "wrong")), FAILURE);
  assert.deepEqual(waits, [100, 200, 300]);
  assert.equal(await other.code(strings(23, "secret")), SUCCESS);
  assert.deepEqual(await client.comments(), ["key 1"]);
  await client.ask(strings(22, ""));
  assert.deepEqual(await client.comments(), []);
  agent.forget();
  assert.equal(agent.locked, false);
  assert.deepEqual(await client.comments(), ["key 1"]);
});

const addRequest = (
  { publicKey }: TestKey,
  seed: Uint8Array,
  constraints: Uint8Array = Buffer.alloc(0),
): Buffer =>
  Buffer.concat([
    strings(25, "ssh-ed25519", publicKey, Buffer.concat([seed, publicKey]), "comment"),
    constraints,
  ]);

test("ssh-add -d and -D hide keys; adding one of ours shows it again, with its constraints", async () => {
  let time = 0;
  const asked: AgentUse[] = [];
  const { agent, connect } = agentOf([ONE, TWO], {
    now: () => time,
    async confirm(use) {
      asked.push(use);
      return true;
    },
  });
  const client = connect();
  assert.equal(await client.code(strings(18, ONE.blob)), SUCCESS);
  assert.equal(await client.code(strings(18, ONE.blob)), FAILURE);
  assert.deepEqual(await client.comments(), ["key 2"]);
  assert.equal(await client.code(signRequest(ONE, SSHSIG)), FAILURE);
  assert.equal(await client.code(Buffer.of(19)), SUCCESS);
  assert.deepEqual(await client.comments(), []);
  // For ten seconds, and to be confirmed.
  const constraints = Buffer.of(1, 0, 0, 0, 10, 2);
  assert.equal(await client.code(addRequest(ONE, ONE.seed, constraints)), SUCCESS);
  assert.deepEqual(await client.comments(), ["key 1"]);
  assertSigned(await client.ask(signRequest(ONE, SSHSIG)), ONE, SSHSIG);
  assert.equal(asked.length, 1);
  time = 9_999;
  assert.deepEqual(await client.comments(), ["key 1"]);
  time = 10_000;
  assert.deepEqual(await client.comments(), []);
  assert.equal(await client.code(signRequest(ONE, SSHSIG)), FAILURE);
  agent.forget();
  assert.deepEqual(await client.comments(), ["key 1", "key 2"]);
});

test("a key that is not ours is not taken, nor one that somebody has not, nor an unknown constraint", async () => {
  const { connect, refusals } = agentOf([ONE]);
  const client = connect();
  const stranger = key(9);
  for (const [request, why] of [
    [addRequest(stranger, stranger.seed), /not of the vault/],
    [addRequest(ONE, stranger.seed), /does not belong/],
    [addRequest(ONE, ONE.seed, Buffer.of(3, 0, 0, 0, 1)), /constraint/],
    [strings(18, stranger.blob), undefined],
    [strings(17, "ssh-rsa", "n"), undefined],
    [strings(27, "unheard-of@example.com"), undefined],
    [Buffer.of(200), undefined],
  ] as const) {
    refusals.length = 0;
    assert.equal(await client.code(request), FAILURE);
    if (why !== undefined) assert.match(refusals[0]!, why);
  }
  assert.deepEqual(await client.comments(), ["key 1"]);
  const extensions = String(await client.ask(strings(27, "query")));
  assert.match(extensions, /session-bind@openssh\.com/);
});

/** A server, as a connection to the agent is bound to it. */
function host() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const blob = sshPublicKeyBlob(Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url"));
  return {
    blob,
    bind(sessionId: Uint8Array, forwarding: boolean, signer: KeyObject = privateKey): Buffer {
      const signature = Buffer.concat(
        ["ssh-ed25519", sign(null, sessionId, signer)].map(sshString),
      );
      const parts = ["session-bind@openssh.com", blob, sessionId, signature];
      return Buffer.concat([strings(27, ...parts), Buffer.of(Number(forwarding))]);
    },
  };
}

type Host = ReturnType<typeof host>;

/** As `ssh-add -h a -h a>b` writes them. */
function restrictedTo(...steps: readonly { from?: Host; to: Host; user?: string }[]): Buffer {
  const hop = (user: string, host?: Host): Buffer =>
    Buffer.concat([
      ...[user, host === undefined ? "" : "host", ""].map(sshString),
      ...(host === undefined ? [] : [sshString(host.blob), Buffer.of(0)]),
    ]);
  const list = steps.map(({ from, to, user = "" }) =>
    sshString(Buffer.concat([hop("", from), hop(user, to), Buffer.alloc(0)].map(sshString))),
  );
  return strings(255, "restrict-destination-v00@openssh.com", Buffer.concat(list));
}

const [NEAR, FAR, OTHER] = [host(), host(), host()];
const [NEAR_SESSION, FAR_SESSION] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];

test("a key restricted to destinations is used there alone, by the session that was bound", async () => {
  const { connect, refusals } = agentOf([ONE, TWO]);
  const steps = [
    { to: NEAR, user: "an*" },
    { from: NEAR, to: FAR },
  ];
  const added = await connect().code(addRequest(ONE, ONE.seed, restrictedTo(...steps)));
  assert.equal(added, SUCCESS);
  const try_ = async (
    binds: readonly Buffer[],
    how: Login,
  ): Promise<[comments: string[], signs: boolean]> => {
    const client = connect();
    for (const bind of binds) assert.equal(await client.code(bind), SUCCESS);
    const comments = await client.comments();
    const answer = await client.ask(signRequest(ONE, login(ONE, how)));
    return [comments, answer[0] === 14];
  };
  const [all, rest] = [["key 1", "key 2"], ["key 2"]];
  const near = NEAR.bind(NEAR_SESSION, false);
  const through = NEAR.bind(NEAR_SESSION, true);
  const far = FAR.bind(FAR_SESSION, false);
  const atNear = { sessionId: NEAR_SESSION, hostKey: NEAR.blob };
  const atFar = { sessionId: FAR_SESSION, hostKey: FAR.blob };
  // Here, unbound: shown, and not used.
  assert.deepEqual(await try_([], atNear), [all, false]);
  assert.deepEqual(await try_([near], atNear), [all, true]);
  assert.deepEqual(await try_([near], { sessionId: NEAR_SESSION }), [all, true]);
  assert.deepEqual(await try_([near], { ...atNear, user: "bob" }), [all, false]);
  assert.deepEqual(await try_([near], { ...atNear, sessionId: FAR_SESSION }), [all, false]);
  assert.deepEqual(await try_([near], { ...atNear, hostKey: FAR.blob }), [all, false]);
  assert.deepEqual(await try_([OTHER.bind(NEAR_SESSION, false)], atNear), [rest, false]);
  // From here to the far one: only through the near one.
  assert.deepEqual(await try_([far], atFar), [rest, false]);
  assert.deepEqual(await try_([through], atNear), [all, false]);
  assert.deepEqual(await try_([through, far], atFar), [all, true]);
  assert.deepEqual(await try_([through, far], { ...atFar, user: "bob" }), [all, true]);
  // Who is on the way could otherwise have the login of another session signed.
  assert.deepEqual(await try_([through, far], { sessionId: FAR_SESSION }), [all, false]);
  assert.deepEqual(await try_([through, OTHER.bind(FAR_SESSION, false)], atFar), [rest, false]);
  assert.deepEqual(await try_([through, FAR.bind(FAR_SESSION, true)], atFar), [rest, false]);
  assert.match(refusals.at(-1)!, /restricted to other destinations/);
  // SSHSIG messages are for nowhere.
  assert.equal(await connect().code(signRequest(ONE, SSHSIG)), FAILURE);
});

test("a binding that its host has not signed is refused, and the connection trusted no more", async () => {
  const { connect } = agentOf([ONE, TWO]);
  const restriction = restrictedTo({ to: NEAR });
  assert.equal(await connect().code(addRequest(ONE, ONE.seed, restriction)), SUCCESS);
  const { privateKey: liar } = generateKeyPairSync("ed25519");
  for (const binds of [
    [NEAR.bind(NEAR_SESSION, false, liar)],
    // A login goes no further.
    [NEAR.bind(NEAR_SESSION, false), FAR.bind(FAR_SESSION, false)],
    // One session, two hosts.
    [NEAR.bind(NEAR_SESSION, true), FAR.bind(NEAR_SESSION, false)],
  ]) {
    const client = connect();
    const codes: string[] = [];
    for (const bind of binds) codes.push(await client.code(bind));
    assert.equal(codes.at(-1), EXTENSION_FAILURE);
    assert.deepEqual(await client.comments(), ["key 2"]);
    const how = { sessionId: NEAR_SESSION, hostKey: NEAR.blob };
    assert.equal(await client.code(signRequest(ONE, login(ONE, how))), FAILURE);
    assertSigned(await client.ask(signRequest(TWO, SSHSIG)), TWO, SSHSIG);
    assert.equal(await client.code(Buffer.of(19)), FAILURE);
  }
  const many = connect();
  for (let at = 0; at < 16; at++) {
    assert.equal(await many.code(NEAR.bind(Buffer.alloc(32, at), true)), SUCCESS);
    // Twice is the same.
    assert.equal(await many.code(NEAR.bind(Buffer.alloc(32, at), true)), SUCCESS);
  }
  assert.equal(await many.code(NEAR.bind(Buffer.alloc(32, 16), true)), EXTENSION_FAILURE);
});

test("over a forwarded connection keys are used, and nothing is changed", async () => {
  const { agent, connect } = agentOf([ONE]);
  const client = connect();
  assert.equal(await client.code(NEAR.bind(NEAR_SESSION, true)), SUCCESS);
  for (const request of [
    strings(22, "secret"),
    strings(23, "secret"),
    strings(18, ONE.blob),
    Buffer.of(19),
    addRequest(ONE, ONE.seed, Buffer.of(2)),
  ]) {
    assert.equal(await client.code(request), FAILURE);
  }
  assert.equal(agent.locked, false);
  assertSigned(await client.ask(signRequest(ONE, SSHSIG)), ONE, SSHSIG);
});

const requests: readonly Buffer[] = [
  Buffer.of(11),
  signRequest(ONE, login(ONE)),
  addRequest(ONE, ONE.seed, Buffer.of(2)),
  strings(18, ONE.blob),
  strings(22, "secret"),
  NEAR.bind(NEAR_SESSION, true),
];

test("a client that ends within a message is let go, whatever was cut off", async () => {
  const { connect } = agentOf([ONE]);
  const steady = connect();
  for (const request of requests) {
    const whole = sshString(request);
    for (let cut = 0; cut < whole.length; cut++) {
      const client = connect();
      client.stream.end(whole.subarray(0, cut));
      await once(client.stream, "end");
    }
  }
  assert.deepEqual(await steady.comments(), ["key 1"]);
});

test("a client whose message is malformed is dropped, and all others stay", async () => {
  const { connect, refusals } = agentOf([ONE]);
  const steady = connect();
  const oversized = Buffer.of(0, 4, 0, 1);
  const wrong: Buffer[] = [oversized, Buffer.alloc(4), Buffer.alloc(4, 255)];
  for (const request of requests.filter((each) => each[0] !== 25)) {
    for (let cut = 1; cut < request.length; cut++) wrong.push(sshString(request.subarray(0, cut)));
  }
  for (const bytes of wrong) {
    const client = connect();
    client.stream.on("error", () => {});
    client.stream.write(bytes);
    await once(client.theirs, "close");
  }
  assert.equal(refusals.length, wrong.length);
  assert.match(refusals[0]!, /dropped a client: cannot read a message of 262145 bytes/);
  assert.deepEqual(await steady.comments(), ["key 1"]);
});

test("an agent outlives random bytes", async () => {
  const { connect } = agentOf([ONE, TWO], { sleep: async () => {} });
  const message = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 100 }),
    fc
      .tuple(fc.constantFrom(...requests), fc.nat(), fc.nat(255))
      // Not a lock: scrypt takes its time.
      .filter(([request]) => request[0] !== 22)
      .map(([request, at, byte]) => {
        const bytes = Uint8Array.from(request);
        bytes[at % bytes.length] = byte;
        return bytes;
      })
      .filter((bytes) => bytes[0] !== 22 && bytes[0] !== 23),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 10 }), fc.uint8Array(), async (all, last) => {
      const client = connect();
      client.stream.end(Buffer.concat([...all.map(sshString), last]));
      await once(client.theirs, "close");
    }),
    { numRuns: 300 },
  );
  assert.equal((await connect().ask(Buffer.of(11)))[0], 12);
});

test("many messages at once are answered in order", async () => {
  const { connect } = agentOf([ONE]);
  const client = connect();
  const one = sshString(Buffer.of(11));
  const two = sshString(signRequest(ONE, SSHSIG));
  client.stream.write(Buffer.concat(Array.from({ length: 50 }, () => [one, two]).flat()));
  for (let at = 0; at < 50; at++) {
    assert.equal((await client.answer())[0], 12);
    assert.equal((await client.answer())[0], 14);
  }
});

test("a client that does not read is read no further, and dropped when its time is over", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { connect, refusals } = agentOf([ONE]);
  const { stream, theirs } = connect();
  stream.removeAllListeners("data").pause();
  stream.on("error", () => {});
  const requests = Buffer.concat(Array.from({ length: 2_000 }, () => sshString(Buffer.of(11))));
  // Far more than is ever read.
  for (let at = 0; at < 100; at++) stream.write(requests);
  while (!theirs.writableNeedDrain) await new Promise(setImmediate);
  assert.ok(theirs.writableLength < 256 * 1024);
  const closed = once(theirs, "close");
  t.mock.timers.tick(30_000);
  await closed;
  assert.match(refusals[0]!, /dropped a client: it does not read/);
});

test("a client that begins a message and does not go on is dropped when its time is over", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { connect, refusals } = agentOf([ONE]);
  const client = connect();
  // An answer shows that the agent has got so far.
  client.stream.write(Buffer.concat([sshString(Buffer.of(11)), Buffer.of(0, 0, 1)]));
  await client.answer();
  client.stream.write(Buffer.of(0, 11));
  await new Promise(setImmediate);
  client.stream.on("error", () => {});
  const closed = once(client.theirs, "close");
  t.mock.timers.tick(30_000);
  await closed;
  assert.match(refusals[0]!, /rest of a message/);
});

test("128 clients are served at once", async () => {
  const { connect } = agentOf([ONE, TWO]);
  const clients = Array.from({ length: 128 }, connect);
  const answers = await Promise.all(
    clients.map((client) => client.ask(signRequest(ONE, login(ONE)))),
  );
  for (const answer of answers) assertSigned(answer, ONE, login(ONE));
});
