/**
 * Look for bytes in another process's memory, as a debugger or a core dump would (Linux).
 *
 * The one who looks is another process on purpose: the memory of whoever holds a needle contains it.
 *
 * @module
 */

import { closeSync, openSync, readFileSync, readSync } from "node:fs";

/** How much is read at once, in bytes. */
const CHUNK = 2 ** 20;

/** Where a needle was. */
export interface Finding {
  /** Its name. */
  readonly needle: string;
  /** As `/proc/PID/maps` calls it: `[heap]`, `[stack]`, a file, or `anonymous`. */
  readonly region: string;
  readonly address: bigint;
}

/**
 * Every place of every needle in the writable memory of process `pid`.
 *
 * @param needles by name, each of at least 4 bytes.
 */
export function scanMemory(
  pid: number,
  needles: ReadonlyMap<string, Uint8Array>,
): readonly Finding[] {
  const search = searcher(needles);
  const findings: Finding[] = [];
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const chunk = Buffer.allocUnsafe(CHUNK);
  try {
    for (const { begin, end, name } of writableRegions(pid)) {
      // Chunks overlap, so that a needle across two is found in one.
      for (let at = begin; at < end; at += BigInt(CHUNK - search.longest)) {
        const wanted = Math.min(CHUNK, Number(end - at));
        let length: number;
        try {
          length = readSync(memory, chunk, 0, wanted, at);
        } catch (error) {
          // A region that ended meanwhile, or that no page stands behind.
          if ((error as NodeJS.ErrnoException).code === "EIO") break;
          throw error;
        }
        for (const { needle, offset } of search.in(chunk.subarray(0, length))) {
          findings.push({ needle, region: name, address: at + BigInt(offset) });
        }
      }
    }
  } finally {
    closeSync(memory);
  }
  return findings;
}

/** The names of the needles that are in `haystack`. */
export function scanBytes(
  haystack: Buffer,
  needles: ReadonlyMap<string, Uint8Array>,
): readonly string[] {
  return [...searcher(needles).in(haystack)].map(({ needle }) => needle);
}

function writableRegions(pid: number) {
  return readFileSync(`/proc/${pid}/maps`, "utf8")
    .trimEnd()
    .split("\n")
    .flatMap((line) => {
      const [, begin, end, name] =
        /^([0-9a-f]+)-([0-9a-f]+) .w\S* \S+ \S+ \S+\s*(.*)$/.exec(line) ?? [];
      if (begin === undefined) return [];
      return [{ begin: BigInt(`0x${begin}`), end: BigInt(`0x${end}`), name: name || "anonymous" }];
    });
}

/**
 * All needles in one pass: every place costs one look-up of the two bytes there.
 *
 * Most memory is zeros, so a needle is known by two bytes of it that are not both the same.
 */
function searcher(needles: ReadonlyMap<string, Uint8Array>) {
  const anchored = new Uint8Array(2 ** 16);
  const byAnchor = new Map<number, { name: string; bytes: Buffer; anchor: number }[]>();
  let longest = 0;
  for (const [name, needle] of needles) {
    const bytes = Buffer.from(needle);
    const anchor = bytes.findIndex((byte, at) => at + 1 < bytes.length && byte !== bytes[at + 1]);
    if (anchor < 0) throw new RangeError(`cannot look for ${name}: its bytes are all the same`);
    const pair = bytes.readUInt16LE(anchor);
    anchored[pair] = 1;
    byAnchor.set(pair, [...(byAnchor.get(pair) ?? []), { name, bytes, anchor }]);
    longest = Math.max(longest, bytes.length);
  }
  return {
    longest,
    *in(haystack: Buffer) {
      for (let at = 0; at + 1 < haystack.length; at += 1) {
        const pair = haystack[at]! | (haystack[at + 1]! << 8);
        if (anchored[pair] === 0) continue;
        for (const { name, bytes, anchor } of byAnchor.get(pair)!) {
          const offset = at - anchor;
          // compare() on offsets makes no view for each place.
          if (offset < 0 || offset + bytes.length > haystack.length) continue;
          if (haystack.compare(bytes, 0, bytes.length, offset, offset + bytes.length) === 0) {
            yield { needle: name, offset };
          }
        }
      }
    },
  };
}
