/**
 * Nodes that are known by an address alone: the key that each had when it was first taken, a line each.
 *
 *     den.example.org:7433 ed25519:…
 *
 * @module
 */

import { appendFileSync, readFileSync } from "node:fs";

/** Fingerprint of the key that `address` was taken with; `undefined`: it was not. */
export function rememberedNode(path: string, address: string): string | undefined {
  return readLines(path)
    .map((line) => line.split(" "))
    .find(([known]) => known === address)?.[1];
}

/** From now on `address` has this key, and no other. */
export function rememberNode(path: string, address: string, fingerprint: string): void {
  appendFileSync(path, `${address} ${fingerprint}\n`, { mode: 0o600 });
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
