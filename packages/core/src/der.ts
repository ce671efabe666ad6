/**
 * DER (ITU-T X.690 §10), as much of it as certificates need: a strict reader and a writer.
 *
 * Strict means that one value has one encoding: definite and shortest lengths, one-byte tags. A reader
 * more lenient than the TLS stack's could find another key in a certificate than the one that was proved.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

/** Tags, with the class and the constructed bit. */
export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OBJECT_IDENTIFIER: 0x06,
  UTF8_STRING: 0x0c,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** One element; `content` and `whole` are views. */
export interface Element {
  readonly tag: number;
  readonly content: Uint8Array;
  /** With its tag and length. */
  readonly whole: Uint8Array;
}

/**
 * Read the element at `offset`.
 *
 * @throws {RangeError} if it is not DER, or reaches past the end of `bytes`.
 */
export function readElement(bytes: Uint8Array, offset: number): Element {
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if (tag === undefined || first === undefined) throw bad(offset, "expected a tag and a length");
  if ((tag & 0x1f) === 0x1f) throw bad(offset, "expected a tag of one byte");
  let start = offset + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    // Four bytes say 4 GiB: more than anything that is read here may have.
    if (count === 0 || count > 4)
      throw bad(offset, "expected a definite length of at most 4 bytes");
    length = 0;
    for (let end = start + count; start < end; start++) {
      const byte = bytes[start];
      if (byte === undefined) throw bad(offset, "the length is cut off");
      length = length * 256 + byte;
    }
    if (length < 0x80 || length < 256 ** (count - 1))
      throw bad(offset, "the length is not the shortest");
  }
  const end = start + length;
  if (end > bytes.length) throw bad(offset, `${end - bytes.length} bytes are missing`);
  return { tag, content: bytes.subarray(start, end), whole: bytes.subarray(offset, end) };
}

/** Read the elements that `bytes` consists of, at most `limit`. @throws {RangeError} as above. */
export function readElements(bytes: Uint8Array, limit: number): Element[] {
  const elements: Element[] = [];
  for (let offset = 0; offset < bytes.length;) {
    if (elements.length === limit) throw bad(offset, `expected at most ${limit} elements`);
    const element = readElement(bytes, offset);
    elements.push(element);
    offset += element.whole.length;
  }
  return elements;
}

/** Write an element; the content is the parts one after another. */
export function writeElement(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const header = [tag];
  if (length < 0x80) header.push(length);
  else {
    const bytes: number[] = [];
    for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
    header.push(0x80 | bytes.length, ...bytes);
  }
  const element = new Uint8Array(header.length + length);
  element.set(header);
  let at = header.length;
  for (const part of parts) {
    element.set(part, at);
    at += part.length;
  }
  return element;
}

function bad(offset: number, expected: string): RangeError {
  return new RangeError(`cannot read DER at byte ${offset}: ${expected}`);
}
