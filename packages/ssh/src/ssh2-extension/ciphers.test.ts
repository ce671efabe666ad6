import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { test } from "node:test";
import * as fc from "fast-check";
import { replaceCiphers } from "./ciphers.ts";
import type { Cipher, Decipher, Protocol } from "./insides.ts";

interface CipherInfo {
  readonly keyLen: number;
  readonly ivLen: number;
}

interface Ssh2Ciphers {
  readonly CIPHER_INFO: Record<string, CipherInfo>;
  readonly init: Promise<void>;
  readonly createCipher: (config: object) => Cipher;
  readonly createDecipher: (config: object) => Decipher;
}

const require = createRequire(import.meta.url);
const ssh2 = require("ssh2/lib/protocol/crypto.js") as Ssh2Ciphers;
await ssh2.init;

const NAMES = [
  "chacha20-poly1305@openssh.com",
  "aes128-gcm@openssh.com",
  "aes256-gcm@openssh.com",
] as const;

/** A cipher and a decipher under the same keys: ssh2's, ours, or one of each. */
function ends(name: string, sequence: number, whose: { sealer: boolean; opener: boolean }) {
  const cipherInfo = ssh2.CIPHER_INFO[name] as CipherInfo;
  const cipherKey = randomBytes(cipherInfo.keyLen);
  const cipherIV = randomBytes(cipherInfo.ivLen);
  // So that it is carried over.
  cipherIV.fill(0xff, 8);
  const sent: Buffer[] = [];
  const got: Buffer[] = [];
  const write = (data: Buffer): void => void sent.push(Buffer.from(data));
  const onPayload = (payload: Buffer): void => void got.push(Buffer.from(payload));
  const config = {
    outbound: { onWrite: write, cipherInfo, cipherKey, cipherIV, seqno: sequence },
    inbound: {
      onPayload,
      decipherInfo: cipherInfo,
      decipherKey: cipherKey,
      decipherIV: Buffer.from(cipherIV),
      seqno: sequence,
    },
  };
  const theirs = {
    _cipher: ssh2.createCipher(config),
    _decipher: ssh2.createDecipher(config),
    _onWrite: write,
  };
  const ours = { ...theirs } as Protocol;
  // Those of ssh2 count the same nonce up.
  config.outbound.cipherIV = Buffer.from(cipherIV);
  replaceCiphers(ours);
  assert.notEqual(ours._cipher, theirs._cipher);
  assert.notEqual(ours._decipher, theirs._decipher);
  const cipher = whose.sealer ? ours._cipher : theirs._cipher;
  const decipher = whose.opener ? ours._decipher : theirs._decipher;
  return {
    got,
    decipher,
    /** @returns what went over the wire. */
    send(payload: Uint8Array, padding?: number): Buffer {
      const packet = cipher.allocPacket(payload.length);
      packet.set(payload, 5);
      if (padding !== undefined) packet.writeUInt8(padding, 4);
      cipher.encrypt(packet);
      return Buffer.concat(sent.splice(0));
    },
  };
}

const payloads = fc.array(fc.uint8Array({ minLength: 1, maxLength: 3_000 }), {
  minLength: 1,
  maxLength: 6,
});

for (const name of NAMES) {
  test(`packets that ssh2 seals with ${name} are opened, and the other way round, in any pieces`, () => {
    const sequences = fc.constantFrom(0, 1, 2 ** 31 - 1, 2 ** 32 - 2);
    fc.assert(
      fc.property(payloads, sequences, fc.boolean(), fc.nat(), (all, sequence, isOurs, cut) => {
        const it = ends(name, sequence, { sealer: isOurs, opener: !isOurs });
        const wire = Buffer.concat(all.map((payload) => it.send(payload)));
        const step = 1 + (cut % wire.length);
        for (let at = 0; at < wire.length; at += step) {
          const piece = wire.subarray(at, at + step);
          assert.equal(it.decipher.decrypt(piece, 0, piece.length), undefined);
        }
        assert.deepEqual(
          it.got,
          all.map((payload) => Buffer.from(payload)),
        );
      }),
    );
  });

  test(`what is longer than the room for packets is sealed with ${name} too`, () => {
    const it = ends(name, 7, { sealer: true, opener: true });
    const wire = it.send(randomBytes(34_900));
    it.decipher.decrypt(wire, 0, wire.length);
    assert.equal(it.got[0]?.length, 34_900);
    const long = it.send(randomBytes(200_000));
    assert.ok(long.length > 200_000);
    assert.throws(() => it.decipher.decrypt(long, 0, long.length), /packet of 200\d\d\d bytes/);
  });

  test(`a packet sealed with ${name} in which a bit has changed is not opened`, () => {
    const bit = fc.tuple(fc.nat(), fc.nat(7));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), bit, (payload, [at, number]) => {
        const it = ends(name, 3, { sealer: true, opener: true });
        const wire = Buffer.concat([it.send(payload), it.send(payload)]);
        const index = at % (wire.length / 2);
        wire[index] = (wire[index] as number) ^ (1 << number);
        // A length that has changed may wait for more.
        const more = Buffer.concat([wire, Buffer.alloc(40_000)]);
        assert.throws(() => it.decipher.decrypt(more, 0, more.length));
        assert.deepEqual(it.got, []);
      }),
    );
  });

  test(`whatever comes in place of packets sealed with ${name} is an error, or waited for`, () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 3_000 })), (pieces) => {
        const it = ends(name, 0, { sealer: true, opener: true });
        try {
          for (const piece of pieces) it.decipher.decrypt(Buffer.from(piece), 0, piece.length);
        } catch (error) {
          assert.ok(error instanceof Error);
        }
        assert.deepEqual(it.got, []);
      }),
    );
  });
}

test("a packet that is shorter than its padding is an error", () => {
  for (const [padding, length] of [
    [31, 0],
    [32, undefined],
    [255, undefined],
  ] as const) {
    const it = ends("aes128-gcm@openssh.com", 0, { sealer: true, opener: true });
    const wire = it.send(Buffer.alloc(16), padding);
    const open = () => it.decipher.decrypt(wire, 0, wire.length);
    if (length === undefined) assert.throws(open, /shorter than its padding/);
    else open();
    assert.equal(it.got[0]?.length, length);
  }
});
