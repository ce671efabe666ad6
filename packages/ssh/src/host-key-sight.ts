/**
 * The host key that a server shows, seen by who carries the bytes of an SSH connection: the key goes in the clear, in the
 * answer to the key exchange, before anything is encrypted.
 *
 *     identification: lines, the last begins with "SSH-" (RFC 4253 §4.2)
 *     packet: u32 length · byte padding length · payload · padding            (§6, no MAC yet)
 *     payload: 20 KEXINIT … · 31 KEX_ECDH_REPLY: string host key, … · 21 NEWKEYS
 *
 * Whether the server has that key is not looked at: who checks its signature is the client, with all that goes into it.
 *
 * Pure: no I/O. It keeps at most {@linkcode MAX_SEEN} bytes.
 *
 * @module
 */

export type Sight =
  | { readonly kind: "looking" }
  /** @param hostKey RFC 8709 §4: 51 bytes, of which the last 32 are the Ed25519 key. */
  | { readonly kind: "seen"; readonly hostKey: Uint8Array }
  /** It will not be seen any more. */
  | { readonly kind: "lost"; readonly reason: string };

/** After so many bytes without a key it is given up: the longest identification, and packets of 35,000 bytes twice. */
export const MAX_SEEN: number = 80 * 1_024;

/** RFC 4253 §6.1 */
const MAX_PACKET = 35_000;
/** RFC 4253 §4.2 says 255 of the last one; OpenSSH takes this for each. */
const MAX_LINE = 8_192;

const LOOKING: Sight = { kind: "looking" };
const IGNORED = [2, 3, 4];
const [KEXINIT, NEWKEYS, REPLY] = [20, 21, 31];
const HOST_KEY = Buffer.from("\0\0\0\x0bssh-ed25519\0\0\0\x20", "latin1");

/**
 * Look for the host key in what a server sends.
 *
 * @returns a function that is given the bytes in order, in pieces of any length. What it answered to a piece is so as
 * soon as the last byte of that piece has come: who withholds the piece until it has used the key is in time.
 */
export function hostKeySight(): (bytes: Uint8Array) => Sight {
  const kept = Buffer.allocUnsafe(MAX_SEEN);
  let [at, length] = [0, 0];
  let greeted = false;
  let sight: Sight = LOOKING;
  let begun = false;

  const lost = (reason: string): Sight => ({ kind: "lost", reason });

  /** @returns `undefined` until more has come. */
  function line(): Sight | undefined {
    const end = kept.subarray(0, length).indexOf("\n", at);
    if (end < 0 && length - at <= MAX_LINE) return undefined;
    if (end < 0 || end - at > MAX_LINE) return lost("it does not speak SSH");
    greeted = kept.toString("latin1", at, at + 4) === "SSH-";
    at = end + 1;
    return LOOKING;
  }

  function packet(): Sight | undefined {
    if (length - at < 5) return undefined;
    const size = kept.readUInt32BE(at);
    const padding = kept[at + 4]!;
    if (
      size < 12 ||
      size > MAX_PACKET ||
      (size + 4) % 8 !== 0 ||
      padding < 4 ||
      padding + 2 > size
    ) {
      return lost("a packet is malformed");
    }
    if (length - at < 4 + size) return undefined;
    const payload = kept.subarray(at + 5, at + 4 + size - padding);
    at += 4 + size;
    return message(payload[0]!, payload.subarray(1));
  }

  function message(type: number, body: Buffer): Sight {
    if (IGNORED.includes(type)) return LOOKING;
    if (type === KEXINIT && !begun) {
      begun = true;
      return LOOKING;
    }
    if (type === NEWKEYS) return lost("keys were exchanged without one");
    if (type !== REPLY || !begun) return lost(`message ${type} has come before one`);
    const hostKey = body.subarray(4, 4 + 51);
    const isOurs =
      body.length >= 55 &&
      body.readUInt32BE(0) === 51 &&
      hostKey.subarray(0, HOST_KEY.length).equals(HOST_KEY);
    return isOurs
      ? { kind: "seen", hostKey: Uint8Array.from(hostKey) }
      : lost("it is not an Ed25519 key");
  }

  return (bytes) => {
    if (sight.kind !== "looking") return sight;
    const room = MAX_SEEN - length;
    kept.set(bytes.subarray(0, room), length);
    length += Math.min(bytes.length, room);
    let next: Sight | undefined;
    do {
      next = greeted ? packet() : line();
      sight = next ?? sight;
    } while (next === LOOKING);
    if (sight === LOOKING && length === MAX_SEEN) sight = lost("none has come for long");
    return sight;
  };
}
