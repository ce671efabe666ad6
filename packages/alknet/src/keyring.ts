/**
 * The key that opens a vault, in the keyring of the system: Secret Service on Linux, Keychain on macOS, Credential
 * Manager on Windows.
 *
 * What comes out of it has been an array of numbers, whose memory cannot be wiped: a keyring is for machines whose
 * user is logged in, not for secrets that have to be forgotten.
 *
 * @module
 */

import type { Entry } from "@napi-rs/keyring";
import type { UnlockKeySource } from "@alknet/vault/unlock-key";
import { secretBytes } from "@alknet/vault/wipe";
import { CommandError } from "./command-error.ts";

const SERVICE = "alknet vault";

/** The key in the keyring for the vault at `path`. It rejects with `KEYRING_UNAVAILABLE`, too. */
export function keyringKey(path: string): UnlockKeySource {
  return {
    name: "the system's keyring",
    async read() {
      const numbers = await use(path, (entry) => entry.getSecret());
      if (numbers === null) return undefined;
      const key = secretBytes(numbers.length);
      key.set(numbers);
      numbers.fill(0);
      return key;
    },
  };
}

/** Put a key there, in the place of one that was. @throws {CommandError} `KEYRING_UNAVAILABLE` */
export async function putKeyringKey(path: string, key: Uint8Array): Promise<void> {
  await use(path, (entry) => entry.setSecret(key));
}

/** Take the key out. @returns whether there was one. @throws {CommandError} `KEYRING_UNAVAILABLE` */
export async function removeKeyringKey(path: string): Promise<boolean> {
  return await use(path, (entry) => entry.deleteCredential());
}

async function use<Result>(path: string, work: (entry: Entry) => Result): Promise<Result> {
  try {
    // An optional dependency: there is not one for every system.
    const { Entry: KeyringEntry } = await import("@napi-rs/keyring");
    // On Linux it would take the kernel's keyring where there is no other, which forgets at each start.
    return work(new KeyringEntry(SERVICE, path, { linux: { store: "secret-service" } }));
  } catch (cause) {
    const text = `cannot use the system's keyring: ${(cause as Error).message}`;
    throw new CommandError(text, { code: "KEYRING_UNAVAILABLE", hint: HINT, cause });
  }
}

const HINT = "without a desktop there is none; use a file: alknet vault unlock-key add --file FILE";
