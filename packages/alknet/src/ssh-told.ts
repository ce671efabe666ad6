/**
 * What a node of Alknet tells of a request that it refused, beside the answer, which has no room for a reason: in a
 * message for who wants details (RFC 4253 §11.3).
 *
 * @module
 */

import { parseScope } from "@alknet/core/scope";

/** Why it does not listen; `undefined`: that was not told. */
export function whyNotListening(told: string | undefined): string | undefined {
  return /^alknet: cannot listen: (.+)$/s.exec(told ?? "")?.[1];
}

/** Where it listens no more, since its right is gone; `undefined`: it was not about that. */
export function listensNoMore(told: string): string | undefined {
  return /^alknet: listens no more on (.+)$/s.exec(told)?.[1];
}

/** The scope that lacks; `undefined`: none was told. The text comes from the peer, and may say anything. */
export function lackingScope(told: string | undefined): string | undefined {
  const [, scope] = / this key lacks (.+)$/s.exec(told ?? "") ?? [];
  try {
    return scope && parseScope(scope).text;
  } catch {
    return undefined;
  }
}
