/**
 * A message of which a field is longer than what is left of it ends the connection, before anybody handles it: ssh2 looks
 * at the last field alone, and hands over `undefined` for those in front.
 *
 * Each of its messages is read by one parser, which all connections share.
 *
 * @module
 */

import { createRequire } from "node:module";
import { fail, messageHandlers } from "./insides.ts";

/** Each is given what it reads as `undefined` where that is cut off. */
const READS = [
  ...["readUInt32BE", "readBool", "readByte", "readString", "skipString", "readRaw"],
] as const;

type Read = (...args: unknown[]) => unknown;

const require = createRequire(import.meta.url);
const { bufferParser: parser } = require("ssh2/lib/protocol/utils.js") as {
  /** `clear` is called when all is read that will be, before the message is handled. */
  readonly bufferParser: Record<(typeof READS)[number] | "clear", Read>;
};

/** The message that is being read. */
let message: { isCut: boolean } | undefined;

for (const name of READS) {
  const read = parser[name];
  parser[name] = (...args) => {
    const value = read(...args);
    if (value === undefined && message !== undefined) message.isCut = true;
    return value;
  };
}

const clear = parser.clear;
parser.clear = () => {
  clear();
  const { isCut } = message ?? { isCut: false };
  // What handling it leads to may be reading of others.
  message = undefined;
  if (isCut) throw new RangeError("a field is longer than its message");
};

for (const [number, handle] of messageHandlers.entries()) {
  if (handle === undefined) continue;
  messageHandlers[number] = (protocol, payload) => {
    const own = { isCut: false };
    message = own;
    try {
      return handle(protocol, payload);
    } catch (error) {
      if (!own.isCut) throw error;
      fail(protocol, `message ${number} is malformed`);
    } finally {
      message = undefined;
    }
  };
}
