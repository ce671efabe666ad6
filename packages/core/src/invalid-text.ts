/**
 * The error of every parser here: a `SyntaxError` with a stable `code`.
 *
 * @module
 */

/** Text that a person or a peer wrote and that does not parse. */
export type InvalidText = SyntaxError & { readonly code: string };

/**
 * Make the error for `text`: `cannot parse <what> "<text>": <expected>`.
 *
 * The text is quoted, and cut at 100 characters: it may be long, and it may come from a peer.
 */
export function invalidText(
  code: string,
  what: string,
  text: string,
  expected: string,
): InvalidText {
  const quoted = JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
  return Object.assign(new SyntaxError(`cannot parse ${what} ${quoted}: ${expected}`), { code });
}
