/**
 * Words of a command line that somebody will paste.
 *
 * @module
 */

/** `text` as one word of a POSIX shell: in single quotes where it has to be (POSIX XCU §2.2.2). */
export function shellWord(text: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
