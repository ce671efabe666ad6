/**
 * Checks of the store: can it be opened, do all entries hold, and is the clock what it was.
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { Config } from "@alknet/core/config";
import type { IdentityProblem } from "@alknet/core/identity-holder";
import type { IdentityStore } from "@alknet/core/identity-store";
import { joinIdentities } from "@alknet/core/joined-identities";
import { staticIdentities } from "@alknet/core/static-identities";
import { StoreError } from "@alknet/core/store-error";
import type { Context } from "../context.ts";
import { databasePath, openStoreToRead } from "../open-store.ts";
import { printable } from "../terminal.ts";
import type { Finding } from "./finding.ts";

/** A clock may be so far behind the newest entry, in milliseconds: another machine may have written it. */
const TOLERANCE = 5_000;

/** Problems that are listed one by one. */
const MAX_LISTED = 16;

export interface CheckedStore {
  readonly findings: readonly Finding[];
  /** Open, to look up names in it. Whoever asked closes it. `undefined`: there is none, or it is broken. */
  readonly store: IdentityStore | undefined;
}

export async function checkStore(context: Context, config: Config): Promise<CheckedStore> {
  const path = databasePath(context, config);
  const check = "store";
  if (path !== undefined && config.store.path === undefined && !existsSync(path)) {
    // The file beside a database outlives it.
    if (existsSync(`${path}.notify`)) {
      const text = `${path} is gone, and there was one`;
      const fix = "restore it from a backup; or, for an empty store: alknet up";
      return { findings: [{ check, state: "problem", text, fix }], store: undefined };
    }
    const text = "none yet: it is made with the first peer";
    return { findings: [{ check, state: "ok", text }], store: undefined };
  }
  let store: IdentityStore | undefined;
  try {
    store = await openStoreToRead(context, config);
    if (store === undefined) {
      const text = `${path} is not there`;
      const fix = `correct [store] path in ${config.path}, or make it: alknet up`;
      return { findings: [{ check, state: "problem", text, fix }], store };
    }
    const count = store.peers.length;
    const findings: Finding[] = [
      { check, state: "ok", text: `${store.label}, ${count} ${count === 1 ? "peer" : "peers"}` },
      ...store.problems.slice(0, MAX_LISTED).map(problemFinding),
    ];
    const [newest] = await store.audit({ limit: 1 });
    findings.push(checkClock(newest?.at, Date.now()));
    return { findings, store };
  } catch (error) {
    await store?.close();
    if (!(error instanceof StoreError)) throw error;
    const { message: text, hint: fix } = error;
    return { findings: [{ check, state: "problem", text, fix }], store: undefined };
  }
}

function problemFinding({ subject, message }: IdentityProblem): Finding {
  const name = subject.replace(/^.* /, "");
  return {
    check: "rights",
    state: "warning",
    text: printable(`${subject} ${message}`),
    fix: subject.startsWith("peer ")
      ? `look at it: alknet peers show ${printable(name)}`
      : `take it back, and make another: alknet token revoke ${printable(name)}`,
  };
}

/** Peers of the store that count for nothing, because the configuration has some of their names. */
export function shadowedEntries(config: Config, store: IdentityStore): Finding[] {
  const own = new Set(store.problems.map(({ subject }) => subject));
  const { problems } = joinIdentities([staticIdentities(config.peers), store]);
  return problems
    .filter(({ subject }) => !own.has(subject))
    .map((problem) => {
      const table = printable(`[peers.${problem.subject.replace(/^peer /, "")}]`);
      const fix = `take ${table} out of ${config.path}, or write keys and scopes there`;
      return { ...problemFinding(problem), fix };
    });
}

/** A clock that was set back keeps rights alive that are over, and calls fresh invitations expired elsewhere. */
export function checkClock(newest: number | undefined, now: number): Finding {
  const check = "clock";
  if (newest === undefined || newest <= now + TOLERANCE) {
    return { check, state: "ok", text: new Date(now).toISOString() };
  }
  const behind = Math.round((newest - now) / 1_000);
  return {
    check,
    state: "problem",
    text: `${behind} s behind the newest change in the store (${new Date(newest).toISOString()}): it was set back`,
    fix: "set it right: sudo timedatectl set-ntp true",
  };
}
