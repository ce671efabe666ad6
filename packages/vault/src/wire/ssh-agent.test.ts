import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  decodeRequest,
  encodeIdentities,
  encodeSignature,
  EXTENSION_FAILURE,
  EXTENSIONS,
  FAILURE,
  SUCCESS,
} from "./ssh-agent.ts";
import { SshDataError, SshReader, sshString } from "./ssh-data.ts";

const BLOB = Buffer.from("the blob of a key");

function bytes(...parts: readonly (number | string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.map((part) => (typeof part === "number" ? Buffer.of(part) : sshString(part))),
  );
}

const PRIVATE = Buffer.alloc(64, 5);
const add = (number: number, ...constraints: readonly (number | string | Uint8Array)[]): Buffer =>
  bytes(number, "ssh-ed25519", Buffer.alloc(32, 4), PRIVATE, "ann@laptop", ...constraints);

function hop(user: string, host: string, ...keys: readonly Uint8Array[]): Buffer {
  return bytes(user, host, "", ...keys.flatMap((key) => [key, 0]));
}

const destinations = bytes(
  bytes(hop("", ""), hop("git", "forge", BLOB), ""),
  bytes(hop("", "forge", BLOB), hop("", "inner", Buffer.from("x"), Buffer.from("y")), ""),
);

const requests: readonly [string, Buffer, object][] = [
  ["list", bytes(11), { kind: "identities" }],
  [
    "sign",
    Buffer.concat([bytes(13, BLOB, "data"), Buffer.of(0, 0, 0, 4)]),
    { kind: "sign", key: BLOB, data: Buffer.from("data") },
  ],
  [
    "add",
    add(17),
    {
      kind: "add",
      publicKey: Buffer.alloc(32, 4),
      privateKey: PRIVATE.subarray(32),
      constraints: {},
    },
  ],
  [
    "add for 5 minutes, to be confirmed",
    add(25, 1, 0, 0, 1, 0x2c, 2),
    {
      kind: "add",
      publicKey: Buffer.alloc(32, 4),
      privateKey: PRIVATE.subarray(32),
      constraints: { lifetime: 300, confirm: true, destinations: undefined },
    },
  ],
  [
    "add for two hosts",
    add(25, 255, "restrict-destination-v00@openssh.com", destinations),
    {
      kind: "add",
      publicKey: Buffer.alloc(32, 4),
      privateKey: PRIVATE.subarray(32),
      constraints: {
        lifetime: undefined,
        confirm: undefined,
        destinations: [
          {
            from: { user: "", host: "", keys: [] },
            to: { user: "git", host: "forge", keys: [new Uint8Array(BLOB)] },
          },
          {
            from: { user: "", host: "forge", keys: [new Uint8Array(BLOB)] },
            to: { user: "", host: "inner", keys: [Uint8Array.of(0x78), Uint8Array.of(0x79)] },
          },
        ],
      },
    },
  ],
  ["remove", bytes(18, BLOB), { kind: "remove", key: BLOB }],
  ["remove all", bytes(19), { kind: "remove-all" }],
  ["lock", bytes(22, "secret"), { kind: "lock", passphrase: Buffer.from("secret") }],
  ["unlock", bytes(23, "secret"), { kind: "unlock", passphrase: Buffer.from("secret") }],
  ["query", bytes(27, "query"), { kind: "query" }],
  [
    "bind",
    bytes(27, "session-bind@openssh.com", "host", "session", "signature", 1),
    {
      kind: "session-bind",
      hostKey: Buffer.from("host"),
      sessionId: Buffer.from("session"),
      signature: Buffer.from("signature"),
      forwarding: true,
    },
  ],
];

/** Bytes by value, whatever array they are in. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, each: unknown) =>
      each instanceof Uint8Array || isBufferJson(each) ? hex(each) : each,
    ),
  );
}

function isBufferJson(value: unknown): value is { data: number[] } {
  return typeof value === "object" && value !== null && "data" in value && "type" in value;
}

function hex(value: Uint8Array | { data: number[] }): string {
  return Buffer.from(value instanceof Uint8Array ? value : value.data).toString("hex");
}

test("decodeRequest() reads each request, and none that is cut or goes on", () => {
  for (const [name, message, expected] of requests) {
    assert.deepEqual(plain(decodeRequest(message)), plain(expected), name);
    for (let cut = 0; cut < message.length; cut++) {
      if (constraintEnds.has(cut) && message[0] === 25) continue;
      assert.throws(
        () => decodeRequest(message.subarray(0, cut)),
        SshDataError,
        `${name}, cut at ${cut}`,
      );
    }
    // Behind constraints there may be more of them.
    if (message[0] === 25) continue;
    assert.throws(() => decodeRequest(Buffer.concat([message, Buffer.of(0)])), SshDataError, name);
  }
});

/** Where a list of constraints may end: before the first one, and after that of five minutes. */
const constraintEnds = new Set([add(25).length, add(25).length + 5]);

test("decodeRequest() takes no key with a constraint that it does not know", () => {
  for (const unknown of [
    [3, 0, 0, 0, 1],
    [0],
    [255, "associated-certs-v00@openssh.com", 1, ""],
    [2, 254],
  ]) {
    const request = decodeRequest(add(25, ...unknown));
    assert.equal(request.kind === "add" && request.constraints, undefined);
  }
});

test("decodeRequest() refuses destinations that are none", () => {
  const from = hop("", "");
  const to = hop("", "forge", BLOB);
  for (const wrong of [
    bytes(hop("ann", ""), to, ""),
    bytes(hop("", "", BLOB), to, ""),
    bytes(from, hop("", "forge"), ""),
    bytes(from, to, "", 0),
    bytes(from, to),
    bytes(from),
  ]) {
    const message = add(25, 255, "restrict-destination-v00@openssh.com", bytes(wrong));
    assert.throws(() => decodeRequest(message), SshDataError);
  }
});

test("a host authority in a destination lets nobody in: no certificate is read", () => {
  const authority = bytes("", "forge", "", BLOB, 1, Buffer.from("plain"), 0);
  const list = bytes(bytes(hop("", ""), authority, ""));
  const message = add(25, 255, "restrict-destination-v00@openssh.com", list);
  const request = decodeRequest(message);
  assert.ok(request.kind === "add");
  const [destination] = request.constraints?.destinations ?? [];
  // The message is overwritten once it was answered.
  message.fill(0);
  assert.deepEqual(destination?.to.keys, [Uint8Array.from(Buffer.from("plain"))]);
});

test("decodeRequest() knows no other number, extension or kind of key", () => {
  for (const message of [
    bytes(0),
    bytes(1, "of version 1"),
    bytes(20, "pkcs11", "1234"),
    bytes(27, "somebody@example.com", "x"),
    bytes(17, "ssh-rsa", "n", "e"),
    bytes(255),
  ]) {
    assert.equal(decodeRequest(message).kind, "unknown");
  }
});

test("decodeRequest() gives a request or throws SshDataError for whatever comes", () => {
  const mutated = fc
    .tuple(fc.constantFrom(...requests), fc.nat(), fc.nat(255))
    .map(([[, message], at, byte]) => {
      const bytes = Uint8Array.from(message);
      bytes[at % bytes.length] = byte;
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated), (message) => {
      try {
        decodeRequest(message);
      } catch (error) {
        assert.ok(error instanceof SshDataError);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("answers are these bytes", () => {
  const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  assert.equal(hexOf(FAILURE), "0000000105");
  assert.equal(hexOf(SUCCESS), "0000000106");
  assert.equal(hexOf(EXTENSION_FAILURE), "000000011c");
  assert.equal(
    hexOf(encodeIdentities([{ blob: Buffer.from("AB"), comment: "é" }])),
    "00000011" + "0c" + "00000001" + "00000002" + "4142" + "00000002" + "c3a9",
  );
  assert.equal(hexOf(encodeIdentities([])), "00000005" + "0c" + "00000000");
  const answer = new SshReader(encodeSignature(Buffer.alloc(64, 1)).subarray(4));
  assert.equal(answer.byte(), 14);
  const signature = new SshReader(answer.string());
  answer.end();
  assert.equal(signature.text(), "ssh-ed25519");
  assert.equal(signature.string().length, 64);
  const extensions = new SshReader(EXTENSIONS.subarray(4));
  assert.equal(extensions.byte(), 29);
  assert.deepEqual(
    [extensions.text(), extensions.text(), extensions.text(), extensions.left],
    ["query", "query", "session-bind@openssh.com", 0],
  );
});
