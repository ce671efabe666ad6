/**
 * For tests of this package: keys as a vault writes them.
 *
 * Not of ssh2's own making: of a public key that begins with a zero byte it drops that, and cannot read what is left.
 *
 * @module
 */

import { parseSshPublicKey } from "@alknet/core/ssh-public-key";
import { ed25519PublicKey } from "@alknet/vault/derived-key";
import { opensshPrivateKeyFile, sshPublicKeyLine } from "@alknet/vault/openssh-key";

export interface TestKey {
  /** In OpenSSH's format. */
  readonly privateKey: string;
  /** Its 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly fingerprint: string;
}

/** The key whose seed is `number`. */
export function testKey(number: number): TestKey {
  const seed = Buffer.alloc(32);
  seed.writeUInt8(number, 31);
  const publicKey = ed25519PublicKey(seed);
  const privateKey = Buffer.from(opensshPrivateKeyFile(seed, publicKey, "")).toString();
  const { fingerprint } = parseSshPublicKey(sshPublicKeyLine(publicKey, ""));
  return { privateKey, publicKey, fingerprint };
}

/** Of the server. */
export const HOST: TestKey = testKey(1);
/** Of the peer that the server knows by that name. */
export const LAPTOP: TestKey = testKey(2);
/** Of nobody that the server knows. */
export const STRANGER: TestKey = testKey(5);
