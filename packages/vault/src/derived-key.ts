/**
 * A key pair that came out of a vault. It is its holder's: `using` wipes it, and a lock of the vault does not.
 *
 * @module
 */

import { createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import { REDACTED, redact } from "./redacted.ts";
import { VaultError } from "./vault-error.ts";
import { wipe } from "./wipe.ts";

export type KeyType = "ed25519" | "secp256k1";

export class DerivedKey implements Disposable {
  readonly keyType: KeyType;
  /** As {@linkcode formatPath} writes it. */
  readonly path: string;
  /** Ed25519: 32 bytes. secp256k1: 33, compressed. */
  readonly publicKey: Uint8Array;
  /** Undefined once disposed of. */
  #privateKey: Uint8Array | undefined;
  #keyObject: KeyObject | undefined;

  /** @param privateKey 32 secret bytes, which this key takes over and will wipe. */
  constructor(keyType: KeyType, path: string, privateKey: Uint8Array, publicKey: Uint8Array) {
    this.keyType = keyType;
    this.path = path;
    this.publicKey = publicKey;
    this.#privateKey = privateKey;
  }

  /**
   * The 32 secret bytes: not a copy, and zeros after dispose. Ed25519: the seed of RFC 8032.
   *
   * @throws {VaultError} `KEY_DISPOSED`.
   */
  get privateKey(): Uint8Array {
    if (this.#privateKey !== undefined) return this.#privateKey;
    throw new VaultError("KEY_DISPOSED", `cannot use key ${this.path}: it was disposed of`);
  }

  /**
   * Sign with Ed25519 (RFC 8032 §5.1.6): 64 bytes.
   *
   * @throws {VaultError} `UNSUPPORTED_KEY_TYPE` on secp256k1, `KEY_DISPOSED`.
   */
  sign(message: Uint8Array): Uint8Array {
    return sign(null, message, this.keyObject());
  }

  /**
   * For node:crypto and node:tls. It has a copy of its own, which OpenSSL wipes when the collector takes the object.
   *
   * @throws {VaultError} `UNSUPPORTED_KEY_TYPE` on secp256k1, `KEY_DISPOSED`.
   */
  keyObject(): KeyObject {
    if (this.keyType !== "ed25519") {
      throw new VaultError(
        "UNSUPPORTED_KEY_TYPE",
        `cannot use key ${this.path} so: it is ${this.keyType}, and this wants ed25519`,
      );
    }
    const { privateKey } = this;
    this.#keyObject ??= ed25519KeyObject(privateKey);
    return this.#keyObject;
  }

  /** Wipe the private key. Key objects that were handed out go on working. */
  [Symbol.dispose](): void {
    wipe(this.#privateKey);
    this.#privateKey = undefined;
    this.#keyObject = undefined;
  }
}

redact(DerivedKey.prototype, ({ keyType, path, publicKey }) => ({
  keyType,
  path,
  publicKey: Buffer.from(publicKey).toString("hex"),
  privateKey: REDACTED,
}));

/** The 32-byte public key of a 32-byte private one. */
export function ed25519PublicKey(privateKey: Uint8Array): Uint8Array {
  const publicKey = createPublicKey(ed25519KeyObject(privateKey));
  return new Uint8Array(publicKey.export({ format: "raw-public" }));
}

function ed25519KeyObject(privateKey: Uint8Array): KeyObject {
  return createPrivateKey({ key: privateKey, format: "raw-private", asymmetricKeyType: "ed25519" });
}
