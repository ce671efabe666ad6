/**
 * Where a command writes: data for programs on one side, words for people on the other.
 *
 * @module
 */

/** A stream of text, and whether a person looks at it. */
export interface TextSink {
  readonly isTerminal: boolean;
  write(text: string): void;
}

export interface Terminal {
  /** What a program might read: stdout. */
  readonly data: TextSink;
  /** Words for people: stderr. */
  readonly words: TextSink;
}

/** One JSON document on a line of its own. */
export function printJson({ data }: Terminal, value: object): void {
  data.write(`${JSON.stringify(value)}\n`);
}

/** Lines of `name  value`, the values under each other. */
export function printFields(
  { data }: Terminal,
  fields: readonly (readonly [string, string])[],
): void {
  const width = Math.max(...fields.map(([name]) => name.length));
  data.write(fields.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join(""));
}

/** A line for people. */
export function say({ words }: Terminal, text: string): void {
  words.write(`${text}\n`);
}

/** What peers said, safe to show: no control characters. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, "\ufffd");
}
