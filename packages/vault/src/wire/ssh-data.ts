/**
 * SSH's data types (RFC 4251 §5): `byte`, `boolean`, `uint32` big-endian, `string` behind its u32 length.
 *
 * @module
 */

/** Bytes that do not say what they should; the text quotes none of them. */
export class SshDataError extends Error {
  override readonly name = "SshDataError";
  readonly code = "SSH_DATA_INVALID";
}

/** Reads one value after the other. Strings are views, not copies. */
export class SshReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bytes that were not read yet. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  byte(): number {
    return this.#take(1)[0]!;
  }

  /** Strict: 0 or 1, where RFC 4251 lets any other byte mean true; one meaning has one spelling. */
  boolean(): boolean {
    const value = this.byte();
    if (value > 1) throw new SshDataError(`expected a boolean, got ${value}`);
    return value === 1;
  }

  uint32(): number {
    const [a, b, c, d] = this.#take(4);
    return ((a! << 24) | (b! << 16) | (c! << 8) | d!) >>> 0;
  }

  string(): Uint8Array {
    return this.#take(this.uint32());
  }

  /** A string that is UTF-8. */
  text(): string {
    const bytes = this.string();
    try {
      return utf8.decode(bytes);
    } catch (cause) {
      throw new SshDataError("expected UTF-8", { cause });
    }
  }

  /** Pass over the rest. */
  skip(): void {
    this.#at = this.#bytes.length;
  }

  /** @throws {SshDataError} if something follows. */
  end(): void {
    if (this.left > 0) throw new SshDataError(`expected an end, got ${this.left} more bytes`);
  }

  #take(length: number): Uint8Array {
    if (length > this.left) {
      throw new SshDataError(`expected ${length} more bytes, got ${this.left}`);
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A `string`: its length, then its bytes; of text, those of UTF-8. */
export function sshString(value: Uint8Array | string): Buffer {
  const length = typeof value === "string" ? Buffer.byteLength(value) : value.length;
  const bytes = Buffer.allocUnsafe(4 + length);
  bytes.writeUInt32BE(length);
  if (typeof value === "string") bytes.write(value, 4);
  else bytes.set(value, 4);
  return bytes;
}
