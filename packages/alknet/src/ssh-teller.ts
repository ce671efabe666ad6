/**
 * What `alknet ssh` says while it runs: words on stderr, and with `--json` events on stdout.
 *
 * @module
 */

import type { Connection } from "@alknet/core/connection";
import type { SshClient } from "@alknet/ssh/client";
import type { SshClientError } from "@alknet/ssh/client-error";
import { CommandError, ExitCode } from "./command-error.ts";
import { explain } from "./explain.ts";
import { shellWord } from "./shell-word.ts";
import { formatPlace, type ForwardPlace, type SshForward } from "./ssh-forward-spec.ts";
import { describeForward } from "./ssh-forwards.ts";
import { lackingScope, whyNotListening } from "./ssh-told.ts";
import { warningOf, withoutTarget } from "./tell-flows.ts";
import { printable, printJson, say, type Terminal } from "./terminal.ts";

export interface SshTeller {
  /** Show that it takes its time, on a terminal. */
  whileConnecting<Result>(connecting: Promise<Result>): Promise<Result>;
  connected(connection: Connection, client: SshClient): void;
  listening(forward: SshForward, place: ForwardPlace, side: "local" | "remote"): void;
  /** A forwarded connection came to nothing. */
  refused(forward: SshForward, error: Error, asked: ForwardPlace | undefined): void;
  /** The far side does not connect to where all was to go. @returns what to end with */
  notConnected(to: ForwardPlace, error: Error): CommandError;
  /** The far side does not listen. @param told by it, beside that. @returns what to end with */
  notListening(forward: SshForward, error: Error, told: string | undefined): CommandError;
  /** The far side listens there no more. */
  stopped(place: string): void;
  /** The program runs without what was asked for. */
  notGiven(what: "agent" | "terminal"): void;
  /** @param delay until the next try, in milliseconds; `undefined`: there is none */
  lost(error: Error, delay: number | undefined): void;
  readonly note: (text: string) => void;
  /** Those that listen, in words. */
  forwards(): readonly string[];
}

/** With nothing to show for so long, in milliseconds, a person is told what is waited for. */
const PATIENCE = 1_000;
/** RFC 4254 §5.1 */
const PROHIBITED = 1;
/** Of the SSH client's own error, which is told of already. */
const LOST_BEFORE = /^the SSH connection was lost: /;

export function sshTeller(
  terminal: Terminal,
  { json, target, fingerprint }: { json: boolean; target: string; fingerprint: string },
): SshTeller {
  const listening = new Map<SshForward, string>();
  const { words } = terminal;
  let isLost = false;
  const note = (text: string): void => say(terminal, `alknet: ${text}`);
  return {
    note,
    async whileConnecting(connecting) {
      let isShown = false;
      const late = setTimeout(() => {
        isShown = words.isTerminal;
        if (isShown) words.write(`connecting to ${target}…`);
      }, PATIENCE);
      try {
        return await connecting;
      } finally {
        clearTimeout(late);
        if (isShown) words.write("\r\x1b[K");
      }
    },
    connected({ transport, remoteAddress, auth }, { hostKey }) {
      if (isLost) note(`connected to ${target} again`);
      isLost = false;
      if (!json) return;
      const { peer, fingerprint } = auth;
      printJson(terminal, {
        ...{ event: "connected", target, peer: peer?.id, fingerprint },
        ...{ transport, address: remoteAddress, hostKey: hostKey.fingerprint },
      });
    },
    listening(forward, place, side) {
      const text = describeForward(forward, place);
      listening.set(forward, text);
      const { target: to } = forward;
      const warning =
        side === "local" ? warningOf({ listen: formatPlace(place), target: undefined }) : undefined;
      if (warning !== undefined) say(terminal, `warning: ${warning.text}\nhint: ${warning.hint}`);
      if (json) {
        const event = { event: "listening", side, listen: formatPlace(place) };
        printJson(terminal, { ...event, target: to && formatPlace(to) });
      } else if ("port" in forward.listen && forward.listen.port === 0) {
        // Nobody else knows which it is.
        note(side === "remote" ? `${text}, over there` : text);
      }
    },
    refused(forward, error, asked) {
      const { message } = error;
      const to = forward.target ?? asked;
      const reason = withoutTarget(message, to && formatPlace(to));
      const scope = scopeOf(error, to);
      const hint = hintOf(scope);
      const { code } = error as { code?: string };
      if (json) {
        const event = { event: "refused", forward: forward.text, target: to && formatPlace(to) };
        printJson(terminal, { ...event, code, scope, message, hint });
      }
      note(
        `${forward.text}${forward.target === undefined && to ? ` (${formatPlace(to)})` : ""}: ${reason}`,
      );
      if (hint !== undefined) say(terminal, `hint: ${hint}`);
    },
    notConnected(to, cause) {
      const scope = scopeOf(cause, to);
      const place = formatPlace(to);
      const reason = withoutTarget(cause.message, place);
      return new CommandError(`${target} does not connect to ${place}: ${reason}`, {
        code: (cause as { code?: string }).code,
        hint: hintOf(scope),
        exitCode: scope === undefined ? ExitCode.NOT_CONNECTED : ExitCode.NOT_ALLOWED,
        cause,
      });
    },
    notListening(forward, cause, told) {
      const place = formatPlace(forward.listen);
      const why = whyNotListening(told);
      const text = `${target} does not listen on ${place}${why === undefined ? "" : `: ${why}`}`;
      const lacking = lackingScope(told);
      const isAllowed = why !== undefined && lacking === undefined;
      const scope =
        lacking ?? `tunnel:listen:${"path" in forward.listen ? `unix:${place}` : place}`;
      const grant = `over there: alknet peers grant NAME ${shellWord(scope)}`;
      return new CommandError(text, {
        code: "LISTEN_REFUSED",
        hint: isAllowed
          ? "choose another port over there; 0 takes any that is free"
          : why === undefined
            ? `the port is taken there, or, ${grant}`
            : grant,
        exitCode: isAllowed ? ExitCode.FAILED : ExitCode.NOT_ALLOWED,
        cause,
      });
    },
    stopped(place) {
      if (json) printJson(terminal, { event: "closed", side: "remote", listen: place });
      note(`${target} listens no more on ${printable(place)}: not allowed any more`);
    },
    notGiven(what) {
      note(`${target} gives no ${what}`);
      if (what === "agent") say(terminal, "hint: over there: alknet peers grant NAME ssh:agent");
    },
    lost(error, delay) {
      isLost = true;
      const { code, message } = explain(error, fingerprint);
      const retry = delay === undefined ? undefined : delay / 1_000;
      if (json) printJson(terminal, { event: "lost", code, message, retry });
      const again = retry === undefined ? "" : `; trying again in ${retry} s`;
      note(
        isRevoked(error)
          ? `${target} has taken this key's access away${again}`
          : `the connection to ${target} was lost: ${message.replace(LOST_BEFORE, "")}${again}`,
      );
    },
    forwards: () => [...listening.values()],
  };
}

/** Whether the node has ended the connection since the key has no right to it any more. */
function isRevoked(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (error as { code?: unknown }).code === "REVOKED" || isRevoked(error.cause);
}

function hintOf(scope: string | undefined): string | undefined {
  return scope && `to be let through, over there: alknet peers grant NAME ${shellWord(scope)}`;
}

/** What lacks over there, if that is why. */
function scopeOf(error: Error, to: ForwardPlace | undefined): string | undefined {
  if ((error as Partial<SshClientError>).reason !== PROHIBITED || to === undefined)
    return undefined;
  return `tunnel:dial:${"path" in to ? `unix:${to.path}` : formatPlace(to)}`;
}
