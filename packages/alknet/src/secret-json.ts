/**
 * A secret for programs: JSON on stdout, which it passes through as bytes that are wiped.
 *
 * @module
 */

import { encodeBase64Bytes } from "@alknet/vault/base64-bytes";
import { wipe } from "@alknet/vault/wipe";
import type { Terminal } from "./terminal.ts";

/** One document, with the secret as base64, which is at no time part of a string. */
export async function printSecretJson(
  { data }: Terminal,
  document: object,
  secret: Uint8Array,
): Promise<void> {
  const text = encodeBase64Bytes(secret);
  try {
    data.write(`${JSON.stringify(document).slice(0, -1)},"base64":"`);
    await data.writeBytes(text);
    data.write('"}\n');
  } finally {
    wipe(text);
  }
}
