/**
 * Who is at the other end: SSH user authentication (RFC 4252) by `publickey`, and by `none` for a peer that TLS has
 * proved already.
 *
 * A key that TLS proved is the peer's name in all that follows; an SSH key of another peer beside it is refused.
 *
 * @module
 */

import { createPublicKey } from "node:crypto";
import type { AuthContext, Identity } from "@alknet/core/access";
import { compileScopes } from "@alknet/core/scope";
import { parseSshPublicKey, type SshPublicKey } from "@alknet/core/ssh-public-key";
import ssh2, { type AuthContext as Request, type PublicKeyAuthContext } from "ssh2";
import { type Account, type Accounts, NoAccount } from "./account.ts";
import { isSignedByToken, isTokenKey } from "./security-token.ts";
import { USER_SIGNATURES } from "./ssh2-extension/extend.ts";

/** How a request was decided. */
export type Decision =
  | ({ readonly kind: "accept" } & Login)
  /** The key would do, and its signature is to come. */
  | { readonly kind: "probe" }
  /** `counts`: it was a try at getting in, not a question what there is. */
  | { readonly kind: "reject"; readonly reason: string; readonly counts: boolean };

export interface Login {
  readonly auth: AuthContext;
  readonly account: Account;
}

export interface AuthSource {
  /** Of the TLS connection beneath; `undefined`: there is none. */
  readonly transport: AuthContext | undefined;
  /** Who has the key, followed from now on; `undefined`: nobody. */
  identify(fingerprint: string): AuthContext | undefined;
  readonly accounts: Accounts;
}

/** Shortest RSA key, in bits. */
const MIN_RSA = 2_048;

/** Services whose rights are used by way of SSH. */
const SERVICES: readonly string[] = ["ssh", "sftp", "git", "tunnel"];

/** Decide one request. Nothing is remembered here; who asks too often is the caller's to count. */
export async function decide(request: Request, source: AuthSource): Promise<Decision> {
  switch (request.method) {
    case "none":
      return source.transport?.peer === undefined
        ? { kind: "reject", reason: "a key is asked for", counts: false }
        : admit(source.transport, request, source);
    case "publickey":
      return byKey(request, source);
    case "password":
    case "keyboard-interactive":
    case "hostbased":
      return reject(`method ${request.method} is not served`);
  }
}

async function byKey(request: PublicKeyAuthContext, source: AuthSource): Promise<Decision> {
  const { key: asked, signature, blob, hashAlgo } = request;
  const key = readKey(asked.algo, asked.data);
  // RSA with SHA-1 goes by the name of the key itself.
  const algorithm = hashAlgo === undefined ? asked.algo : `rsa-sha2-${hashAlgo.slice(3)}`;
  if (asked.algo.includes("-cert-v0")) {
    return reject("certificates of users are not served: a peer has its keys itself");
  }
  if (key === undefined || !USER_SIGNATURES.includes(algorithm)) {
    return reject(`a key of type ${JSON.stringify(asked.algo.slice(0, 64))} is not served`);
  }
  const auth = source.identify(key.fingerprint);
  if (auth?.peer === undefined) return reject(`key ${key.fingerprint} is nobody's`);
  const proved = source.transport?.peer;
  if (proved !== undefined && proved.id !== auth.peer.id) {
    return reject(
      `the SSH key is that of ${quoted(auth.peer)}, the connection ${quoted(proved)}'s`,
    );
  }
  const isProbe = signature === undefined || blob === undefined;
  if (!isProbe && !isSigned(key, blob, signature, hashAlgo))
    return reject("the signature is wrong");
  const decision = await admit(auth, request, source);
  return isProbe && decision.kind === "accept" ? { kind: "probe" } : decision;
}

async function admit(auth: AuthContext, request: Request, source: AuthSource): Promise<Decision> {
  const { peer } = auth;
  if (peer === undefined || auth.revoked.aborted) return takenBack();
  if (!hasRights(peer)) return reject(`${quoted(peer)} has no right that SSH serves`);
  try {
    const account = await source.accounts(peer, request.username);
    // While that was looked up.
    return auth.revoked.aborted ? takenBack() : { kind: "accept", auth, account };
  } catch (error) {
    if (error instanceof NoAccount) return reject(error.message);
    throw error;
  }
}

function takenBack(): Decision {
  return reject("the key was taken back");
}

function hasRights({ scopes }: Identity): boolean {
  const rights = compileScopes(scopes);
  const services = [...rights.services, ...[...rights.actions.keys()].map(serviceOf)];
  return rights.everything || services.some((each) => SERVICES.includes(each));
}

function serviceOf(action: string): string {
  return action.slice(0, action.indexOf(":"));
}

function readKey(type: string, blob: Buffer): SshPublicKey | undefined {
  try {
    return parseSshPublicKey(`${type} ${blob.toString("base64")}`);
  } catch {
    return undefined;
  }
}

/** @param signature as ssh2 has converted it for `node:crypto`. */
function isSigned(key: SshPublicKey, data: Buffer, signature: Buffer, hash?: string): boolean {
  if (isTokenKey(key)) return isSignedByToken(key, data, signature);
  const parsed = ssh2.utils.parseKey(`${key.type} ${Buffer.from(key.blob).toString("base64")}`);
  if (parsed instanceof Error) return false;
  if (key.type === "ssh-rsa") {
    const { asymmetricKeyDetails } = createPublicKey(parsed.getPublicPEM());
    if ((asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA) return false;
  }
  return parsed.verify(data, signature, hash) === true;
}

function reject(reason: string): Decision {
  return { kind: "reject", reason, counts: true };
}

function quoted(peer: Identity): string {
  return `peer ${JSON.stringify(peer.id)}`;
}
