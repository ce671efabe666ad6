/**
 * An SSH client over any stream of bytes: commands and shells, forwarding both ways, agents.
 *
 * It opens no socket. Who is at the other end is for the caller to say: the key of the host is shown to `checkHostKey`,
 * and without a yes there is no connection.
 *
 * @module
 */

import type { Duplex, Readable } from "node:stream";
import { type Clock, systemClock } from "@alknet/core/clock";
import { deadlines } from "@alknet/core/deadlines";
import { parseSshPublicKey, type SshPublicKey } from "@alknet/core/ssh-public-key";
import ssh2, { type AnyAuthMethod, type ClientChannel } from "ssh2";
import { SshClientError } from "./client-error.ts";
import {
  remoteListeners,
  type RemoteListener,
  type RemoteOrigin,
  type RemoteTarget,
  type ServeRemote,
} from "./client-listeners.ts";
import {
  beginAhead,
  flows,
  forwardAgent,
  hearMessages,
  openSession,
  type OpenedSession,
  ProgramRefused,
  type SessionEnd,
  type SessionRequests,
  type WindowSize,
} from "./ssh2-extension/client.ts";
import { ALGORITHMS, extendSshClient } from "./ssh2-extension/extend.ts";

export type { SessionEnd, SessionRequests, WindowSize } from "./ssh2-extension/client.ts";

export interface SshClientOptions {
  readonly user: string;
  /** Whether the host has this key: called at each exchange of keys. A failure is a no. */
  readonly checkHostKey: (key: SshPublicKey) => boolean | Promise<boolean>;
  /** Private keys in OpenSSH's format, in the order in which they are tried, after `none`. @default none */
  readonly keys?: readonly string[] | undefined;
  /**
   * The server is one of Alknet, and TLS has proved us to it: send what can be foreseen and wait for nothing, which
   * saves five round trips. @default false
   */
  readonly ahead?: boolean | undefined;
  /** Connects to the agent that sessions may forward. @default none is forwarded */
  readonly connectAgent?: (() => Promise<Duplex>) | undefined;
  /** Time until the login is decided, in milliseconds. @default 20_000 */
  readonly deadline?: number | undefined;
  /** Ask whether the server is there after so long a silence, in milliseconds; after three such without an answer it is gone. @default 15_000 */
  readonly keepAlive?: number | undefined;
  /** Channels that may be open at once. @default 4_096 */
  readonly channels?: number | undefined;
  /** Hears what the server tells who wants details (RFC 4253 §11.3), such as why it refuses what is refused next. */
  readonly onmessage?: ((text: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly clock?: Clock | undefined;
}

/** How a connection came to its end. */
export type SshEnd =
  /** From here, by `close()` or `abort()`. */
  | { readonly kind: "closed" }
  /** The server has ended it, or the stream broke. */
  | { readonly kind: "lost"; readonly error: Error };

/** `await using` closes it. */
export interface SshClient extends AsyncDisposable {
  readonly hostKey: SshPublicKey;
  /** Resolves when the server has let us in; with `ahead` that may come later than the client itself. */
  readonly loggedIn: Promise<void>;
  /** Run a program. @throws {SshClientError} */
  session(requests: SessionRequests): Promise<SshSession>;
  /**
   * Have the server connect to `target`. Each direction ends by itself; `destroy(error)` breaks both.
   *
   * @throws {SshClientError} `CHANNEL_REFUSED`, with the server's reason.
   */
  connect(target: RemoteTarget, origin?: RemoteOrigin): Promise<Duplex>;
  /** Have the server listen. @throws {SshClientError} `LISTEN_REFUSED` */
  listen(place: RemoteTarget, serve: ServeRemote): Promise<RemoteListener>;
  readonly closed: Promise<SshEnd>;
  /** Say goodbye, and wait for the end. */
  close(): Promise<void>;
  /** End it now. */
  abort(reason?: Error): void;
}

/** A program that runs. */
export interface SshSession {
  /** Its stdin and stdout; `end()` ends stdin alone. */
  readonly channel: Duplex;
  /** To be read, or it stands still at last. */
  readonly stderr: Readable;
  /** What was asked for and not given. */
  readonly refused: readonly ("agent" | "terminal")[];
  /** Resolves when the channel is closed and its outputs have been read. */
  readonly ended: Promise<SessionEnd>;
  resize(size: WindowSize): void;
  /** @param name such as `SIGTERM` */
  signal(name: string): void;
  close(): void;
}

/** Most that is shown of what a server says, in characters. */
const MAX_TOLD = 1_000;
/** How long a server may take to close its side after our goodbye, in milliseconds. */
const LINGER = 2_000;
const UNKNOWN_ORIGIN: RemoteOrigin = { address: "127.0.0.1", port: 0 };

/** Ciphers by preference: processors have instructions for AES (1.3 to 1.5 s for a gigabyte; ChaCha20 2.0). */
const CIPHERS = [
  ...(["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"] as const),
  "chacha20-poly1305@openssh.com" as const,
  ...(["aes128-ctr", "aes256-ctr"] as const),
];

/** Host keys that we take, by preference; RSA with SHA-2 only. */
const HOST_KEYS = [
  ...(["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"] as const),
  ...(["ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256"] as const),
];

/**
 * Connect over `stream`, which is the client's from now on.
 *
 * Resolves when sessions may be opened: logged in, or with `ahead` as soon as the login has been sent.
 *
 * @throws {SshClientError}
 * @throws the reason of `signal`, when it aborts first.
 */
export async function connectSsh(stream: Duplex, options: SshClientOptions): Promise<SshClient> {
  const { user, ahead = false, signal, clock = systemClock, channels = 4_096 } = options;
  if (signal?.aborted === true) {
    stream.destroy();
    throw signal.reason as Error;
  }
  const client = new ssh2.Client();
  const loggedIn = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<SshEnd>();
  let hostKey: SshPublicKey | undefined;
  let ending: SshEnd | undefined;
  let isIn = false;
  /** What the server has last said to who logs in. */
  let told: string | undefined;
  // Who does not wait for it hears of it in what fails.
  loggedIn.promise.catch(() => {});

  async function isHostKey(blob: Buffer): Promise<boolean> {
    const key = hostKeyOf(blob);
    if (key === undefined) return false;
    // It cannot become another one later.
    if (hostKey !== undefined) return key.fingerprint === hostKey.fingerprint;
    if (!(await options.checkHostKey(key))) return false;
    hostKey = key;
    return true;
  }

  /** The first reason is the one that tells. */
  function fail(error: Error): void {
    ending ??= { kind: "lost", error };
    loggedIn.reject(errorOf(ending));
  }

  function hangUp(): void {
    stream.end();
    deadlines(LINGER, clock).add(() => stream.destroy());
  }

  const methods: AnyAuthMethod[] = [
    { type: "none", username: user },
    ...(options.keys ?? []).map((key) => ({ type: "publickey" as const, username: user, key })),
  ];
  client.on("banner", (text) => (told = lineOf(text)));
  client.on("ready", () => {
    isIn = true;
    loggedIn.resolve();
  });
  client.on("error", (error) => {
    const { level } = error as { level?: string };
    fail(
      level === "client-authentication" || !isIn || level === "protocol"
        ? refusalOf(error, told ?? notLetIn(user))
        : new SshClientError("CONNECTION_LOST", `the SSH connection was lost: ${error.message}`, {
            cause: error,
          }),
    );
    hangUp();
  });
  client.once("end", hangUp);
  client.once("close", () => {
    fail(
      isIn
        ? new SshClientError("CONNECTION_LOST", "the server has closed the SSH connection")
        : new SshClientError(
            "NOT_CONNECTED",
            "the server has closed the connection before we were logged in",
          ),
    );
    signal?.removeEventListener("abort", onabort);
    closed.resolve(ending as SshEnd);
  });
  const onabort = (): void => abort(signal?.reason as Error);
  signal?.addEventListener("abort", onabort, { once: true });

  client.connect({
    sock: stream as never,
    username: user,
    ident: "Alknet",
    algorithms: { ...ALGORITHMS, cipher: CIPHERS, serverHostKey: HOST_KEYS },
    // Without a key for hashing it is given the key itself.
    hostVerifier: (blob: Buffer, verify: (isRight: boolean) => void) => {
      isHostKey(blob).then(verify, () => verify(false));
    },
    authHandler: (_left, _partial, next) => next(methods.shift() ?? (false as never)),
    readyTimeout: options.deadline ?? 20_000,
    keepaliveInterval: options.keepAlive ?? 15_000,
    keepaliveCountMax: 3,
    strictVendor: false,
  });
  extendSshClient(client, { clock, channels });
  if (options.onmessage !== undefined) hearMessages(client, options.onmessage);
  const flowOf = flows(client);
  const sent = ahead ? beginAhead(client, user) : loggedIn.promise;
  const listeners = remoteListeners(client, flowOf);
  if (options.connectAgent !== undefined) forwardAgent(client, options.connectAgent);

  function abort(reason?: Error): void {
    ending ??= { kind: "closed" };
    loggedIn.reject(reason ?? CLOSED);
    stream.destroy();
  }

  async function close(): Promise<void> {
    ending ??= { kind: "closed" };
    client.end();
    hangUp();
    await closed.promise;
  }

  await Promise.race([sent, loggedIn.promise]);
  let isFirst = ahead;

  async function session(requests: SessionRequests): Promise<SshSession> {
    if (ending !== undefined) throw await reasonOf(CLOSED);
    // An Alknet server numbers its channels from 0.
    const foreseen = isFirst ? 0 : undefined;
    isFirst = false;
    try {
      return sessionOf(await openSession(client, requests, foreseen));
    } catch (error) {
      throw await reasonOf(error);
    }
  }

  /** Why something came to nothing: a login that was refused says more than what that did to it. */
  async function reasonOf(error: unknown): Promise<Error> {
    try {
      await loggedIn.promise;
    } catch (refused) {
      return refused as Error;
    }
    if (ending !== undefined) return errorOf(ending);
    if (error instanceof ProgramRefused) {
      return new SshClientError("PROGRAM_REFUSED", error.message, { cause: error });
    }
    const { reason, message } = error as { reason?: number; message: string };
    const text = message.replace(/^\(SSH\) Channel open failure: ?/, "");
    return new SshClientError("CHANNEL_REFUSED", text === "" ? "the server refused" : text, {
      cause: error,
      reason,
    });
  }

  return {
    get hostKey() {
      return hostKey as SshPublicKey;
    },
    loggedIn: loggedIn.promise,
    session,
    async connect(target, origin = UNKNOWN_ORIGIN) {
      if (ending !== undefined) throw await reasonOf(CLOSED);
      isFirst = false;
      const { promise, resolve, reject } = Promise.withResolvers<ClientChannel>();
      const opened = (error: Error | undefined, channel: ClientChannel): void =>
        error === undefined ? resolve(channel) : reject(error);
      try {
        if ("path" in target) client.openssh_forwardOutStreamLocal(target.path, opened);
        else client.forwardOut(origin.address, origin.port, target.host, target.port, opened);
        return flowOf(await promise);
      } catch (error) {
        throw await reasonOf(error);
      }
    },
    async listen(place, serve) {
      await loggedIn.promise;
      if (ending !== undefined) throw await reasonOf(CLOSED);
      return await listeners(place, serve);
    },
    closed: closed.promise,
    close,
    abort,
    [Symbol.asyncDispose]: close,
  };
}

function errorOf(end: SshEnd): Error {
  return end.kind === "lost" ? end.error : CLOSED;
}

const CLOSED = new SshClientError("CONNECTION_LOST", "the SSH connection was closed");

function hostKeyOf(blob: Buffer): SshPublicKey | undefined {
  try {
    const type = blob.toString("latin1", 4, 4 + blob.readUInt32BE(0));
    return parseSshPublicKey(`${type} ${blob.toString("base64")}`);
  } catch {
    // No key, or none that we know: nobody's.
    return undefined;
  }
}

/** One line that can be shown, of what somebody else has sent. */
function lineOf(text: string): string {
  const line = text.slice(0, MAX_TOLD).replaceAll(/[\p{Cc}\p{Cf}]+/gu, " ");
  return line.trim().replace(/^not let in: /, "");
}

function notLetIn(user: string): string {
  return `the server does not let us in${user === "" ? "" : ` as ${JSON.stringify(user)}`}`;
}

/** Why there was no login. */
function refusalOf(cause: Error, text: string): SshClientError {
  const { level } = cause as { level?: string };
  if (level === "client-authentication") {
    return new SshClientError("LOGIN_REFUSED", text, { cause });
  }
  if (cause.message.includes("Host denied")) {
    return new SshClientError(
      "HOST_KEY_REFUSED",
      "the key of the host is not the one it should have",
      { cause },
    );
  }
  if (level === "client-timeout") {
    return new SshClientError("NOT_CONNECTED", "the server did not answer in time", { cause });
  }
  return new SshClientError("NOT_CONNECTED", `cannot speak SSH: ${cause.message}`, { cause });
}

function sessionOf(opened: OpenedSession): SshSession {
  const { channel } = opened;
  return {
    ...opened,
    stderr: channel.stderr,
    signal: (name) => opened.signal(name.replace(/^SIG/, "")),
    close: () => channel.close(),
  };
}
