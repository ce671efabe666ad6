import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import { isSignedByHost } from "./ssh-host-key.ts";
import { sshString } from "./wire/ssh-data.ts";

const DATA = Buffer.from("a session identifier");

interface HostKey {
  readonly name: string;
  readonly blob: Buffer;
  /** Of DATA, as the host's sshd writes it. */
  readonly signature: Buffer;
}

function strings(...parts: readonly (string | Uint8Array)[]): Buffer {
  return Buffer.concat(parts.map(sshString));
}

/** A number that is not negative (RFC 4251 §5, mpint). */
function mpint(bytes: Uint8Array): Buffer {
  const digits = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
  return digits[0]! >= 0x80 ? Buffer.concat([Buffer.of(0), digits]) : Buffer.from(digits);
}

function member(key: KeyObject, name: "x" | "y" | "n" | "e"): Buffer {
  return Buffer.from(key.export({ format: "jwk" })[name]!, "base64url");
}

function ed25519(): HostKey {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  return {
    name: "ssh-ed25519",
    blob: strings("ssh-ed25519", member(publicKey, "x")),
    signature: strings("ssh-ed25519", sign(null, DATA, privateKey)),
  };
}

function ecdsa(curve: string, namedCurve: string, hash: string): HostKey {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve });
  const name = `ecdsa-sha2-${curve}`;
  const point = Buffer.concat([Buffer.of(4), member(publicKey, "x"), member(publicKey, "y")]);
  const raw = sign(hash, DATA, { key: privateKey, dsaEncoding: "ieee-p1363" });
  const half = raw.length / 2;
  const numbers = strings(mpint(raw.subarray(0, half)), mpint(raw.subarray(half)));
  return { name, blob: strings(name, curve, point), signature: strings(name, numbers) };
}

function rsa(algorithm: string, hash: string): HostKey {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
  const blob = strings("ssh-rsa", mpint(member(publicKey, "e")), mpint(member(publicKey, "n")));
  return { name: algorithm, blob, signature: strings(algorithm, sign(hash, DATA, privateKey)) };
}

const hosts = [
  ed25519(),
  ecdsa("nistp256", "prime256v1", "sha256"),
  ecdsa("nistp384", "secp384r1", "sha384"),
  ecdsa("nistp521", "secp521r1", "sha512"),
  rsa("rsa-sha2-256", "sha256"),
  rsa("rsa-sha2-512", "sha512"),
];

test("isSignedByHost() knows the signatures of each kind of host key", () => {
  for (const { name, blob, signature } of hosts) {
    assert.equal(isSignedByHost(blob, signature, DATA), true, name);
    assert.equal(isSignedByHost(blob, signature, Buffer.from("another")), false, name);
  }
});

test("numbers of an ECDSA signature are read whatever their leading zeros", () => {
  // One in 128 has a short number; so some of these do.
  for (let at = 0; at < 300; at++) {
    const { blob, signature } = ecdsa("nistp256", "prime256v1", "sha256");
    assert.equal(isSignedByHost(blob, signature, DATA), true);
  }
});

test("isSignedByHost() takes no key for another's, nor a signature of another algorithm", () => {
  for (const one of hosts) {
    for (const other of hosts) {
      if (one === other) continue;
      assert.equal(isSignedByHost(one.blob, other.signature, DATA), false);
    }
  }
  const { blob, signature } = rsa("ssh-rsa", "sha1");
  assert.equal(isSignedByHost(blob, signature, DATA), false);
});

test("isSignedByHost() is false, and throws nothing, for whatever else it is given", () => {
  for (const { blob, signature } of hosts) {
    for (let cut = 0; cut < blob.length; cut++) {
      assert.equal(isSignedByHost(blob.subarray(0, cut), signature, DATA), false);
    }
    for (let cut = 0; cut < signature.length; cut++) {
      assert.equal(isSignedByHost(blob, signature.subarray(0, cut), DATA), false);
    }
    assert.equal(isSignedByHost(Buffer.concat([blob, Buffer.of(0)]), signature, DATA), false);
  }
  const host = fc.constantFrom(...hosts);
  fc.assert(
    fc.property(
      host,
      fc.boolean(),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (of, inKey, at, by) => {
        const [blob, signature] = [Buffer.from(of.blob), Buffer.from(of.signature)];
        const changed = inKey ? blob : signature;
        changed[at % changed.length]! ^= by;
        assert.equal(isSignedByHost(blob, signature, DATA), false);
      },
    ),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (blob, signature) => {
      assert.equal(isSignedByHost(blob, signature, DATA), false);
    }),
  );
});
