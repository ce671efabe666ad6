/**
 * ALPNs as node:tls hands them to OpenSSL.
 *
 * @module
 */

/**
 * A list of one ALPN, as it is on the wire: its length (u8), then a byte for each character (RFC 7301 §3.1).
 *
 * node:tls takes an array of names too, and needs 10 µs to make this of it, for each socket.
 *
 * @throws {RangeError} unless `alpn` has 1 to 255 characters.
 */
export function alpnList(alpn: string): Buffer {
  const { length } = alpn;
  if (length === 0 || length > 255) {
    throw new RangeError(`cannot offer an ALPN of ${length} characters: expected 1 to 255`);
  }
  const list = Buffer.allocUnsafe(1 + length);
  list[0] = length;
  list.write(alpn, 1, "latin1");
  return list;
}
