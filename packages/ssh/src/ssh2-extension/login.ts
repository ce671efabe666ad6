/**
 * What a client sends behind its login, without waiting for the answer, waits here for that: ssh2 refuses it, where the
 * login takes a moment to be decided.
 *
 * @module
 */

import { fail, type Protocol } from "./insides.ts";

/** Messages that may wait: a session with all that it asks for, and a few forwards. */
const MAX_HELD = 256;

/** What follows a login (RFC 4250 §4.1.2), and may be answered at once. */
const HELD = [
  ...["GLOBAL_REQUEST", "CHANNEL_OPEN", "CHANNEL_WINDOW_ADJUST", "CHANNEL_DATA"],
  ...["CHANNEL_EXTENDED_DATA", "CHANNEL_EOF", "CHANNEL_CLOSE", "CHANNEL_REQUEST"],
] as const;

type Handle = (...args: unknown[]) => void;

interface ServerProtocol extends Protocol {
  authSuccess(): void;
  authFailure(...args: unknown[]): void;
  authPKOK(...args: unknown[]): void;
}

/** Extend a server's connection that nobody has logged in on. */
export function holdBehindLogin(of: Protocol): void {
  const protocol = of as ServerProtocol;
  const handlers = protocol._handlers as unknown as Record<string, Handle | undefined>;
  const held: (readonly [name: string, args: unknown[]])[] = [];
  let isDeciding = false;
  let isIn = false;

  const ask = handlers["USERAUTH_REQUEST"];
  handlers["USERAUTH_REQUEST"] = (...args) => {
    // After the login they are ignored.
    isDeciding = !isIn;
    ask?.(...args);
  };
  for (const name of HELD) {
    const handle = handlers[name];
    handlers[name] = (...args) => {
      if (!isDeciding) return handle?.(...args);
      if (held.push([name, args]) > MAX_HELD) fail(protocol, "too much is sent before the login");
    };
  }

  /** In their order, once who has decided is done. */
  function release(): void {
    isDeciding = false;
    queueMicrotask(() => {
      // By name: those who handle them from now on may have come with the login.
      for (const [name, args] of held.splice(0)) {
        if (protocol._destruct !== undefined) handlers[name]?.(...args);
      }
    });
  }

  for (const name of ["authSuccess", "authFailure", "authPKOK"] as const) {
    const answer = (protocol[name] as Handle).bind(protocol);
    protocol[name] = (...args: unknown[]) => {
      answer(...args);
      isIn ||= name === "authSuccess";
      release();
    };
  }
}
