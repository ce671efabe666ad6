/**
 * What an SSH agent is asked to sign, told apart.
 *
 * An agent that signs whatever it is given lends its key to every protocol there is. Two things are signed with
 * an SSH user key, and both can be recognised beyond doubt; nothing that TLS signs can be taken for one of them:
 *
 * ```text
 * userauth (RFC 4252 §7)                         SSHSIG (OpenSSH, PROTOCOL.sshsig)
 *   string   session identifier, a hash            byte[6]  "SSHSIG"
 *   byte     50, SSH_MSG_USERAUTH_REQUEST          string   namespace, not empty
 *   string   user                                  string   reserved, empty
 *   string   "ssh-connection"                      string   "sha256" or "sha512"
 *   string   "publickey", or                       string   that hash of the message
 *            "publickey-hostbound-v00@openssh.com"
 *   boolean  true
 *   string   algorithm
 *   string   the key that signs
 *   string   the server's host key: hostbound only
 *
 * TLS 1.3 CertificateVerify (RFC 8446 §4.4.3) begins with 64 spaces: as a length, 538,976,288.
 * ```
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { SshDataError, SshReader } from "./ssh-data.ts";

/** Something that an SSH user key may sign. */
export type SignedData =
  | {
      readonly kind: "userauth";
      readonly user: string;
      /** A view. */
      readonly sessionId: Uint8Array;
      /** Blob of the server's host key, where the client tells it; a view. */
      readonly hostKey: Uint8Array | undefined;
    }
  | {
      readonly kind: "sshsig";
      /** What it is for: `git`, `file`, … */
      readonly namespace: string;
    };

const USERAUTH_REQUEST = 50;
const SSHSIG = Buffer.from("SSHSIG");

/** Lengths of the hashes that key exchanges use, in bytes: SHA-1 to SHA-512. */
const SESSION_ID_LENGTHS: readonly number[] = [20, 32, 48, 64];

const HASH_LENGTHS: Readonly<Record<string, number>> = { sha256: 32, sha512: 64 };

/**
 * Recognise what is to be signed by the Ed25519 key with this blob, down to the last byte.
 *
 * @returns undefined for all that is not exactly one of the two.
 */
export function recogniseSignedData(data: Uint8Array, keyBlob: Uint8Array): SignedData | undefined {
  try {
    return SSHSIG.equals(data.subarray(0, SSHSIG.length))
      ? sshsig(new SshReader(data.subarray(SSHSIG.length)))
      : userauth(new SshReader(data), keyBlob);
  } catch (error) {
    if (error instanceof SshDataError) return undefined;
    throw error;
  }
}

function sshsig(reader: SshReader): SignedData | undefined {
  const namespace = reader.text();
  const reserved = reader.string();
  const hash = reader.text();
  const digest = reader.string();
  reader.end();
  if (namespace === "" || reserved.length > 0) return undefined;
  if (!Object.hasOwn(HASH_LENGTHS, hash) || digest.length !== HASH_LENGTHS[hash]) return undefined;
  return { kind: "sshsig", namespace };
}

function userauth(reader: SshReader, keyBlob: Uint8Array): SignedData | undefined {
  const sessionId = reader.string();
  if (!SESSION_ID_LENGTHS.includes(sessionId.length)) return undefined;
  if (reader.byte() !== USERAUTH_REQUEST) return undefined;
  const user = reader.text();
  if (reader.text() !== "ssh-connection") return undefined;
  const method = reader.text();
  if (method !== "publickey" && method !== "publickey-hostbound-v00@openssh.com") return undefined;
  if (!reader.boolean()) return undefined;
  if (reader.text() !== "ssh-ed25519") return undefined;
  if (Buffer.compare(reader.string(), keyBlob) !== 0) return undefined;
  const hostKey = method === "publickey" ? undefined : reader.string();
  reader.end();
  return { kind: "userauth", user, sessionId, hostKey };
}
