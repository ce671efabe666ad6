/**
 * Sealed data in a frame of `vault.sock`: `data` as its bytes, the rest in the header.
 *
 * @module
 */

import {
  type EncryptedData,
  encryptedDataToJson,
  parseEncryptedData,
  TAG_LENGTH,
} from "@alknet/vault/encrypted-data";
import type { Frame } from "./vault-agent-frame.ts";

/** Stands in for data where its other fields are written and read: as long as the shortest. */
const NO_DATA = new Uint8Array(TAG_LENGTH);

export function sealedFrame(sealed: EncryptedData): Frame {
  const { key_version, salt, iv } = encryptedDataToJson({ ...sealed, data: NO_DATA });
  return { header: { sealed: { key_version, salt, iv } }, bytes: sealed.data };
}

/** What {@linkcode sealedFrame} has made. @throws {VaultError} `ENCRYPTED_DATA_INVALID` */
export function sealedOf({ header, bytes }: Frame): EncryptedData {
  const data = Buffer.from(NO_DATA).toString("base64");
  const rest = parseEncryptedData({ ...Object(header["sealed"]), data });
  return { ...rest, data: Uint8Array.from(bytes) };
}
