/**
 * Modes of the terminal that a client asks for: ssh2 reads them from the wrong byte on, and so finds none.
 *
 * @module
 */

import { messageHandlers, type Protocol } from "./insides.ts";
import { decodeTerminalModes, type TerminalModes } from "../terminal-modes.ts";

const CHANNEL_REQUEST = 98;
const PTY_REQUEST = "pty-req";

const NONE: TerminalModes = new Map();
let asked: TerminalModes = NONE;

const handle = messageHandlers[CHANNEL_REQUEST]!;
messageHandlers[CHANNEL_REQUEST] = (protocol: Protocol, payload: Buffer) => {
  const start = modesOf(payload);
  if (start === undefined) return handle(protocol, payload);
  asked = decodeTerminalModes(payload.subarray(start));
  try {
    // What it makes of these bytes may end the connection.
    handle(protocol, withoutModes(payload, start));
  } finally {
    asked = NONE;
  }
};

/** To be called in a session's `pty` event. */
export function requestedModes(): TerminalModes {
  return asked;
}

/** RFC 4254 §6.2: where the modes of a `pty-req` begin, behind their length; `undefined`: it is another request. */
function modesOf(payload: Buffer): number | undefined {
  const type = textEnd(payload, 5);
  if (type === undefined || payload.toString("latin1", 9, type) !== PTY_REQUEST) return undefined;
  // Whether a reply is wanted; TERM; four sides of the window.
  const terminal = textEnd(payload, type + 1);
  const modes = terminal === undefined ? undefined : terminal + 16;
  return modes === undefined || textEnd(payload, modes) === undefined ? undefined : modes + 4;
}

/** The list is empty then, with its end alone. */
function withoutModes(payload: Buffer, start: number): Buffer {
  const copy = Buffer.alloc(start + 1);
  payload.copy(copy, 0, 0, start);
  copy.writeUInt32BE(1, start - 4);
  return copy;
}

/** Where a string that begins at `at` with its length ends; `undefined`: it is cut off. */
function textEnd(payload: Buffer, at: number): number | undefined {
  if (at + 4 > payload.length) return undefined;
  const end = at + 4 + payload.readUInt32BE(at);
  return end > payload.length ? undefined : end;
}
