/**
 * `alknet proxy`: stdin and stdout as a connection to a peer's SSH server, for `ProxyCommand` of `ssh`.
 *
 * TLS proves the peer. What host key its server shows is written down for `ssh` before `ssh` is shown it: nobody has
 * to be asked whether it is the right one.
 *
 * @module
 */

import { CloseCode } from "@alknet/core/close-code";
import { carrySsh } from "../carry-ssh.ts";
import { openClient } from "../client.ts";
import type { Context } from "../context.ts";
import { setHeapBudget } from "../heap-budget.ts";
import { Interrupted } from "../interrupted.ts";
import { makeKnownHosts, pinHostKey } from "../known-hosts.ts";
import { peerCalled } from "../peer-called.ts";
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
  setHeapBudget();
  const { home, terminal, interrupted } = context;
  const client = await openClient(context);
  try {
    const peer = peerCalled(host, client.peers);
    const { knownHosts } = sshFiles(home);
    makeKnownHosts(knownHosts);
    const connection = await client.dialer.dial(peer ?? host, SSH_ALPN, {
      signal: interrupted,
      transports,
    });
    // `ssh` hangs up when it is done, whether its goodbye has left or not; the peer is not to wait for more.
    let over = false;
    const leave = (): void => {
      over = true;
      connection.abort(CloseCode.OK);
    };
    using _hangup = context.onhangup?.(leave);
    interrupted.addEventListener("abort", leave, { once: true });
    const note = (why: string): void =>
      say(terminal, `alknet: the host key of ${host} is not written down: ${why}`);
    const onhostkey = async (key: Uint8Array): Promise<void> => {
      if (peer === undefined) return note("it is not called by a peer's name");
      await pinHostKey(knownHosts, peer, key).catch((error: Error) => note(error.message));
    };
    try {
      await carrySsh(await connection.open(), context.pipe(), { onhostkey, onlost: note });
    } catch (error) {
      if (!over) throw await refusalOf(connection, error);
    } finally {
      leave();
    }
    if (interrupted.aborted) throw new Interrupted();
  } catch (error) {
    throw interrupted.aborted ? new Interrupted() : error;
  } finally {
    await client.leave();
  }
}
