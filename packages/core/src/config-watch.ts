/**
 * Follow `alknet.toml` while the node runs: on save, also by rename, and when somebody asks.
 *
 * What cannot be used changes nothing: the configuration in use stays, and the mistake is told until it is gone. So
 * it is with a file that has vanished or is empty; an editor may be about to write it.
 *
 * @module
 */

import { type FSWatcher, statSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Cut } from "./access.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Config, defaultConfig } from "./config.ts";
import { readConfigText } from "./config-file.ts";
import { type ConfigChanges, configChanges, isUnchanged, restartKeys } from "./config-changes.ts";
import { ConfigInvalid } from "./config-problem.ts";
import { type Logger, silentLogger } from "./log.ts";

export interface ConfigWatchOptions {
  /**
   * Put `next` in the place of `before`. If it throws, nothing has changed.
   *
   * @returns what that has ended.
   */
  readonly onchange: (next: Config, before: Config) => Cut;
  /** Hears of each state that is new. */
  readonly onstate?: ((state: ConfigState) => void) | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/** How the file stands to what is in use. */
export type ConfigState = {
  /** In milliseconds since 1970. */
  readonly since: number;
  /** Keys that the configuration in use has other values for than the node was started with. */
  readonly restart: readonly string[];
} & (
  | { readonly kind: "current" }
  /** The file cannot be used; what was in use before is. */
  | { readonly kind: "refused"; readonly error: Error }
);

/** What a reload has done. */
export interface ConfigReload {
  readonly changes: ConfigChanges;
  readonly cut: Cut;
  /** Keys that differ from what the node was started with, and need a restart. */
  readonly restart: readonly string[];
}

/** Disposing ends it. */
export interface ConfigWatch extends Disposable {
  /** In use now. */
  readonly config: Config;
  readonly state: ConfigState;
  /**
   * Read the file now, whether it has changed or not.
   *
   * @throws {ConfigInvalid} if it cannot be used; nothing has changed then.
   */
  reload(): Promise<ConfigReload>;
}

/** A file that is being written is left alone until nothing has moved for so long, in milliseconds. */
const QUIET = 100;
/** But not for longer than this. */
const LONGEST_QUIET = 1_000;
/** Between two looks without an event: links, network file systems and folders that come later have none. */
const POLL = 2_000;

/** Follow the file that `started` was read from, or would have been. */
export function watchConfig(started: Config, options: ConfigWatchOptions): ConfigWatch {
  const { onchange, onstate, clock = systemClock, logger = silentLogger } = options;
  const { path } = started;
  let config = started;
  let state: ConfigState = { kind: "current", since: clock.wallTime(), restart: [] };
  let closed = false;
  /** One look after another. */
  let queue: Promise<unknown> = Promise.resolve();
  /** Of the file that was looked at last. */
  let seen: string | undefined;
  let watcher: FSWatcher | undefined;
  let quietAt = 0;
  let latestAt = 0;
  let waiting = false;

  function enter(next: ConfigState): void {
    state = next;
    onstate?.(next);
  }

  async function look(): Promise<ConfigReload> {
    seen = signature(path);
    try {
      const next = await read();
      const changes = configChanges(config, next);
      const restart = restartKeys(started, next);
      const cut = isUnchanged(changes) ? { connections: 0, grants: 0 } : onchange(next, config);
      told({ changes, cut, restart });
      config = next;
      return { changes, cut, restart };
    } catch (error) {
      refused(error as Error);
      throw error;
    }
  }

  /** @throws {ConfigInvalid} */
  async function read(): Promise<Config> {
    const text = readConfigText(path);
    if (text !== undefined && text.trim() !== "") {
      const { parseConfig } = await import("./config-parse.ts");
      return parseConfig(text, path);
    }
    // There was something to lose: that must not go because an editor has not finished.
    if (isDeepStrictEqual(config, defaultConfig(path))) return config;
    const what = text === undefined ? "the file is gone" : "the file is empty";
    const message = `${what}; to go back to the defaults, write a line with # into it`;
    const problem = { line: 1, column: 1, message, key: undefined, excerpt: undefined };
    throw new ConfigInvalid(path, [problem]);
  }

  function told({ changes, cut, restart }: ConfigReload): void {
    const { peers, apiKeys, roles, settings } = changes;
    const fresh = restart.filter((key) => !state.restart.includes(key));
    const unchanged = isUnchanged(changes) && isDeepStrictEqual(restart, state.restart);
    if (!unchanged || state.kind === "refused") {
      const ended = { connections: cut.connections, grants: cut.grants };
      logger.info({ peers, apiKeys, roles, settings, ended }, "configuration reloaded");
    } else logger.debug({}, "configuration read again: nothing has changed");
    if (fresh.length > 0) {
      const verb = fresh.length === 1 ? "needs" : "need";
      logger.warn({ keys: fresh }, `${fresh.join(", ")} ${verb} a restart: alknet up`);
    }
    if (unchanged && state.kind === "current") return;
    enter({ kind: "current", since: clock.wallTime(), restart });
  }

  function refused(error: Error): void {
    const { restart } = state;
    const same = state.kind === "refused" && state.error.message === error.message;
    if (same) return;
    const report = error instanceof ConfigInvalid ? error.report : error.message;
    logger.error({ report }, "configuration refused: the one in use stays");
    enter({ kind: "refused", since: clock.wallTime(), restart, error });
  }

  /** After the look that is under way. */
  function queued(): Promise<ConfigReload> {
    const next = queue.then(look);
    queue = next.catch(() => {});
    return next;
  }

  function moved(): void {
    if (closed) return;
    quietAt = clock.now() + QUIET;
    if (waiting) return;
    waiting = true;
    latestAt = clock.now() + LONGEST_QUIET;
    wait(QUIET);
  }

  function wait(milliseconds: number): void {
    after(milliseconds, () => {
      const left = Math.min(quietAt, latestAt) - clock.now();
      if (left > 0) return wait(Math.ceil(left));
      waiting = false;
      // Told where it is shown; nobody waits for it.
      if (signature(path) !== seen) queued().catch(() => {});
    });
  }

  function poll(): void {
    open();
    if (signature(path) !== seen) moved();
    after(POLL, poll);
  }

  function open(): void {
    if (watcher !== undefined) return;
    try {
      // The folder: an editor puts a new file in the place of the old one, which a watch on that would follow.
      const folder = watch(dirname(path), { persistent: false }, (_event, name) => {
        if (name === null || name === basename(path)) moved();
      });
      folder.on("error", () => {
        folder.close();
        watcher = undefined;
      });
      watcher = folder;
    } catch {
      // No folder yet, or no more watches to be had: there is the poll.
    }
  }

  function after(milliseconds: number, then: () => void): void {
    const over = clock.timeout(milliseconds);
    over.addEventListener("abort", () => closed || then(), { once: true });
  }

  // The first look finds what was changed since `started` was read.
  if (signature(path) !== undefined) moved();
  open();
  after(POLL, poll);

  return {
    get config() {
      return config;
    },
    get state() {
      return state;
    },
    reload: queued,
    [Symbol.dispose]() {
      closed = true;
      watcher?.close();
    },
  };
}

/** Differs when the file does; `undefined`: there is none that can be looked at. */
function signature(path: string): string | undefined {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(".");
  } catch {
    return undefined;
  }
}
