/**
 * What systemd is told of a service of `Type=notify` (sd_notify(3)): ready, reloading, stopping.
 *
 * Node has no datagrams on Unix sockets, so that `systemd-notify`, which comes with systemd, sends them. The
 * unit needs `NotifyAccess=all`: the message is of a child's process.
 *
 * @module
 */

import { execFile } from "node:child_process";
import type { Logger } from "@alknet/core/log";

export type ServiceState = "ready" | "reloading" | "stopping";

/** Tell the service manager, if there is one. Never rejects. */
export type TellSystemd = (state: ServiceState) => Promise<void>;

/** How long `systemd-notify` may take, in milliseconds. */
const PATIENCE = 5_000;

export interface SystemdOptions {
  /** `NOTIFY_SOCKET`, as systemd sets it. Without it nobody is told. */
  readonly socket: string | undefined;
  readonly logger: Logger;
  /** @default "systemd-notify" */
  readonly command?: string | undefined;
}

/** Whoever calls this tells one thing after another, in order. */
export function systemdNotifier(options: SystemdOptions): TellSystemd {
  const { socket, logger, command = "systemd-notify" } = options;
  if (socket === undefined || socket === "") return async () => {};
  let warned = false;
  let last: Promise<void> = Promise.resolve();
  const send = (state: ServiceState): Promise<void> =>
    new Promise((resolve) => {
      const words = [`--pid=${process.pid}`, ...messageOf(state)];
      const env = { ...process.env, NOTIFY_SOCKET: socket };
      execFile(command, words, { env, timeout: PATIENCE }, (error) => {
        if (error !== null && !warned) {
          warned = true;
          logger.warn(
            { err: error },
            `cannot tell systemd that the node is ${state}: is ${command} installed?`,
          );
        }
        resolve();
      });
    });
  return (state) => (last = last.then(() => send(state)));
}

/** A reload ends with another "ready". */
function messageOf(state: ServiceState): string[] {
  switch (state) {
    case "ready":
      return ["READY=1", "STATUS=ready"];
    case "reloading":
      // In microseconds of the clock that systemd compares it with: CLOCK_MONOTONIC, which is Node's.
      return ["RELOADING=1", `MONOTONIC_USEC=${process.hrtime.bigint() / 1_000n}`];
    case "stopping":
      return ["STOPPING=1", "STATUS=draining"];
  }
}
