/**
 * Messages of the SSH agent protocol (draft-ietf-sshm-ssh-agent), as an agent reads and writes them.
 *
 * ```text
 * u32  length of what follows, at most 256 KiB
 * u8   number
 *      contents
 *
 * 11 identities   → 12: u32 n, n × (string blob, string comment)
 * 13 sign         string blob, string data, u32 flags → 14: string signature
 * 17 add          string type, key, string comment      25: the same and constraints
 * 18 remove       string blob
 * 19 remove all
 * 22 lock         string passphrase                     23: unlock
 * 27 extension    string name, contents                 → 29, or 28 failure
 * → 5 failure, 6 success
 * ```
 *
 * Of keys to add only Ed25519 ones are read: an agent whose keys come from a seed has no others.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { type Constraints, decodeConstraints } from "./ssh-agent-constraints.ts";
import { SshDataError, SshReader, sshString } from "./ssh-data.ts";

/** Longest message without its length, in bytes; OpenSSH's limit, too. */
export const MAX_MESSAGE: number = 256 * 1024;

/** What a client asks. Bytes are views of the message. */
export type AgentRequest =
  | { readonly kind: "identities" }
  | { readonly kind: "sign"; readonly key: Uint8Array; readonly data: Uint8Array }
  | {
      readonly kind: "add";
      readonly publicKey: Uint8Array;
      /** 32 bytes, not compared with the public key yet. */
      readonly privateKey: Uint8Array;
      /** Undefined: one of them is not known, so that the key must not be taken. */
      readonly constraints: Constraints | undefined;
    }
  | { readonly kind: "remove"; readonly key: Uint8Array }
  | { readonly kind: "remove-all" }
  | { readonly kind: "lock" | "unlock"; readonly passphrase: Uint8Array }
  | SessionBind
  | { readonly kind: "query" }
  /** Or a key that is no Ed25519 one. */
  | { readonly kind: "unknown" };

/** `session-bind@openssh.com`: the SSH connection that this connection to the agent is used for. */
export interface SessionBind {
  readonly kind: "session-bind";
  /** Blob of the server's host key. */
  readonly hostKey: Uint8Array;
  readonly sessionId: Uint8Array;
  /** The server's, over the session identifier. */
  readonly signature: Uint8Array;
  /** Whether the agent is forwarded to that server; otherwise it is used to log in there. */
  readonly forwarding: boolean;
}

const NUMBER = {
  FAILURE: 5,
  SUCCESS: 6,
  IDENTITIES: 11,
  IDENTITIES_ANSWER: 12,
  SIGN: 13,
  SIGN_RESPONSE: 14,
  ADD: 17,
  REMOVE: 18,
  REMOVE_ALL: 19,
  LOCK: 22,
  UNLOCK: 23,
  ADD_CONSTRAINED: 25,
  EXTENSION: 27,
  EXTENSION_FAILURE: 28,
  EXTENSION_RESPONSE: 29,
} as const;

/**
 * Read a message, without its length.
 *
 * @throws {SshDataError} if it is cut, or goes on behind its end.
 */
export function decodeRequest(message: Uint8Array): AgentRequest {
  const reader = new SshReader(message);
  const number = reader.byte();
  const request = decodeContents(number, reader);
  // What is behind the number of an unknown one is not known either.
  if (request.kind !== "unknown") reader.end();
  return request;
}

function decodeContents(number: number, reader: SshReader): AgentRequest {
  switch (number) {
    case NUMBER.IDENTITIES:
      return { kind: "identities" };
    case NUMBER.SIGN: {
      const [key, data] = [reader.string(), reader.string()];
      // The flags choose a hash for RSA keys, and say nothing about others.
      reader.uint32();
      return { kind: "sign", key, data };
    }
    case NUMBER.ADD:
    case NUMBER.ADD_CONSTRAINED:
      return decodeAdd(reader, number === NUMBER.ADD_CONSTRAINED);
    case NUMBER.REMOVE:
      return { kind: "remove", key: reader.string() };
    case NUMBER.REMOVE_ALL:
      return { kind: "remove-all" };
    case NUMBER.LOCK:
      return { kind: "lock", passphrase: reader.string() };
    case NUMBER.UNLOCK:
      return { kind: "unlock", passphrase: reader.string() };
    case NUMBER.EXTENSION:
      return decodeExtension(reader);
    default:
      return { kind: "unknown" };
  }
}

function decodeAdd(reader: SshReader, constrained: boolean): AgentRequest {
  const type = reader.string();
  if (Buffer.compare(type, ED25519) !== 0) return { kind: "unknown" };
  const publicKey = reader.string();
  // The seed, and the public key once more.
  const pair = reader.string();
  if (pair.length !== 64) throw new SshDataError(`expected 64 bytes, got ${pair.length}`);
  // The comment: that of a key of ours is known.
  reader.string();
  return {
    kind: "add",
    publicKey,
    privateKey: pair.subarray(0, 32),
    constraints: constrained ? decodeConstraints(reader) : {},
  };
}

const ED25519 = Buffer.from("ssh-ed25519");

function decodeExtension(reader: SshReader): AgentRequest {
  switch (reader.text()) {
    case "query":
      return { kind: "query" };
    case "session-bind@openssh.com":
      return {
        kind: "session-bind",
        hostKey: reader.string(),
        sessionId: reader.string(),
        signature: reader.string(),
        forwarding: reader.boolean(),
      };
    default:
      return { kind: "unknown" };
  }
}

/** A message with its length. */
function message(number: number, ...contents: readonly Uint8Array[]): Buffer {
  const head = Buffer.allocUnsafe(5);
  head.writeUInt32BE(contents.reduce((sum, { length }) => sum + length, 1));
  head[4] = number;
  return Buffer.concat([head, ...contents]);
}

export const FAILURE: Uint8Array = message(NUMBER.FAILURE);
export const SUCCESS: Uint8Array = message(NUMBER.SUCCESS);
/** An extension that is known could not be done. */
export const EXTENSION_FAILURE: Uint8Array = message(NUMBER.EXTENSION_FAILURE);
/** The answer to `query`. */
export const EXTENSIONS: Uint8Array = message(
  NUMBER.EXTENSION_RESPONSE,
  // The name that is answered, then the names of all.
  ...["query", "query", "session-bind@openssh.com"].map(sshString),
);

export function encodeIdentities(
  keys: readonly { readonly blob: Uint8Array; readonly comment: string }[],
): Uint8Array {
  const count = Buffer.allocUnsafe(4);
  count.writeUInt32BE(keys.length);
  const each = keys.flatMap(({ blob, comment }) => [sshString(blob), sshString(comment)]);
  return message(NUMBER.IDENTITIES_ANSWER, count, ...each);
}

/** @param signature 64 bytes of Ed25519 (RFC 8709 §6) */
export function encodeSignature(signature: Uint8Array): Uint8Array {
  const blob = Buffer.concat([sshString("ssh-ed25519"), sshString(signature)]);
  return message(NUMBER.SIGN_RESPONSE, sshString(blob));
}
