/**
 * Ciphers of ours in the place of ssh2's, which make several objects and pieces for each packet: an upload of 1 GB by
 * ChaCha20 took 2.5 s of processor time, and takes 1.5.
 *
 * @module
 */

import { randomFillSync } from "node:crypto";
import { type GcmName, gcmOpener, gcmSealer } from "../aes-gcm.ts";
import { chachaOpener, chachaSealer } from "../chacha20-poly1305.ts";
import {
  free,
  HEAD,
  MAX_LENGTH,
  own,
  type PacketOpener,
  type PacketSealer,
  TAG_LENGTH,
} from "../packet-cipher.ts";
import type { Cipher, Decipher, Protocol } from "./insides.ts";

/** Put ours in the place of those that ssh2 has just made. The others, CTR with HMAC, stay. */
export function replaceCiphers(protocol: Protocol): void {
  const { _cipher: cipher, _decipher: decipher } = protocol;
  const sealer = sealerLike(cipher);
  if (sealer !== undefined) {
    protocol._cipher = sealing(sealer, cipher.outSeqno, (data) => protocol._onWrite(data));
  }
  const opener = openerLike(decipher);
  if (opener !== undefined) {
    protocol._decipher = opening(opener, decipher.inSeqno, decipher._onPayload);
    ours.add(protocol._decipher);
  }
}

/** Whether what is read is copied at once, and nothing holds on to it. */
export function isOurs(decipher: Decipher | undefined): boolean {
  return decipher !== undefined && ours.has(decipher);
}

const ours = new WeakSet<Decipher>();

function sealerLike(cipher: Cipher): PacketSealer | undefined {
  const { _encKeyMain: main, _encKeyPktLen: lengths, _encKey: key, _encIV: iv } = cipher;
  if (main !== undefined && lengths !== undefined) {
    return chachaSealer(Buffer.concat([main, lengths]));
  }
  if (key === undefined || iv === undefined) return undefined;
  return gcmSealer(cipher._encSSLName as GcmName, key, iv);
}

function openerLike(decipher: Decipher): PacketOpener | undefined {
  // A client that asks a person about the server's key may have begun with a packet.
  if ((decipher._lenPos ?? 0) > 0 || (decipher._lenBytes ?? 0) > 0) return undefined;
  const { _decKeyMain: main, _decKeyPktLen: lengths } = decipher;
  if (main !== undefined && lengths !== undefined) {
    return chachaOpener(Buffer.concat([main, lengths]));
  }
  const { _decipherKey: key, _decipherIV: iv } = decipher;
  if (key === undefined || iv === undefined) return undefined;
  return gcmOpener(decipher._decipherSSLName as GcmName, key, iv);
}

/** What paddings are made of, anew when it is used up. */
const random = Buffer.alloc(4_096);
let used = random.length;

function fillPadding(padding: Buffer): void {
  if (used + padding.length > random.length) {
    randomFillSync(random);
    used = 0;
  }
  padding.set(random.subarray(used, used + padding.length));
  used += padding.length;
}

function sealing(sealer: PacketSealer, sequence: number, write: (data: Buffer) => void): Cipher {
  let isOver = false;
  return {
    outSeqno: sequence,
    allocPacket(length) {
      const padding = 4 + ((sealer.block - ((1 + length + 4) % sealer.block)) % sealer.block);
      const packet = sealer.room(HEAD + 1 + length + padding);
      packet.writeUInt32BE(packet.length - HEAD);
      packet.writeUInt8(padding, HEAD);
      fillPadding(packet.subarray(-padding));
      return packet;
    },
    encrypt(packet) {
      if (isOver) return;
      const sealed = sealer.seal(packet, this.outSeqno);
      this.outSeqno = (this.outSeqno + 1) >>> 0;
      write(sealed);
    },
    free() {
      isOver = true;
    },
  };
}

function opening(
  opener: PacketOpener,
  sequence: number,
  onPayload: Decipher["_onPayload"],
): Decipher {
  /** The beginning of a packet, as much as there is; first its length, then room for all of it. */
  let begun: Buffer | undefined;
  let filled = 0;
  const head = Buffer.alloc(HEAD);

  function sizeOf(sealed: Buffer, number: number): number {
    const length = opener.lengthOf(sealed, number);
    if (length > MAX_LENGTH || length < opener.block || length % opener.block !== 0) {
      throw new Error(`cannot read a packet of ${length} bytes`);
    }
    return HEAD + length + TAG_LENGTH;
  }

  return {
    inSeqno: sequence,
    _onPayload: onPayload,
    free() {},
    decrypt(data, from, to) {
      let at = from;
      while (at < to) {
        const sealed = next(this.inSeqno);
        if (sealed === undefined) return undefined;
        const packet = own(opener.open(sealed, this.inSeqno));
        // What was put together of pieces.
        free(sealed);
        const end = packet.length - packet.readUInt8();
        if (end < 1) throw new Error("cannot read a packet that is shorter than its padding");
        // Before it is handed on: an exchange of keys may begin to count anew there.
        this.inSeqno = (this.inSeqno + 1) >>> 0;
        const result = this._onPayload(packet.subarray(1, end));
        if (result !== undefined) return result === false ? at : (result as number);
      }
      return undefined;

      /** The next packet, if all of it has come. */
      function next(number: number): Buffer | undefined {
        if (begun === undefined) {
          if (to - at >= HEAD) {
            const size = sizeOf(data.subarray(at, at + HEAD), number);
            if (to - at >= size) return data.subarray(at, (at += size));
            begun = own(Buffer.allocUnsafeSlow(size));
          } else {
            begun = head;
          }
        }
        if (begun === head && fill(head) && at < to) {
          begun = own(Buffer.allocUnsafeSlow(sizeOf(head, number)));
          begun.set(head);
        }
        if (begun === head || !fill(begun)) return undefined;
        const whole = begun;
        begun = undefined;
        filled = 0;
        return whole;
      }

      /** @returns whether it is full. */
      function fill(into: Buffer): boolean {
        const part = data.subarray(at, Math.min(to, at + into.length - filled));
        into.set(part, filled);
        at += part.length;
        filled += part.length;
        return filled === into.length;
      }
    },
  };
}
