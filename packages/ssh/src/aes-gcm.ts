/**
 * `aes128-gcm@openssh.com` and `aes256-gcm@openssh.com` (RFC 5647, as OpenSSH has it: lengths are in the clear, and what
 * the tag covers beside).
 *
 * @module
 */

import { createCipheriv, createDecipheriv } from "node:crypto";
import {
  free,
  HEAD,
  MAX_LENGTH,
  own,
  type PacketOpener,
  type PacketSealer,
  TAG_LENGTH,
} from "./packet-cipher.ts";

export type GcmName = "aes-128-gcm" | "aes-256-gcm";

const room = Buffer.alloc(HEAD + MAX_LENGTH);

/** @param iv 12 bytes: four that are fixed, and a number of eight that is counted up with each packet (§7.1). */
export function gcmSealer(name: GcmName, key: Uint8Array, iv: Uint8Array): PacketSealer {
  const nonce = Buffer.from(iv);
  return {
    block: 16,
    room: (length) => (length > room.length ? Buffer.alloc(length) : room.subarray(0, length)),
    seal(packet) {
      const cipher = createCipheriv(name, key, nonce);
      countUp(nonce);
      cipher.setAAD(packet.subarray(0, HEAD));
      const bytes = own(cipher.update(packet.subarray(HEAD)));
      cipher.final();
      const sealed = own(Buffer.allocUnsafeSlow(packet.length + TAG_LENGTH));
      sealed.set(packet.subarray(0, HEAD));
      sealed.set(bytes, HEAD);
      sealed.set(cipher.getAuthTag(), packet.length);
      free(bytes);
      return sealed;
    },
  };
}

/** @param iv as with {@linkcode gcmSealer}. */
export function gcmOpener(name: GcmName, key: Uint8Array, iv: Uint8Array): PacketOpener {
  const nonce = Buffer.from(iv);
  return {
    block: 16,
    lengthOf: (sealed) => sealed.readUInt32BE(),
    open(sealed) {
      const cipher = createDecipheriv(name, key, nonce);
      countUp(nonce);
      const end = sealed.length - TAG_LENGTH;
      cipher.setAAD(sealed.subarray(0, HEAD));
      cipher.setAuthTag(sealed.subarray(end));
      const opened = cipher.update(sealed.subarray(HEAD, end));
      cipher.final();
      return opened;
    },
  };
}

function countUp(nonce: Buffer): void {
  const low = (nonce.readUInt32BE(8) + 1) >>> 0;
  nonce.writeUInt32BE(low, 8);
  if (low === 0) nonce.writeUInt32BE((nonce.readUInt32BE(4) + 1) >>> 0, 4);
}
