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

/** A sink that takes bytes, too. */
export interface DataSink extends TextSink {
  /** Resolves once they are out, and may be wiped. */
  writeBytes(bytes: Uint8Array): Promise<void>;
}

export interface Terminal {
  /** What a program might read: stdout. */
  readonly data: DataSink;
  /** Words for people: stderr. */
  readonly words: TextSink;
}

/** One JSON document on a line of its own. */
export function printJson({ data }: Terminal, value: object): void {
  data.write(`${JSON.stringify(value)}\n`);
}

/** Lines of `name  value`, the values under each other, each {@linkcode printable}. */
export function printFields(
  { data }: Terminal,
  fields: readonly (readonly [string, string])[],
): void {
  const width = Math.max(...fields.map(([name]) => name.length));
  const lines = fields.map(
    ([name, value]) => `${printable(name.padEnd(width))}  ${printable(value)}\n`,
  );
  data.write(lines.join(""));
}

/** Lines for people; of control characters only the ends of lines and tabs are kept. */
export function say({ words }: Terminal, text: string): void {
  words.write(`${text.replaceAll(/(?![\n\t])[\p{Cc}\p{Cf}]/gu, "\ufffd")}\n`);
}

/** What peers said, safe to show: no control characters. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, "\ufffd");
}
