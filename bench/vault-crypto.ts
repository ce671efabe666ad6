/**
 * `vault-crypto`: sealing and opening 64 KiB in a vault, against bare node:crypto; and deriving keys, against its limit.
 *
 * The bare one makes the same blob, AES-256-GCM under a fresh iv with the tag behind the ciphertext, and opens it. A
 * variant leaves ciphertext and tag apart, which spares it the one copy there is. A derived key is one that no cache
 * has: five HMACs, and the public key.
 *
 * @module
 */

import { createCipheriv, createDecipheriv, randomBytes, randomFillSync } from "node:crypto";
import { deviceKeyPath } from "@alknet/vault/derivation-path";
import { createVault, type Vault } from "@alknet/vault/vault";
import { type Bench, compare, takeTurns } from "./harness.ts";

const SIZE = 64 * 1_024;
/** Derived keys per second that we want at least. */
const DERIVED = 10_000;

export const bench: Bench = {
  async run({ quick, budget, say }) {
    using vault = createVault();
    vault.unlockSeed(randomBytes(64));
    const plaintext = randomBytes(SIZE);
    const key = randomBytes(32);
    const ms = quick ? 100 : 500;
    const rounds = quick ? 31 : 51;
    const context = "credential:bench";
    const aad = Buffer.from(context);
    const samples = await takeTurns(
      rounds,
      {
        "vault-crypto": () =>
          perSecond(ms, () => {
            vault.decrypt(vault.encrypt(plaintext, { context }), { context });
          }),
        "node:crypto": () => perSecond(ms, () => bare(key, plaintext, aad, joined)),
        apart: () => perSecond(ms, () => bare(key, plaintext, aad, (sealed) => sealed)),
        derived: () => perSecond(ms, derive(vault)),
      },
      { say, budget },
    );
    const ours = samples["vault-crypto"];
    return {
      main: compare("vault-crypto", ours, samples["node:crypto"], {
        peerName: "node:crypto",
        unit: "64 KiB sealed and opened/s",
        goal: 0.9,
      }),
      variants: [
        compare("vault-crypto apart", ours, samples.apart, {
          peerName: "node:crypto, tag apart",
          unit: "64 KiB sealed and opened/s",
        }),
        compare(
          "vault-crypto derive",
          samples.derived,
          samples.derived.map(() => DERIVED),
          { peerName: "limit", unit: "keys/s", goal: 1 },
        ),
      ],
    };
  },
};

/** Runs of `work` in a second, from those in so many milliseconds. */
async function perSecond(ms: number, work: () => void): Promise<number> {
  let runs = 0;
  const begin = performance.now();
  let spent = 0;
  while (spent < ms) {
    // A clock is looked at less often than it would cost anything.
    for (let once = 0; once < 16; once += 1) work();
    runs += 16;
    spent = performance.now() - begin;
  }
  return (runs / spent) * 1_000;
}

interface Sealed {
  readonly ciphertext: Buffer;
  readonly tag: Buffer;
}

function bare(
  key: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array,
  store: (sealed: Sealed) => Sealed,
): void {
  const iv = randomFillSync(new Uint8Array(12));
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  cipher.setAAD(aad);
  const begun = cipher.update(plaintext);
  cipher.final();
  const { ciphertext, tag } = store({ ciphertext: begun, tag: cipher.getAuthTag() });
  const decipher = createDecipheriv("aes-256-gcm", key, iv);
  decipher.setAAD(aad);
  decipher.setAuthTag(tag);
  decipher.update(ciphertext);
  decipher.final();
}

/** As one blob, and taken from it again. */
function joined({ ciphertext, tag }: Sealed): Sealed {
  const blob = Buffer.concat([ciphertext, tag]);
  return { ciphertext: blob.subarray(0, -16), tag: blob.subarray(-16) };
}

/** Each time another key. */
function derive(vault: Vault): () => void {
  let number = 0;
  return () => {
    using _key = vault.deriveEd25519(deviceKeyPath((number += 1)));
  };
}
