/**
 * `mlkem768x25519-sha256` (draft-ietf-sshm-mlkem-hybrid-kex §2): ML-KEM-768 and X25519 together, so that a session
 * recorded today stays closed to who can break one of the two later.
 *
 * ```text
 * C_INIT  = ML-KEM public key (1184 bytes) || X25519 public key (32)
 * S_REPLY = ML-KEM ciphertext (1088)       || X25519 public key (32)
 * K       = SHA-256(ML-KEM secret (32) || X25519 secret (32)), hashed as a string, not as an mpint
 * ```
 *
 * @module
 */

import {
  createHash,
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";

/** Its name in SSH_MSG_KEXINIT. */
export const ML_KEM_EXCHANGE: string = "mlkem768x25519-sha256";

const PUBLIC_KEY = 1_184;
const CIPHERTEXT = 1_088;
const X25519 = 32;

/**
 * The server's side.
 *
 * @throws {Error} if `init` is not 1,216 bytes, or no key.
 */
export function answerMlKem(init: Uint8Array): { reply: Buffer; secret: Buffer } {
  const [kemKey, theirs] = split("C_INIT", init, PUBLIC_KEY);
  const { ciphertext, sharedKey } = encapsulate(importKey(kemKey, "ml-kem-768"));
  const ours = generateKeyPairSync("x25519");
  const reply = Buffer.concat([ciphertext, rawKey(ours.publicKey)]);
  return { reply, secret: combine(sharedKey, ours.privateKey, theirs) };
}

/** The client's side: what it sends, and what it makes of the reply. */
export interface MlKemOffer {
  readonly init: Buffer;
  /** @throws {Error} if `reply` is not 1,120 bytes, or its X25519 key is none. */
  accept(reply: Uint8Array): Buffer;
}

export function offerMlKem(): MlKemOffer {
  const kem = generateKeyPairSync("ml-kem-768");
  const ours = generateKeyPairSync("x25519");
  return {
    init: Buffer.concat([rawKey(kem.publicKey), rawKey(ours.publicKey)]),
    accept(reply) {
      const [ciphertext, theirs] = split("S_REPLY", reply, CIPHERTEXT);
      return combine(decapsulate(kem.privateKey, ciphertext), ours.privateKey, theirs);
    },
  };
}

function split(name: string, bytes: Uint8Array, first: number): [Uint8Array, Uint8Array] {
  if (bytes.length !== first + X25519) {
    throw new RangeError(`cannot read ${name} of ${bytes.length} bytes: want ${first + X25519}`);
  }
  return [bytes.subarray(0, first), bytes.subarray(first)];
}

function combine(kemSecret: Uint8Array, privateKey: KeyObject, theirs: Uint8Array): Buffer {
  // A point of small order gives zeros, which OpenSSL refuses (RFC 7748 §6.1).
  const secret = diffieHellman({ privateKey, publicKey: importKey(theirs, "x25519") });
  return createHash("sha256").update(kemSecret).update(secret).digest();
}

/** From the bytes of the key and nothing around them. */
function importKey(key: Uint8Array, asymmetricKeyType: "ml-kem-768" | "x25519"): KeyObject {
  return createPublicKey({ key: Buffer.from(key), format: "raw-public", asymmetricKeyType });
}

function rawKey(key: KeyObject): Buffer {
  return key.export({ format: "raw-public" });
}
