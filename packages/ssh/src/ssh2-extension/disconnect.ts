/**
 * An end with a reason (RFC 4253 §11.1): that of ssh2 has no text, and clients show it.
 *
 * @module
 */

import type { Connection } from "ssh2";
import { insidesOf, type Protocol, sendPacket } from "./insides.ts";

const DISCONNECT = 1;
const BY_APPLICATION = 11;

/** Packets of this kind go out during an exchange of keys, too. */
interface DisconnectingProtocol extends Protocol {
  readonly _packetRW: Protocol["_packetRW"] & {
    readonly write: {
      readonly allocStartKEX: number;
      alloc(length: number, always: true): Buffer;
      finalize(packet: Buffer, always: true): Buffer;
    };
  };
}

/** Tell a client why it is let go. The transport is the caller's to end. */
export function sendDisconnect(client: Connection, reason: string): void {
  const protocol = insidesOf(client)._protocol as DisconnectingProtocol;
  const text = Buffer.from(reason);
  const { write } = protocol._packetRW;
  let at = write.allocStartKEX;
  const packet = write.alloc(1 + 4 + 4 + text.length + 4, true);
  at = packet.writeUInt8(DISCONNECT, at);
  at = packet.writeUInt32BE(BY_APPLICATION, at);
  at = packet.writeUInt32BE(text.length, at);
  at += text.copy(packet, at);
  packet.writeUInt32BE(0, at);
  sendPacket(protocol, write.finalize(packet, true), true);
}
