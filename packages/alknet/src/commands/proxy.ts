/**
 * `alknet proxy`: stdin and stdout as a connection to a peer's SSH server, for `ProxyCommand` of `ssh`.
 *
 * TLS proves the peer. What host key its server shows is written down for `ssh` before `ssh` is shown it: nobody has
 * to be asked whether it is the right one.
 *
 * @module
 */

import { nearestWord } from "@alknet/core/nearest-word";
import { isPeerName, type PeerEntry } from "@alknet/core/peers";
import { carrySsh } from "../carry-ssh.ts";
import { openClient } from "../client.ts";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { Interrupted } from "../interrupted.ts";
import { makeKnownHosts, pinHostKey, SUFFIX } from "../known-hosts.ts";
import { refusalOf } from "../refusal-of.ts";
import { sshFiles } from "../ssh-files.ts";
import { SSH_ALPN } from "../ssh-service.ts";
import { say } from "../terminal.ts";

export interface ProxyOptions {
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
}

/** @param host a peer's name, with or without `.alk`; or what else can be dialed, whose host key is not written down. */
export async function proxy(
  context: Context,
  host: string,
  { transports }: ProxyOptions,
): Promise<void> {
  const { home, terminal, interrupted } = context;
  const client = await openClient(context);
  try {
    const peer = peerCalled(host, client.peers);
    const { knownHosts } = sshFiles(home);
    makeKnownHosts(knownHosts);
    const { stream, connection } = await client.dialer.open(peer ?? host, SSH_ALPN, {
      signal: interrupted,
      transports,
    });
    const onabort = (): void => void stream.destroy();
    interrupted.addEventListener("abort", onabort, { once: true });
    const note = (why: string): void =>
      say(terminal, `alknet: the host key of ${host} is not written down: ${why}`);
    const onhostkey = async (key: Uint8Array): Promise<void> => {
      if (peer === undefined) return note("it is not called by a peer's name");
      await pinHostKey(knownHosts, peer, key).catch((error: Error) => note(error.message));
    };
    try {
      await carrySsh(stream, context.pipe(), { onhostkey, onlost: note });
    } catch (error) {
      throw await refusalOf(connection, error);
    }
  } catch (error) {
    throw interrupted.aborted ? new Interrupted() : error;
  } finally {
    await client.leave();
  }
}

/**
 * The name of the peer that `host` means; upper and lower case count as one.
 *
 * @returns `undefined` if it is no name.
 * @throws {CommandError} `PEER_UNKNOWN`
 */
function peerCalled(host: string, peers: readonly PeerEntry[]): string | undefined {
  const isAlk = host.toLowerCase().endsWith(SUFFIX);
  const name = (isAlk ? host.slice(0, -SUFFIX.length) : host).toLowerCase();
  const names = peers.map(({ peerId }) => peerId);
  const found = names.find((each) => each.toLowerCase() === name);
  if (found !== undefined || (!isAlk && !isPeerName(host))) return found;
  const near = nearestWord(name, names);
  throw new CommandError(`no peer is called ${JSON.stringify(name)}`, {
    code: "PEER_UNKNOWN",
    hint:
      near === undefined ? "see who is known: alknet peers" : `did you mean "${near}${SUFFIX}"?`,
    exitCode: ExitCode.USAGE,
  });
}
