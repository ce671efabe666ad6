/**
 * Paths from a seed to a key, `m/74'/0'/0'/0'`, and the ones that Alknet uses.
 *
 * A path is a one-way door: change one, and every key under it is another. The README has the table.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { CURRENT_KEY_VERSION, MAX_KEY_VERSION } from "./encrypted-data.ts";
import { VaultError } from "./vault-error.ts";

/** Added to a hardened index (BIP-32). */
export const HARDENED: number = 2 ** 31;
/** BIP-32 writes the depth in one byte. */
export const MAX_DEPTH = 255;

/** The node's Ed25519 identity; it is device 0. */
export const IDENTITY_PATH = "m/74'/0'/0'/0'";
/** The node's SSH host key. */
export const SSH_HOST_PATH = "m/74'/0'/1'/0'";
/** The first Ethereum account of the seed (BIP-44), secp256k1. */
export const ETHEREUM_PATH = "m/44'/60'/0'/0/0";

/** The key of device or worker `device`; 0 is the node itself. */
export function deviceKeyPath(device: number): string {
  return `m/74'/0'/0'/${index("device", device)}'`;
}

/**
 * The AES-256 key of a version: 2 is the first.
 *
 * @throws {VaultError} `INVALID_PATH` below 2; 1 was another program's format.
 */
export function encryptionKeyPath(version: number): string {
  if (!Number.isInteger(version) || version < 2 || version > MAX_KEY_VERSION) {
    throw invalid(
      `there is no key of version ${version}: they begin at 2, and ${CURRENT_KEY_VERSION} is current`,
    );
  }
  return `m/74'/2'/0'/${version - 2}'`;
}

/** The SSH user key called `name`; see {@linkcode NAMED_KEY}. */
export function sshKeyPath(name = "default"): string {
  return namedKeyPath(2, name);
}

/** The age identity called `name`. */
export function ageKeyPath(name = "default"): string {
  return namedKeyPath(3, name);
}

/** The pkarr key called `name`. */
export function pkarrKeyPath(name = "default"): string {
  return namedKeyPath(4, name);
}

/** What a key may be called. Strict, so that a name means one key on every machine. */
export const NAMED_KEY: RegExp = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/**
 * `m/74'/0'/{kind}'/{a}'/{b}'`, where a and b are the first two u32be of SHA-256 of the name, less their top bits.
 *
 * So a named key comes back from the words and its name alone: no list has to be kept.
 */
function namedKeyPath(kind: number, name: string): string {
  if (!NAMED_KEY.test(name)) {
    throw invalid(
      `a key cannot be called ${JSON.stringify(name.slice(0, 80))}: expected up to 63 of a-z, 0-9, ".", "_" and "-", beginning with a letter or digit`,
      "for example work-laptop",
    );
  }
  const hash = createHash("sha256").update(name).digest();
  const [a, b] = [hash.readUInt32BE(0), hash.readUInt32BE(4)].map((word) => word & 0x7fff_ffff);
  return `m/74'/0'/${kind}'/${a}'/${b}'`;
}

/**
 * The indices of a path, hardened ones with {@linkcode HARDENED} added. `'` and `h` mean the same.
 *
 * Strict: one suffix at most, no empty segment, no leading zero, an index below 2^31, at most 255 of them.
 *
 * @throws {VaultError} `INVALID_PATH`.
 */
export function parsePath(text: string): readonly number[] {
  if (text.length > 1 + MAX_DEPTH * 12) throw invalid("the path is too long", EXAMPLE);
  const [root, ...segments] = text.split("/");
  if (root !== "m") throw malformed(text, 'it must begin with "m"');
  if (segments.length > MAX_DEPTH) throw malformed(text, `it has more than ${MAX_DEPTH} levels`);
  return segments.map((segment) => {
    const [, digits, suffix] = /^(0|[1-9][0-9]{0,9})(['h]?)$/.exec(segment) ?? [];
    const value = Number(digits);
    // NaN where nothing matched, so "not below" and not "above".
    if (!(value < HARDENED)) {
      throw malformed(
        text,
        `${JSON.stringify(segment.slice(0, 20))} is no index from 0 to 2147483647, with "'" or "h" after it or nothing`,
      );
    }
    return suffix === "" ? value : value + HARDENED;
  });
}

/** The one spelling of a path, with `'`; {@linkcode parsePath} reads it. */
export function formatPath(indices: readonly number[]): string {
  const segments = indices.map((value) =>
    value < HARDENED ? `/${value}` : `/${value - HARDENED}'`,
  );
  return `m${segments.join("")}`;
}

function index(what: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value < HARDENED) return value;
  throw invalid(`${what} must be a whole number from 0 to 2147483647, got ${value}`);
}

function malformed(text: string, reason: string): VaultError {
  return invalid(`cannot read path ${JSON.stringify(text.slice(0, 80))}: ${reason}`, EXAMPLE);
}

const EXAMPLE = "for example m/74'/0'/0'/1'";

function invalid(message: string, hint?: string): VaultError {
  return new VaultError("INVALID_PATH", message, { hint });
}
