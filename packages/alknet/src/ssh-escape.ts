/**
 * Escapes typed at the beginning of a line, as `ssh` has them: `~.` `~^Z` `~#` `~?` `~~`.
 *
 * @module
 */

/** What was typed: bytes for the far side, and what is asked of us. */
export type Typed =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "disconnect" | "suspend" | "forwards" | "help" };

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const ASKED: Readonly<Record<string, "disconnect" | "suspend" | "forwards" | "help">> = {
  ".": "disconnect",
  "\x1a": "suspend",
  "#": "forwards",
  "?": "help",
};

/** What `~?` prints. @param escape the character itself */
export function escapeHelp(escape: string): string {
  return [
    "Supported escape sequences:",
    ` ${escape}.   - terminate the connection`,
    ` ${escape}^Z  - suspend alknet`,
    ` ${escape}#   - list forwards`,
    ` ${escape}?   - this message`,
    ` ${escape}${escape}   - send the escape character by typing it twice`,
    "(Escapes are only recognized immediately after newline.)",
    "",
  ].join("\r\n");
}

/**
 * Read an escape character as `-e` takes it: a character, `^X` for a control character, or `none`.
 *
 * @returns its code, or `undefined` for none.
 * @throws {SyntaxError}
 */
export function parseEscape(text: string): number | undefined {
  if (text === "none") return undefined;
  const [, control, character = ""] = /^(\^)?([\x21-\x7e])$/.exec(text) ?? [];
  if (character === "") {
    throw new SyntaxError(
      `cannot use ${JSON.stringify(text.slice(0, 20))} as escape: expected a character, ^X, or none`,
    );
  }
  const code = character.charCodeAt(0);
  return control === undefined ? code : code & 0x1f;
}

/** @param escape its code; `undefined`: nothing is an escape. @returns what takes the next piece that was typed. */
export function escapes(escape: number | undefined): (typed: Uint8Array) => readonly Typed[] {
  let isLineStart = true;
  let isPending = false;
  return (typed) => {
    if (escape === undefined) return [{ kind: "bytes", bytes: typed }];
    const found: Typed[] = [];
    let bytes: number[] = [];
    const flush = (): void => {
      if (bytes.length > 0) found.push({ kind: "bytes", bytes: Uint8Array.from(bytes) });
      bytes = [];
    };
    for (const byte of typed) {
      if (isPending) {
        isPending = false;
        const asked = ASKED[String.fromCharCode(byte)];
        if (asked !== undefined) {
          flush();
          found.push({ kind: asked });
          isLineStart = true;
          continue;
        }
        // Twice is once; before anything else it was no escape.
        bytes.push(escape);
        isLineStart = false;
        if (byte === escape) continue;
      } else if (isLineStart && byte === escape) {
        isPending = true;
        continue;
      }
      bytes.push(byte);
      isLineStart = byte === NEWLINE || byte === RETURN;
    }
    flush();
    return found;
  };
}
