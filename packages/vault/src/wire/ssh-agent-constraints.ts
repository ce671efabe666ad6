/**
 * Constraints that come with a key for an SSH agent (draft-ietf-sshm-ssh-agent §3.2.7, OpenSSH's PROTOCOL.agent §2).
 *
 * ```text
 * 1    u32 seconds
 * 2    confirm each use
 * 255  string "restrict-destination-v00@openssh.com", string of: n × string of
 *        string hop from, string hop to, string reserved
 *      hop: string user, string host, string reserved, m × (string key blob, boolean CA)
 * ```
 *
 * @module
 */

import { SshDataError, SshReader } from "./ssh-data.ts";

/** How the use of a key is bounded. */
export interface Constraints {
  /** In seconds. */
  readonly lifetime?: number | undefined;
  readonly confirm?: boolean | undefined;
  /** Where it may be used; undefined: everywhere. */
  readonly destinations?: readonly Destination[] | undefined;
}

/** A step that a key may be used for: from one host to the next. */
export interface Destination {
  /** Without keys: this machine. */
  readonly from: Hop;
  readonly to: Hop;
}

export interface Hop {
  /** A pattern with `*` and `?`; empty: any. */
  readonly user: string;
  /** For people. */
  readonly host: string;
  /** Blobs of its host keys; copies, for they outlive the message. */
  readonly keys: readonly Uint8Array[];
}

/** Most destinations, and most keys of one. */
const MAX_DESTINATIONS = 1_024;

/** @returns undefined if one of them is not known. @throws {SshDataError} */
export function decodeConstraints(reader: SshReader): Constraints | undefined {
  let lifetime: number | undefined;
  let confirm: boolean | undefined;
  let destinations: readonly Destination[] | undefined;
  let known = true;
  while (known && reader.left > 0) {
    switch (reader.byte()) {
      case 1:
        lifetime = reader.uint32();
        break;
      case 2:
        confirm = true;
        break;
      case 255:
        known = reader.text() === "restrict-destination-v00@openssh.com";
        if (known) destinations = decodeDestinations(new SshReader(reader.string()));
        break;
      default:
        known = false;
    }
  }
  if (known) return { lifetime, confirm, destinations };
  reader.skip();
  return undefined;
}

function decodeDestinations(reader: SshReader): Destination[] {
  return listOf(reader, () => {
    const each = new SshReader(reader.string());
    const from = decodeHop(each);
    const to = decodeHop(each);
    endReserved(each);
    // From a user: nobody can tell which. To anywhere: that would be no destination.
    if (from.user !== "" || to.keys.length === 0) {
      throw new SshDataError("expected a destination with host keys, from a host without user");
    }
    return { from, to };
  });
}

function decodeHop(outer: SshReader): Hop {
  const reader = new SshReader(outer.string());
  const [user, host] = [reader.text(), reader.text()];
  reader.string();
  const keys = listOf(reader, () => ({
    blob: Uint8Array.from(reader.string()),
    ca: reader.boolean(),
  }));
  // Taken for this machine once its authorities are left out, it would let in where nobody was meant to be.
  if (host === "" && keys.length > 0) throw new SshDataError("expected host keys to have a host");
  // Host certificates are not read, so what an authority has signed is never met.
  return { user, host, keys: keys.filter(({ ca }) => !ca).map(({ blob }) => blob) };
}

function endReserved(reader: SshReader): void {
  reader.string();
  reader.end();
}

function listOf<T>(reader: SshReader, next: () => T): T[] {
  const list: T[] = [];
  while (reader.left > 0) {
    if (list.length === MAX_DESTINATIONS) throw new SshDataError("too many in a list");
    list.push(next());
  }
  return list;
}
