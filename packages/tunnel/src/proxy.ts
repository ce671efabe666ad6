/**
 * The outbound proxy of a node: all TCP that it opens for peers goes through it, and nothing around it.
 *
 * @module
 */

import { normalName, parseHost } from "@alknet/core/host";
import { isIP } from "node:net";

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** A proxy as {@linkcode parseProxy} has read it. */
export interface Proxy {
  readonly kind: "socks5" | "http";
  /** A name, which this machine resolves, or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** A function, so that nothing that writes out properties writes out a password. */
  readonly credentials: (() => Credentials) | undefined;
}

/** Longest user and password, in bytes: RFC 1929 §2. */
const MAX_CREDENTIAL = 255;

const DEFAULT_PORTS = { socks5: 1080, http: 80 } as const;

/**
 * Parse `socks5://[user[:password]@]host[:port]` or `http://…`. `socks5h` is the same as `socks5`: names are never resolved
 * here. User and password are percent-encoded; ports are 1080 and 80 unless given.
 *
 * @param password takes the place of one in the text, which then must have a user.
 * @throws {SyntaxError} if `text` is anything else. The message does not quote it: it may contain a password.
 */
export function parseProxy(text: string, password?: string): Proxy {
  const match =
    /^(?<scheme>socks5h?|http):\/\/(?:(?<user>[^:@/?#]*)(?::(?<password>[^@/?#]*))?@)?(?<host>\[[^\]]*\]|[^:@/?#[\]]+)(?::(?<port>[0-9]{1,5}))?\/?$/i.exec(
      text,
    );
  const { scheme, host, port, ...login } = match?.groups ?? {};
  if (scheme === undefined || host === undefined) {
    throw wrong(
      'expected "socks5://host:port" or "http://host:port", with "user:password@" before the host if it asks for that',
    );
  }
  const kind = scheme.toLowerCase() === "http" ? "http" : "socks5";
  const number = port === undefined ? DEFAULT_PORTS[kind] : Number(port);
  if (number < 1 || number > 65_535) throw wrong("expected as port 1 to 65535");
  return {
    kind,
    host: parseProxyHost(host),
    port: number,
    credentials: credentialsOf(kind, login.user, password ?? login.password),
  };
}

function parseProxyHost(text: string): string {
  const bare = text.startsWith("[") ? text.slice(1, -1) : text;
  if (isIP(bare) !== 0 && !bare.includes("%")) return bare;
  const host = parseHost(bare);
  const name = host?.kind === "name" ? normalName(bare) : undefined;
  if (name === undefined || text.startsWith("[")) {
    throw wrong(`expected ${JSON.stringify(text.slice(0, 100))} to be a name or an address`);
  }
  return name;
}

function credentialsOf(
  kind: Proxy["kind"],
  user: string | undefined,
  password: string | undefined,
): Proxy["credentials"] {
  if (user === undefined) {
    if (password === undefined) return undefined;
    throw wrong("there is a password, but no user before its host");
  }
  if (password === undefined) throw wrong("there is a user, but no password");
  const credentials = { user: decoded(user), password: decoded(password) };
  for (const value of [credentials.user, credentials.password]) {
    const length = Buffer.byteLength(value);
    if (length < 1 || length > MAX_CREDENTIAL) {
      throw wrong(`expected user and password of 1 to ${MAX_CREDENTIAL} bytes`);
    }
  }
  // RFC 7617 §2: the first colon ends the user.
  if (kind === "http" && credentials.user.includes(":"))
    throw wrong('the user must not contain ":"');
  return () => credentials;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong('user and password must be percent-encoded: write "%25" for "%"');
  }
}

function wrong(reason: string): SyntaxError {
  return new SyntaxError(`cannot parse the address of the proxy: ${reason}`);
}
