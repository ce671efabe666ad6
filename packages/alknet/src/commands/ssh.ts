/**
 * `alknet ssh`: a shell or a command on another machine, and forwards to and from there.
 *
 * Its exit code is that of the command there, 128 and the number of the signal if one ended it, and 255 if the connection
 * was lost. Before there is one: 3, not allowed; 4, could not connect.
 *
 * @module
 */

import { once } from "node:events";
import { connect as connectSocket } from "node:net";
import { setImmediate as immediate, setTimeout as pause } from "node:timers/promises";
import type { SshClient } from "@alknet/ssh/client";
import { openClient } from "../client.ts";
import { cannotListen } from "../cannot-listen.ts";
import { CommandError, ExitCode } from "../command-error.ts";
import type { Context } from "../context.ts";
import { setHeapBudget } from "../heap-budget.ts";
import { Interrupted } from "../interrupted.ts";
import { peerCalled } from "../peer-called.ts";
import { ProgramEnded } from "../program-ended.ts";
import { makeKnownHosts } from "../known-hosts.ts";
import { shellWord } from "../shell-word.ts";
import { sshFiles } from "../ssh-files.ts";
import { carryPlace } from "../ssh-carry.ts";
import type { ForwardPlace, SshForward } from "../ssh-forward-spec.ts";
import { type LocalForward, listenHere, listenThere, type TellRefused } from "../ssh-forwards.ts";
import { explained, reachSsh, type ReachedSsh } from "../ssh-reach.ts";
import { isLasting } from "../ssh-retry.ts";
import { runSession, type SessionKind } from "../ssh-session.ts";
import { lackingScope, listensNoMore } from "../ssh-told.ts";
import { sshTeller, type SshTeller } from "../ssh-teller.ts";

export interface SshCommandOptions {
  readonly json: boolean;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
  /** Login name; `undefined`: which the peer has by default. */
  readonly user: string | undefined;
  /** What to do over there; `undefined`: nothing, only forward. */
  readonly session: SessionKind | undefined;
  /** Where stdin and stdout lead, in the place of a session. */
  readonly carry: ForwardPlace | undefined;
  readonly local: readonly SshForward[];
  readonly remote: readonly SshForward[];
  readonly agent: boolean;
  readonly gates: readonly string[];
  readonly persist: boolean;
  readonly acceptNew: boolean;
}

/** Until a lost connection is dialed again, in milliseconds; the last one for ever. */
const BACKOFF = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000] as const;
/** As `ssh` ends where the connection did. */
const LOST = 255;
/** As a shell ends that may not run something: so does a node. */
const TURNED_AWAY = 126;

export async function sshCommand(
  context: Context,
  where: string,
  options: SshCommandOptions,
): Promise<void> {
  setHeapBudget();
  const { home, terminal, interrupted } = context;
  const { user, host } = splitUser(where);
  const dialing = await openClient(context);
  const locals: LocalForward[] = [];
  const link = currentLink();
  const isForRemote =
    options.session === undefined && options.carry === undefined && options.local.length === 0;
  const nothingLeft = Promise.withResolvers<never>();
  nothingLeft.promise.catch(() => {});
  let left = options.remote.length;
  const files = sshFiles(home);
  const connectAgent = options.agent ? agentOf(process.env["SSH_AUTH_SOCK"]) : undefined;
  try {
    const peer = peerCalled(host, dialing.peers);
    const target = peer ?? host;
    const teller = sshTeller(terminal, {
      json: options.json,
      target,
      fingerprint: dialing.identity.fingerprint,
    });
    makeKnownHosts(files.knownHosts);
    const reach = (): Promise<ReachedSsh> =>
      teller.whileConnecting(
        reachSsh(dialing, {
          ...options,
          target,
          isPeer: peer !== undefined,
          user: options.user ?? user ?? "",
          knownHosts: files.knownHosts,
          knownNodes: files.knownNodes,
          connectAgent,
          note: teller.note,
          ontold: (text) => told(text, target, teller),
          signal: interrupted,
        }),
      );
    let attempt = 0;
    for (;;) {
      const reached = await reach().catch(async (error: unknown) => {
        // At first, what is wrong is told and not tried again.
        if (!link.hasBeen || isLasting(error)) throw error;
        await wait(teller, error as Error, attempt++);
        return undefined;
      });
      if (reached === undefined) continue;
      const { client } = reached;
      const isFirst = !link.hasBeen;
      link.set(client);
      if (isFirst) locals.push(...(await listenLocally(options.local, link, teller)));
      const lost = await serve(reached, target, isFirst, teller);
      link.clear();
      // A command is not run twice: who knows what it has done.
      const isOnce = options.session?.command !== undefined || options.carry !== undefined;
      const mayGoOn = options.persist && !isOnce;
      if (!mayGoOn) {
        teller.lost(lost, undefined);
        throw new ProgramEnded(LOST);
      }
      attempt = 0;
      await wait(teller, lost, attempt++);
    }
  } catch (error) {
    throw interrupted.aborted && !(error instanceof ProgramEnded) ? new Interrupted() : error;
  } finally {
    for (const forward of locals) await forward.close();
    await dialing.leave();
  }

  /** Use a connection until it is lost. @throws how the program, or the person, has ended it */
  async function serve(
    reached: ReachedSsh,
    target: string,
    isFirst: boolean,
    teller: SshTeller,
  ): Promise<Error> {
    const { client, connection, told, abort } = reached;
    const stop = (): void => abort();
    interrupted.addEventListener("abort", stop, { once: true });
    try {
      const run = () => options.session && runSession(context, client, options.session, teller);
      // With the login, in one flight; what listens over there is there first.
      let session = options.remote.length === 0 ? run() : undefined;
      session?.catch(() => {});
      await client.loggedIn.catch((error: unknown) => {
        throw explained(error, target);
      });
      await listenRemotely(reached, options.remote, isFirst && !options.persist, teller);
      teller.connected(connection, client);
      session ??= run();
      const { carry } = options;
      const carried = carry && carryPlace(context, client, carry, teller);
      const end = await (session ?? carried);
      if (end?.kind === "ended") {
        // The terminal is as it was by now.
        if (end.by !== undefined) teller.note(`ended by ${end.by} over there`);
        await goodbye(client);
        const scope = end.status === TURNED_AWAY ? lackingScope(told()) : undefined;
        if (scope?.startsWith("ssh:")) throw notAllowed(target, scope);
        throw new ProgramEnded(end.status);
      }
      // Channels end with their connection, a moment before that is told.
      const closed = await (end === undefined
        ? Promise.race([client.closed, nothingLeft.promise])
        : Promise.race([client.closed, immediate(undefined)]));
      interrupted.throwIfAborted();
      if (closed?.kind === "lost") return closed.error;
      // By the person (`~.`), or there is a connection still, and the program has said nothing of its end.
      teller.note(closed ? `connection to ${target} closed` : `${target} has ended the session`);
      throw new ProgramEnded(LOST);
    } finally {
      interrupted.removeEventListener("abort", stop);
      abort();
    }
  }

  function told(text: string, target: string, teller: SshTeller): void {
    const place = listensNoMore(text);
    if (place === undefined) return;
    teller.stopped(place);
    if (options.persist || !isForRemote || --left > 0) return;
    const error = new CommandError(
      `not allowed any more: ${target} does not listen for this node`,
      {
        code: "ACCESS_REVOKED",
        hint: `over there: alknet peers grant NAME ${shellWord(`tunnel:listen:${place}`)}`,
        exitCode: ExitCode.NOT_ALLOWED,
      },
    );
    nothingLeft.reject(error);
  }

  async function wait(teller: SshTeller, error: Error, attempt: number): Promise<void> {
    const delay = BACKOFF[Math.min(attempt, BACKOFF.length - 1)]!;
    teller.lost(error, delay);
    await pause(delay, undefined, { signal: interrupted });
  }
}

/** The server has closed its side, or a moment has passed: what is on the way is for the system to deliver. */
async function goodbye(client: SshClient): Promise<void> {
  await Promise.race([client.close(), pause(200, undefined, { ref: false })]);
}

/** `user@peer`; a fingerprint before an address is no user. */
function splitUser(where: string): { readonly user: string | undefined; readonly host: string } {
  const [, user, host] = /^([^@:]+)@(.+)$/s.exec(where) ?? [];
  return user === undefined || host === undefined
    ? { user: undefined, host: where }
    : { user, host };
}

/** The server has said why on its own. */
function notAllowed(target: string, scope: string): CommandError {
  return new CommandError(`not allowed: ${target} does not run that for this node`, {
    code: "NOT_ALLOWED",
    hint: `over there: alknet peers grant NAME ${shellWord(scope)}`,
    exitCode: ExitCode.NOT_ALLOWED,
  });
}

async function listenLocally(
  forwards: readonly SshForward[],
  link: Link,
  teller: SshTeller,
): Promise<LocalForward[]> {
  const listening: LocalForward[] = [];
  const onrefused: TellRefused = (forward, error, asked) => teller.refused(forward, error, asked);
  try {
    for (const forward of forwards) {
      const made = await listenHere(forward, link.current, onrefused);
      listening.push(made);
      teller.listening(forward, made.place, "local");
    }
  } catch (error) {
    for (const made of listening) await made.close();
    throw cannotListen(error as NodeJS.ErrnoException);
  }
  return listening;
}

/** @param isNeeded end if one of them is refused, as at the first time */
async function listenRemotely(
  { client, told }: ReachedSsh,
  forwards: readonly SshForward[],
  isNeeded: boolean,
  teller: SshTeller,
): Promise<void> {
  for (const forward of forwards) {
    try {
      const place = await listenThere(client, forward, (it, error, asked) =>
        teller.refused(it, error, asked),
      );
      teller.listening(forward, place, "remote");
    } catch (error) {
      const refused = teller.notListening(forward, error as Error, told());
      if (isNeeded) throw refused;
      teller.note(refused.message);
    }
  }
}

function agentOf(path: string | undefined): () => Promise<import("node:net").Socket> {
  if (path === undefined || path === "") {
    throw new CommandError("there is no agent to forward: SSH_AUTH_SOCK is not set", {
      code: "NO_AGENT",
      hint: 'start one: alknet vault agent --background, or eval "$(ssh-agent)"',
    });
  }
  return async () => {
    const socket = connectSocket(path);
    await once(socket, "connect");
    return socket;
  };
}

interface Link {
  /** Whether there has been a connection. */
  readonly hasBeen: boolean;
  readonly current: (signal: AbortSignal) => Promise<SshClient>;
  set(client: SshClient): void;
  clear(): void;
}

/** The connection that forwards use: those that come while there is none wait for the next one. */
function currentLink(): Link {
  let next = Promise.withResolvers<SshClient>();
  let hasBeen = false;
  return {
    get hasBeen() {
      return hasBeen;
    },
    async current(signal) {
      signal.throwIfAborted();
      const gone = once(signal, "abort").then((): never => {
        throw signal.reason as Error;
      });
      gone.catch(() => {});
      return await Promise.race([next.promise, gone]);
    },
    set(client) {
      hasBeen = true;
      next.resolve(client);
    },
    clear() {
      next = Promise.withResolvers();
    },
  };
}
