/**
 * The secrets in a vault file, as bytes: what its body holds, unsealed.
 *
 *     u8 length of the entropy · entropy · seed (64) · u8 1 if the words had a BIP39 passphrase, else 0
 *     u16 count of names, each: u8 kind · u8 1 if each use is confirmed, else 0 · u8 length · name (ASCII)
 *
 * Big-endian. No JSON: the entropy and the seed must not become strings.
 *
 * Pure: no I/O, no clock, no random number.
 *
 * @module
 */

import { NAMED_KEY } from "./derivation-path.ts";
import { secretBytes, secretCopy } from "./wipe.ts";

/** Most names that a file has. */
export const MAX_NAMES = 256;
/** Of a BIP39 seed, in bytes. */
export const SEED_LENGTH = 64;

export type NamedKeyKind = "ssh" | "age" | "pkarr";

/** A key that its owner has named; the path follows from kind and name. */
export interface NamedKey {
  readonly kind: NamedKeyKind;
  /** As {@linkcode NAMED_KEY} allows it. */
  readonly name: string;
  /** Ask a person before each use. */
  readonly confirm: boolean;
}

/** What a vault file keeps. */
export interface VaultSecrets {
  /** Of the words: 16, 20, 24, 28 or 32 secret bytes. */
  readonly entropy: Uint8Array;
  /** 64 secret bytes: what all keys come from. */
  readonly seed: Uint8Array;
  /** Whether the seed comes from the words and a BIP39 passphrase, which is not kept. */
  readonly passphraseUsed: boolean;
  /** Each kind and name once. */
  readonly names: readonly NamedKey[];
}

/** The numbers are those of the derivation paths. */
const KINDS: ReadonlyMap<NamedKeyKind, number> = new Map([
  ["ssh", 2],
  ["age", 3],
  ["pkarr", 4],
]);
const KIND_OF = new Map([...KINDS].map(([kind, number]) => [number, kind]));

/** Why a file cannot keep these; `undefined` if it can. Does not quote the entropy and the seed. */
export function secretsProblem({ entropy, seed, names }: VaultSecrets): string | undefined {
  if (![16, 20, 24, 28, 32].includes(entropy.length)) {
    return `expected entropy of 16 to 32 bytes, in steps of 4, got ${entropy.length}`;
  }
  if (seed.length !== SEED_LENGTH) {
    return `expected a seed of ${SEED_LENGTH} bytes, got ${seed.length}`;
  }
  if (names.length > MAX_NAMES) return `expected at most ${MAX_NAMES} names, got ${names.length}`;
  const wrong = names.find(({ kind, name }) => !KINDS.has(kind) || !NAMED_KEY.test(name));
  if (wrong !== undefined) {
    return (
      `${JSON.stringify(wrong.kind)} ${JSON.stringify(wrong.name.slice(0, 80))} names no key: expected ` +
      '"ssh", "age" or "pkarr", and up to 63 of a-z, 0-9, ".", "_" and "-"'
    );
  }
  const different = new Set(names.map(({ kind, name }) => `${kind} ${name}`));
  return different.size === names.length ? undefined : "a name is there twice";
}

/** Secret bytes, the caller's to wipe, of what {@linkcode secretsProblem} has nothing against. */
export function encodeBody({ entropy, seed, passphraseUsed, names }: VaultSecrets): Uint8Array {
  const length = names.reduce((sum, { name }) => sum + 3 + name.length, 0);
  const body = secretBytes(1 + entropy.length + SEED_LENGTH + 3 + length);
  body[0] = entropy.length;
  body.set(entropy, 1);
  body.set(seed, 1 + entropy.length);
  let at = 1 + entropy.length + SEED_LENGTH;
  body.set([Number(passphraseUsed), names.length >>> 8, names.length & 0xff], at);
  at += 3;
  for (const { kind, name, confirm } of names) {
    body.set([KINDS.get(kind)!, Number(confirm), name.length], at);
    body.set(Buffer.from(name, "latin1"), at + 3);
    at += 3 + name.length;
  }
  return body;
}

/**
 * Read what {@linkcode encodeBody} has written.
 *
 * @returns secrets in arrays of their own, the caller's to wipe; `undefined` if it is anything else.
 */
export function decodeBody(body: Uint8Array): VaultSecrets | undefined {
  const [entropyLength = 0] = body;
  const seedAt = 1 + entropyLength;
  const rest = seedAt + SEED_LENGTH;
  if (body.length < rest + 3) return undefined;
  const [used = 2, high = 0, low = 0] = body.subarray(rest, rest + 3);
  const names = decodeNames(body.subarray(rest + 3));
  if (used > 1 || names?.length !== high * 256 + low) return undefined;
  const views = {
    entropy: body.subarray(1, seedAt),
    seed: body.subarray(seedAt, rest),
    passphraseUsed: used === 1,
    names,
  };
  if (secretsProblem(views) !== undefined) return undefined;
  return { ...views, entropy: secretCopy(views.entropy), seed: secretCopy(views.seed) };
}

/** To the last byte, or not at all. */
function decodeNames(bytes: Uint8Array): NamedKey[] | undefined {
  const names: NamedKey[] = [];
  let at = 0;
  while (at < bytes.length && names.length < MAX_NAMES) {
    const [number = 0, confirm = 2, length = 0] = bytes.subarray(at, at + 3);
    const kind = KIND_OF.get(number);
    if (kind === undefined || confirm > 1) return undefined;
    const name = Buffer.from(bytes.subarray(at + 3, at + 3 + length)).toString("latin1");
    names.push({ kind, name, confirm: confirm === 1 });
    at += 3 + length;
  }
  return at === bytes.length ? names : undefined;
}
