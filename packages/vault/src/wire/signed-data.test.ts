import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { recogniseSignedData } from "./signed-data.ts";
import { sshString } from "./ssh-data.ts";

const KEY = Buffer.concat([sshString("ssh-ed25519"), sshString(Buffer.alloc(32, 7))]);
const HOST = Buffer.concat([sshString("ssh-ed25519"), sshString(Buffer.alloc(32, 9))]);

interface Userauth {
  sessionId?: Uint8Array;
  number?: number;
  user?: string;
  service?: string;
  method?: string;
  signs?: number;
  algorithm?: string;
  key?: Uint8Array;
  hostKey?: Uint8Array;
}

function userauth(given: Userauth = {}): Buffer {
  const { sessionId = Buffer.alloc(32, 1), number = 50, user = "ann", hostKey } = given;
  return Buffer.concat([
    sshString(sessionId),
    Buffer.of(number),
    sshString(user),
    sshString(given.service ?? "ssh-connection"),
    sshString(given.method ?? "publickey"),
    Buffer.of(given.signs ?? 1),
    sshString(given.algorithm ?? "ssh-ed25519"),
    sshString(given.key ?? KEY),
    ...(hostKey === undefined ? [] : [sshString(hostKey)]),
  ]);
}

const hostbound = { method: "publickey-hostbound-v00@openssh.com", hostKey: HOST };

function sshsig(namespace = "git", reserved = "", hash = "sha512", length = 64): Buffer {
  return Buffer.concat([
    Buffer.from("SSHSIG"),
    sshString(namespace),
    sshString(reserved),
    sshString(hash),
    sshString(Buffer.alloc(length, 3)),
  ]);
}

/** What a TLS 1.3 peer signs (RFC 8446 §4.4.3), with the hash of its transcript. */
function certificateVerify(whose: "server" | "client", hash: Uint8Array): Buffer {
  const context = `TLS 1.3, ${whose} CertificateVerify\0`;
  return Buffer.concat([Buffer.alloc(64, 0x20), Buffer.from(context), hash]);
}

test("recogniseSignedData() knows a login, with and without the host's key, and an SSHSIG message", () => {
  const sessionId = Buffer.alloc(32, 1);
  const login = { kind: "userauth", user: "ann", sessionId, hostKey: undefined };
  assert.deepEqual(recogniseSignedData(userauth(), KEY), login);
  assert.deepEqual(recogniseSignedData(userauth(hostbound), KEY), { ...login, hostKey: HOST });
  for (const [hash, length] of [
    ["sha256", 32],
    ["sha512", 64],
  ] as const) {
    assert.deepEqual(recogniseSignedData(sshsig("git", "", hash, length), KEY), {
      kind: "sshsig",
      namespace: "git",
    });
  }
});

test("recogniseSignedData() refuses all that differs in any part", () => {
  const wrong: readonly [string, Uint8Array][] = [
    ["nothing", Buffer.alloc(0)],
    ["no hash as session", userauth({ sessionId: Buffer.alloc(31) })],
    ["no session", userauth({ sessionId: Buffer.alloc(0) })],
    ["another message", userauth({ number: 51 })],
    [
      "a user that is no UTF-8",
      Buffer.from(userauth().toString("latin1").replace("ann", "\xff\xff\xff"), "latin1"),
    ],
    ["another service", userauth({ service: "ssh-userauth" })],
    ["another method", userauth({ method: "hostbased" })],
    ["a mere question", userauth({ signs: 0 })],
    ["another spelling of true", userauth({ signs: 2 })],
    ["another algorithm", userauth({ algorithm: "ssh-rsa" })],
    ["a certificate", userauth({ algorithm: "ssh-ed25519-cert-v01@openssh.com" })],
    ["another key", userauth({ key: HOST })],
    ["a host key that was not announced", userauth({ hostKey: HOST })],
    ["no host key that was announced", userauth({ method: hostbound.method })],
    ["no namespace", sshsig("")],
    ["something reserved", sshsig("git", "x")],
    ["another hash", sshsig("git", "", "sha1", 20)],
    ["a name from the prototype", sshsig("git", "", "toString", 0)],
    ["a hash of another length", sshsig("git", "", "sha256", 64)],
  ];
  for (const [what, data] of wrong) assert.equal(recogniseSignedData(data, KEY), undefined, what);
});

test("recogniseSignedData() refuses what TLS signs, whatever follows its 64 spaces", () => {
  const hash = fc.oneof(
    fc.uint8Array({ minLength: 32, maxLength: 32 }),
    fc.uint8Array({ minLength: 48, maxLength: 48 }),
    fc.constantFrom(userauth(), sshsig()),
  );
  fc.assert(
    fc.property(fc.constantFrom("server" as const, "client"), hash, (whose, transcript) => {
      assert.equal(recogniseSignedData(certificateVerify(whose, transcript), KEY), undefined);
    }),
  );
});

test("recogniseSignedData() refuses what is cut, what goes on, and whatever else comes", () => {
  for (const whole of [userauth(), userauth(hostbound), sshsig()]) {
    for (let cut = 0; cut < whole.length; cut++) {
      assert.equal(recogniseSignedData(whole.subarray(0, cut), KEY), undefined, String(cut));
    }
    assert.equal(recogniseSignedData(Buffer.concat([whole, Buffer.of(0)]), KEY), undefined);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      assert.equal(recogniseSignedData(bytes, KEY), undefined);
      recogniseSignedData(Buffer.concat([Buffer.from("SSHSIG"), bytes]), KEY);
    }),
  );
});

test("recogniseSignedData() takes one spelling for each meaning: a changed byte is another meaning or none", () => {
  for (const whole of [userauth(), userauth(hostbound), sshsig()]) {
    const meaning = recogniseSignedData(whole, KEY);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changed = Buffer.from(whole);
        changed[at]! ^= by;
        const now = recogniseSignedData(changed, KEY);
        // The digest of an SSHSIG message is not part of what it says.
        if (meaning?.kind === "userauth") assert.notDeepEqual(now, meaning);
        else assert.ok(now === undefined || now.kind === "sshsig");
      }),
    );
  }
});
