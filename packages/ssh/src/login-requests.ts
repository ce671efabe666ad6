/**
 * The requests to log in on one connection: each is decided, those that failed are counted, and who may know hears why.
 *
 * @module
 */

import type { Logger } from "@alknet/core/log";
import type { AuthContext as Request, Connection as Client } from "ssh2";
import { sendBanner } from "./ssh2-extension/banner.ts";
import { type AuthSource, decide, type Decision, type Login } from "./user-auth.ts";

export interface LoginRequests {
  readonly source: AuthSource;
  /** Aborts at the end of the connection. */
  readonly gone: AbortSignal;
  /** How many may fail; asked each time. */
  readonly attempts: () => number;
  readonly logger: Logger;
  /** Somebody is let in. */
  readonly onaccept: (login: Login) => void;
  readonly onrefused: (reason: string) => void;
  /** As many have failed as may: the connection is to end. */
  readonly onexhausted: () => void;
}

/** Answer the requests of `client` until somebody is let in. */
export function answerLogins(client: Client, options: LoginRequests): void {
  const { source, gone, attempts, logger } = options;
  let failures = 0;
  /** Why it was refused, as far as the client has been told. */
  const told = new Set<string>();

  client.on("authentication", (request) => void answer(request));

  /** ssh2 asks for one at a time. */
  async function answer(request: Request): Promise<void> {
    const decision = await decided(request);
    if (gone.aborted) return;
    if (decision.kind === "probe") return request.accept();
    if (decision.kind === "accept") {
      options.onaccept(decision);
      return request.accept();
    }
    // Clients begin with `none`, to hear which methods there are.
    if (decision.counts) {
      options.onrefused(decision.reason);
      tell(decision.reason);
      if (++failures >= attempts()) return options.onexhausted();
    }
    request.reject(["publickey"]);
  }

  async function decided(request: Request): Promise<Decision> {
    try {
      return await decide(request, source);
    } catch (error) {
      // Of an identity store, or of a key that OpenSSL cannot read: who cannot be looked up is nobody.
      logger.warn({ err: error }, "ssh: a login could not be decided");
      return { kind: "reject", reason: "the login could not be decided", counts: true };
    }
  }

  /** Of peers and accounts here those alone hear whom TLS has proved. */
  function tell(reason: string): void {
    if (source.transport?.peer === undefined || told.has(reason)) return;
    told.add(reason);
    sendBanner(client, `not let in: ${reason}`);
  }
}
