/**
 * Records of a flow on a connection that has one stream (TCP+TLS): each direction is a row of
 *
 * ```text
 * u16 1 to 65,534    that many bytes of data follow
 * u16 0              end: no data follows in this direction
 * u16 65,535         reset: u32 code follows, then nothing; it may come after an end, and then tells that
 *                    the sender has stopped reading
 * ```
 *
 * big-endian. They are there because the end of a TCP connection proves nothing: anybody on the way can
 * forge one. What stops without an end record was cut.
 *
 * Pure: bytes in, events out; no data is copied.
 *
 * @module
 */

/** Most data in one record, in bytes. */
export const MAX_DATA: number = 65_534;

const END = 0;
const RESET = 65_535;

/** The two bytes before `length` bytes of data, 1 to {@linkcode MAX_DATA}. */
export function dataHeader(length: number): Buffer {
  if (!(length >= 1 && length <= MAX_DATA)) {
    throw new RangeError(`cannot frame ${length} bytes: expected 1 to ${MAX_DATA}`);
  }
  return Buffer.of(length >> 8, length & 0xff);
}

/** The end record. */
export const endRecord: Uint8Array = Buffer.of(0, 0);

/** A reset record; `code` is a close code, or the foreign number that came. */
export function resetRecord(code: number): Buffer {
  const record = Buffer.alloc(6);
  record.writeUInt16BE(RESET, 0);
  // A QUIC code has 62 bits and this field 32: what does not fit has no meaning for us either.
  record.writeUInt32BE(
    Number.isInteger(code) && code >= 0 && code <= 0xffff_ffff ? code : 0xffff_ffff,
    2,
  );
  return record;
}

/** What a {@linkcode RecordDecoder} found. */
export interface RecordEvents {
  /** Data, as a view into what was pushed. */
  data(bytes: Buffer): void;
  end(): void;
  reset(code: number): void;
}

/** Something came after a reset, or data after an end. */
export class RecordError extends Error {
  override readonly name = "RecordError";
  readonly code = "PROTOCOL";
}

/** Takes a byte stream apart into records. Holds at most six bytes. */
export class RecordDecoder {
  readonly #events: RecordEvents;
  /** Data bytes of the current record still to come. */
  #left = 0;
  /** Bytes of a header that a chunk cut in two. */
  #head: number[] = [];
  #state: "open" | "ended" | "reset" = "open";

  constructor(events: RecordEvents) {
    this.#events = events;
  }

  /** Whether a close of the connection beneath is one that the peer announced. */
  get ended(): boolean {
    return this.#state !== "open";
  }

  /**
   * Take the next bytes, however cut.
   *
   * @throws {RecordError} if data follows an end, or anything a reset.
   */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === "reset") {
        throw new RecordError(`cannot read flow: ${chunk.length - at} bytes after its reset`);
      }
      if (this.#left > 0) {
        const end = Math.min(chunk.length, at + this.#left);
        this.#left -= end - at;
        this.#events.data(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end));
        at = end;
        continue;
      }
      let length: number;
      if (this.#head.length === 0 && chunk.length - at >= 2) {
        length = chunk.readUInt16BE(at);
        at += 2;
      } else {
        this.#head.push(chunk[at++]!);
        if (this.#head.length < 2) continue;
        length = this.#head[0]! * 256 + this.#head[1]!;
      }
      if (length === RESET) {
        if (this.#head.length === 0) this.#head.push(0xff, 0xff);
        while (this.#head.length < 6 && at < chunk.length) this.#head.push(chunk[at++]!);
        if (this.#head.length < 6) return;
        const code = Buffer.from(this.#head).readUInt32BE(2);
        this.#state = "reset";
        this.#events.reset(code);
        continue;
      }
      this.#head.length = 0;
      if (this.#state === "ended") {
        throw new RecordError(`cannot read flow: record ${length} after its end, expected a reset`);
      }
      if (length === END) {
        this.#state = "ended";
        this.#events.end();
      } else {
        this.#left = length;
      }
    }
  }
}
