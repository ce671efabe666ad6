/**
 * `SSH_CLIENT` and `SSH_CONNECTION`: where a connection is from, and where it came to.
 *
 * @module
 */

export interface ConnectionAddresses {
  /** `address:port` or `[address]:port`. */
  readonly remoteAddress: string | undefined;
  /** The same of this side. */
  readonly localAddress: string | undefined;
}

/** As sshd sets them; none if it is not known where the connection is from. */
export function connectionEnv({
  remoteAddress,
  localAddress,
}: ConnectionAddresses): Record<string, string> {
  const remote = addressAndPort(remoteAddress);
  if (remote === undefined) return {};
  const local = addressAndPort(localAddress) ?? ["UNKNOWN", "65535"];
  return {
    SSH_CLIENT: [...remote, local[1]].join(" "),
    SSH_CONNECTION: [...remote, ...local].join(" "),
  };
}

function addressAndPort(text: string | undefined): readonly [string, string] | undefined {
  const [, host, port] = /^\[?([^\]]+)\]?:(\d+)$/.exec(text ?? "") ?? [];
  return host === undefined || port === undefined ? undefined : [host, port];
}
