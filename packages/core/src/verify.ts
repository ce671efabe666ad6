/**
 * Whether a server is the one that was meant.
 *
 * | known key for the target? | server shows | check |
 * |---|---|---|
 * | yes | Ed25519 leaf | fingerprint equal, signature verified; names and CAs ignored |
 * | yes | other leaf | `SHA256:` fingerprint equal |
 * | no | CA-signed certificate, and a host name was given | system CAs, host name and dates |
 * | no | anything else | refused, with the fingerprint seen and the command that would pin it |
 *
 * The signature, by which the server proves that it holds the key it shows, is checked by TLS before any
 * of this is asked.
 *
 * @module
 */

import tls from "node:tls";
import { fingerprintOfSpki } from "./fingerprint.ts";
import { fingerprintOfLeaf } from "./leaf-fingerprint.ts";

/** Whom a dial expects. */
export type Expected =
  /** One of these keys. */
  | {
      readonly kind: "pinned";
      readonly fingerprints: readonly string[];
      /** Name by which it is known here, if it is. */
      readonly peer?: string | undefined;
    }
  /** Whoever the system's CAs say has this name. */
  | { readonly kind: "name"; readonly host: string }
  /** An address and nothing else: nobody is good enough. */
  | { readonly kind: "unknown" };

/** What a server showed, with a signature that held. */
export interface Shown {
  /** The leaf, DER; or the SubjectPublicKeyInfo when `raw`. */
  readonly certificate: Buffer;
  readonly raw: boolean;
  /** Whether a CA of the system signed it for the host that was expected; why not otherwise. */
  readonly trusted: true | string;
  /** Where it was seen, `host:port`. */
  readonly address: string;
}

/** The server has another key than the one that is known for it. */
export class PeerKeyMismatch extends Error {
  override readonly name = "PeerKeyMismatch";
  readonly code = "PEER_KEY_MISMATCH";
  /** Fingerprint of what it showed. */
  readonly seen: string;
  readonly expected: readonly string[];
  readonly hint: string;

  constructor(
    seen: string,
    { fingerprints, peer }: Pick<Extract<Expected, { kind: "pinned" }>, "fingerprints" | "peer">,
    address: string,
    options?: ErrorOptions,
  ) {
    super(
      `wrong key at ${address}: expected ${fingerprints.join(" or ")}, and it showed ${seen}`,
      options,
    );
    this.seen = seen;
    this.expected = fingerprints;
    const todo = peer === undefined ? `, ${pinning(seen, address)}` : `: ${rotating(seen, peer)}`;
    this.hint = `somebody else answers there, or the peer has a new key: if its owner confirms ${seen}${todo}`;
  }
}

/** No key is known for the server, and no CA vouches for its name. */
export class PeerUnpinned extends Error {
  override readonly name = "PeerUnpinned";
  readonly code = "PEER_UNPINNED";
  /** Fingerprint of what it showed. */
  readonly seen: string;
  readonly hint: string;

  constructor(seen: string, why: string, address: string, options?: ErrorOptions) {
    super(`nobody vouches for ${address}: it showed ${seen}, and ${why}`, options);
    this.seen = seen;
    this.hint = `if its owner confirms ${seen}, ${pinning(seen, address)}`;
  }
}

function rotating(seen: string, peer: string): string {
  return `alknet peers rotate-key ${peer} ${seen}; or, where it stands in alknet.toml, fingerprint = "${seen}" in [peers.${peer}]`;
}

function pinning(seen: string, address: string): string {
  return `dial ${seen}@${address}, or give it a name: alknet peers add NAME ${seen} --address ${address}`;
}

/**
 * Judge a server.
 *
 * @returns its fingerprint.
 * @throws {PeerKeyMismatch | PeerUnpinned}
 * @throws {CertificateError} if its certificate is malformed or too large.
 */
export function verifyServer(expected: Expected, shown: Shown): string {
  const { certificate, raw, trusted, address } = shown;
  const seen = raw ? fingerprintOfSpki(certificate) : fingerprintOfLeaf(certificate);
  switch (expected.kind) {
    case "pinned":
      if (expected.fingerprints.includes(seen)) return seen;
      throw new PeerKeyMismatch(seen, expected, address);
    case "name":
      if (trusted === true) return seen;
      throw new PeerUnpinned(seen, `the system's CAs do not vouch for it: ${trusted}`, address);
    case "unknown":
      throw new PeerUnpinned(seen, "no key and no name was given to tell it by", address);
  }
}

let roots: readonly string[] | undefined;

/** CA certificates of the system, PEM; those that come with Node where the system has none. */
export function systemRoots(): readonly string[] {
  if (roots === undefined) {
    const system = tls.getCACertificates("system");
    roots = system.length > 0 ? system : tls.getCACertificates("bundled");
  }
  return roots;
}
