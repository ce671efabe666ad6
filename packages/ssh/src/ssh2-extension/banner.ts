/**
 * Words to who is logging in (RFC 4252 §5.4): ssh2 has but one text, for everybody, at the beginning.
 *
 * @module
 */

import type { Connection } from "ssh2";
import { insidesOf, sendPacket } from "./insides.ts";

const USERAUTH_BANNER = 53;

/** Send a line that clients show. Only before the login has succeeded. */
export function sendBanner(client: Connection, line: string): void {
  const { _protocol: protocol } = insidesOf(client);
  const { write } = protocol._packetRW;
  const text = Buffer.from(`${line}\r\n`);
  let at = write.allocStart;
  const packet = write.alloc(1 + 4 + text.length + 4);
  at = packet.writeUInt8(USERAUTH_BANNER, at);
  at = packet.writeUInt32BE(text.length, at);
  at += text.copy(packet, at);
  // In no language that is named.
  packet.writeUInt32BE(0, at);
  sendPacket(protocol, write.finalize(packet));
}
