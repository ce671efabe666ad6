/**
 * stdin and stdout as a connection that the far side makes, as `ssh -W` has it.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { finished } from "node:stream/promises";
import type { SshClient } from "@alknet/ssh/client";
import type { Context } from "./context.ts";
import type { ForwardPlace } from "./ssh-forward-spec.ts";
import type { SessionOutcome } from "./ssh-session.ts";
import type { SshTeller } from "./ssh-teller.ts";

/**
 * Carry both directions until both have ended.
 *
 * @throws what {@linkcode SshTeller.notConnected} makes of a refusal
 */
export async function carryPlace(
  context: Context,
  client: SshClient,
  place: ForwardPlace,
  teller: SshTeller,
): Promise<SessionOutcome> {
  const { input, output } = context.pipe();
  const channel: Duplex = await client.connect(place).catch((error: Error) => {
    throw teller.notConnected(place, error);
  });
  input.on("error", (error) => channel.destroy(error)).pipe(channel);
  channel.pipe(output, { end: false });
  try {
    await finished(channel);
    return { kind: "ended", status: 0 };
  } catch {
    return { kind: "lost" };
  } finally {
    input.unpipe(channel).pause();
  }
}
