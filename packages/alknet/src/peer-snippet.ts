/**
 * The lines of `alknet.toml` that let a key in, ready to paste.
 *
 * @module
 */

/**
 * A `[peers.NAME]` table. Without scopes the key is known and may do nothing: the line stands there to be
 * filled in.
 */
export function peerSnippet(
  name: string,
  fingerprint: string,
  scopes: readonly string[] = [],
): string {
  const list = scopes.map((scope) => JSON.stringify(scope)).join(", ");
  const comment = scopes.length === 0 ? ' # e.g. "tunnel:dial:localhost:5432"' : "";
  return `[peers.${name}]\nfingerprint = "${fingerprint}"\nscopes = [${list}]${comment}`;
}
