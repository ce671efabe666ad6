/**
 * The file of a database, and our connections to it.
 *
 * SQLite trusts the file system more than it deserves here: a file that was deleted goes on taking writes in
 * silence, and one that was replaced while its old `-wal` stayed shows the *old* rows, without complaint.
 * So device and inode are compared before each write, after it, and four times a second.
 *
 * @module
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import type { Logger } from "@alknet/core/log";
import { StoreError } from "@alknet/core/store-error";
import type { Checked, SqliteConnections } from "@alknet/store-sql/sqlite-driver";
import { isBusy, isCorrupt, sqliteResult, storeError } from "@alknet/store-sql/sqlite-error";
import {
  type Integers,
  nodeSqliteHandle,
  type SqliteHandle,
} from "@alknet/store-sql/sqlite-handle";
import { patiently } from "@alknet/store-sql/patience";
import {
  checkFile,
  databaseId,
  fileKind,
  migrate,
  MIGRATIONS,
  READABLE_FROM,
} from "./migrations.ts";
import { isOldWal, readSideFile, touchSideFile, writeSideFile } from "./side-file.ts";

export interface DatabaseFileOptions {
  readonly path: string;
  readonly readOnly: boolean;
  /** Make the file if it is not there, and the tables if it is empty. */
  readonly create: boolean;
  readonly logger: Logger;
}

/**
 * Open a database, or make one that only its owner can read (0600).
 *
 * @throws {StoreError} if it is damaged, another program's, newer than we are, or cannot be reached.
 */
export async function openDatabaseFile(options: DatabaseFileOptions): Promise<SqliteConnections> {
  const file = new DatabaseFile(options);
  try {
    await patiently(() => file.open(), isBusy);
  } catch (error) {
    file.close();
    throw storeError(error, file.label);
  }
  return file;
}

/** Which file it is, and what of it changes when somebody writes into it past SQLite. */
interface Seen {
  readonly dev: number;
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
}

/**
 * Least time between two tries to open it anew, in milliseconds. Opening makes and removes files beside it, which
 * wakes us: without a pause a file that cannot be opened would be opened for ever.
 */
const REOPEN_PAUSE = 200;

class DatabaseFile implements SqliteConnections {
  readonly label: string;
  readonly shared = false;
  readonly #readOnly: boolean;
  readonly #create: boolean;
  readonly #logger: Logger;
  #writer: SqliteHandle | undefined;
  #reader: SqliteHandle | undefined;
  /** The file that the connections have open. */
  #opened: Seen | undefined;
  /** Inode of the `-wal` that they have open. */
  #wal: number | undefined;
  #seen: Seen | undefined;
  /** Of the connections: each has a data version of its own. */
  #generation = 0;
  /** A folder in which nothing can be made: the file is read as if nobody ever wrote it. */
  #immutable = false;
  #integers: Integers = "number";
  /** Something was wrong with what was read: open it anew before anything else. */
  #suspect = false;
  #watcher: fs.FSWatcher | undefined;
  #wake: (() => void) | undefined;
  #waking: NodeJS.Immediate | undefined;
  /** Which database it is: written into it when it was made, and copied with it. */
  #id: string | undefined;
  /** No try to open it anew before this moment, of the monotonic clock. */
  #notBefore = 0;
  /** What came of the last try. */
  #problem: string | undefined;
  #saidUntouchable = false;
  #closed = false;

  constructor({ path: file, readOnly, create, logger }: DatabaseFileOptions) {
    this.label = path.resolve(file);
    this.#readOnly = readOnly;
    this.#create = create && !readOnly;
    this.#logger = logger;
  }

  /** For the first time: what is missing is made, and all of it is looked at. */
  open(): void {
    if (this.#create) make(this.label);
    this.#connect(this.#create ? "make" : "keep");
    const [[found] = []] = this.#reader!.all("PRAGMA quick_check(1)", []);
    if (found !== "ok") {
      throw new StoreError("STORE_CORRUPT", `${this.label} is damaged: ${String(found)}`, {
        hint: `restore it from a backup; or save what is left: sqlite3 ${this.label} .recover`,
      });
    }
  }

  writer(): SqliteHandle {
    if (this.#readOnly) {
      throw new StoreError("STORE_READ_ONLY", `${this.label} was opened for reading`);
    }
    this.#insist();
    return this.#writer!;
  }

  reader(): SqliteHandle {
    if (this.#reader === undefined || this.#suspect) this.#insist();
    return this.#reader!;
  }

  openLoader(): SqliteHandle {
    this.#insist();
    return this.#open("read");
  }

  version(): unknown {
    const [[version] = []] = this.reader().all("PRAGMA data_version", []);
    // The second part: somebody who is not SQLite, or a checkpoint; a look is cheap.
    const { size = 0, mtimeMs = 0 } = this.#seen ?? {};
    return `${this.#generation} ${String(version)} ${size} ${mtimeMs}`;
  }

  committed(): void {
    this.#touch();
    if (this.#isSame(statOf(this.label))) return;
    throw new StoreError(
      "STORE_UNAVAILABLE",
      `${this.label} was replaced while it was written: the change is in the file before`,
      { hint: "make the change again" },
    );
  }

  failed(error: unknown): void {
    // A number that JavaScript has no `number` for: from now on read them as what they are.
    if ((error as { code?: unknown } | undefined)?.code === "ERR_OUT_OF_RANGE") {
      this.#integers = "bigint";
      this.#suspect = true;
    }
    if (isCorrupt(error)) this.#suspect = true;
  }

  check(): Checked {
    const now = statOf(this.label);
    const changed = now?.size !== this.#seen?.size || now?.mtimeMs !== this.#seen?.mtimeMs;
    this.#seen = now;
    if (now === undefined) {
      return stale(`${this.label} was deleted: ${PUT_BACK}`);
    }
    const same = this.#isSame(now);
    // Whoever writes it begins a -wal beside it, in which all news are.
    const outdated = this.#immutable && (changed || this.#walSize() > 0);
    if (same && !this.#suspect && !outdated) return READY;
    if (performance.now() < this.#notBefore) {
      return stale(this.#problem ?? `${this.label} changes again and again`);
    }
    try {
      this.#reconnect();
    } catch (error) {
      const { message, hint } = storeError(error, this.label) as StoreError;
      this.#problem = hint === undefined || isBusy(error) ? message : `${message}: ${hint}`;
      return stale(this.#problem);
    }
    return same ? READY : { ...READY, reopened: `${this.label} was replaced by another file` };
  }

  /** @throws {StoreError} if it is not there, or cannot be used. */
  #insist(): void {
    const now = statOf(this.label);
    if (now === undefined) {
      throw new StoreError("STORE_UNAVAILABLE", `${this.label} was deleted`, {
        hint: PUT_BACK,
      });
    }
    if (this.#isSame(now) && !this.#suspect) return;
    // Another file: whoever looks after it has to be told, and does that on its next check.
    if (!this.#isSame(now) && this.#opened !== undefined) {
      throw new StoreError("STORE_UNAVAILABLE", `${this.label} was replaced by another file`, {
        hint: "try again in a second",
      });
    }
    this.#reconnect();
  }

  #isSame(now: Seen | undefined): boolean {
    const opened = this.#opened;
    return (
      this.#reader !== undefined &&
      opened !== undefined &&
      now !== undefined &&
      opened.ino === now.ino &&
      opened.dev === now.dev
    );
  }

  #reconnect(): void {
    this.#notBefore = performance.now() + REOPEN_PAUSE;
    this.#disconnect();
    this.#probe();
    this.#connect("keep");
    this.#suspect = false;
    this.#problem = undefined;
    if (this.#wake !== undefined) this.#follow();
  }

  /**
   * See that it is the database that we had, before anything is done to it or beside it: the -wal of ours may be all
   * that is left of it, and whoever is just making another is in the midst of it.
   *
   * @throws {StoreError} if it is empty, or another.
   */
  #probe(): void {
    const now = statOf(this.label);
    const wal = statOf(`${this.#real()}-wal`);
    // Its own -wal may have all of it: then only opening it tells.
    const ours = wal !== undefined && wal.size > 0 && !this.#isOld(now, wal);
    if (now === undefined || ours) return;
    const address = pathToFileURL(this.label);
    address.search = "immutable=1";
    using database = new DatabaseSync(address, { readOnly: true, timeout: 0 });
    this.#checkId(nodeSqliteHandle(database));
  }

  /** @throws {StoreError} if it is not the database that was opened first. */
  #checkId(handle: SqliteHandle): void {
    const kind = fileKind(handle);
    checkFile(kind, this.label);
    if (kind.kind === "empty" && this.#opened !== undefined) throw this.#emptied();
    const id = databaseId(handle);
    if (this.#id !== undefined && id !== this.#id) {
      throw new StoreError("STORE_UNAVAILABLE", `${this.label} is another database now`, {
        hint: PUT_BACK,
      });
    }
    this.#id = id;
  }

  #emptied(): StoreError {
    return new StoreError("STORE_CORRUPT", `${this.label} is empty now`, { hint: PUT_BACK });
  }

  /** @param missing whether an empty file is a new database, or one whose contents are gone. */
  #connect(missing: "make" | "keep"): void {
    if (this.#closed) throw new StoreError("STORE_CLOSED", `${this.label} was closed`);
    const before = statOf(this.label);
    if (before === undefined) {
      throw new StoreError("STORE_UNAVAILABLE", `there is no ${this.label}`, {
        hint: "start the node once, which makes it; or name another file",
      });
    }
    try {
      this.#putOldWalAside(before);
      if (!this.#readOnly) this.#writer = this.#openWriter(missing);
      this.#reader = this.#openReader();
      this.#checkId(this.#reader);
      const after = statOf(this.label);
      if (after?.ino !== before.ino || after.dev !== before.dev) {
        throw new StoreError("STORE_UNAVAILABLE", `${this.label} was replaced just now`);
      }
      this.#opened = this.#seen = after;
      this.#generation++;
      this.#wal = statOf(`${this.#real()}-wal`)?.ino;
      if (!this.#readOnly && this.#wal !== undefined) {
        writeSideFile(this.#side(), { database: after.ino, wal: this.#wal });
      }
    } catch (error) {
      this.#disconnect();
      throw error;
    }
  }

  #openWriter(missing: "make" | "keep"): SqliteHandle {
    const writer = this.#open("write");
    try {
      const kind = fileKind(writer);
      checkFile(kind, this.label);
      if (kind.kind === "empty" && missing === "keep") {
        throw this.#emptied();
      }
      if (this.#id !== undefined) this.#checkId(writer);
      const [[mode] = []] = writer.all("PRAGMA journal_mode", []);
      if (mode !== "wal") writer.exec("PRAGMA journal_mode = WAL");
      // What was acknowledged survives a loss of power.
      writer.exec("PRAGMA synchronous = FULL");
      if (kind.kind !== "ours" || kind.version < MIGRATIONS.length) {
        writer.exec("BEGIN IMMEDIATE");
        migrate(writer, this.label);
        writer.exec("COMMIT");
        // Whoever copies the file alone has a database, and the one that it is.
        writer.exec("PRAGMA wal_checkpoint(PASSIVE)");
      }
      return writer;
    } catch (error) {
      writer.close();
      throw error;
    }
  }

  #openReader(): SqliteHandle {
    this.#immutable = false;
    try {
      return this.#checked(this.#open("read"));
    } catch (error) {
      const result = sqliteResult(error);
      if (!this.#readOnly || this.#walSize() > 0) throw error;
      if (result !== "CANTOPEN" && result !== "READONLY") throw error;
      // Reading takes a lock, which takes a file beside it, which we may not make.
      this.#immutable = true;
      return this.#checked(this.#open("read"));
    }
  }

  #checked(reader: SqliteHandle): SqliteHandle {
    try {
      const kind = fileKind(reader);
      checkFile(kind, this.label);
      const version = kind.kind === "ours" ? kind.version : 0;
      if (version >= READABLE_FROM) return reader;
      const found = version === 0 ? "it is empty" : `it has version ${version}`;
      throw new StoreError("STORE_READ_ONLY", `cannot read ${this.label}: ${found}`, {
        hint:
          version === 0
            ? "restore it from a backup; or, for an empty store: alknet up"
            : "open it once for writing, which brings it up to date: alknet up",
      });
    } catch (error) {
      reader.close();
      throw error;
    }
  }

  #open(mode: "read" | "write"): SqliteHandle {
    const readOnly = mode === "read";
    let address: string | URL = this.label;
    if (this.#immutable) {
      address = pathToFileURL(this.label);
      address.search = "immutable=1";
    }
    const handle = nodeSqliteHandle(
      new DatabaseSync(address, { readOnly, timeout: 0 }),
      this.#integers,
    );
    // Views and triggers that somebody put into the file get no functions to do harm with.
    handle.exec("PRAGMA trusted_schema = OFF");
    return handle;
  }

  /** The `-wal` of another file than this one must not be read into it. */
  #putOldWalAside(now: Seen): void {
    const wal = `${this.#real()}-wal`;
    const found = statOf(wal);
    if (found === undefined || found.size === 0) return;
    if (!this.#isOld(now, found)) return;
    if (this.#readOnly) {
      throw new StoreError(
        "STORE_CORRUPT",
        `${this.label} was replaced, and ${wal} belongs to the file before`,
        { hint: `move it away: mv ${wal} ${wal}.old` },
      );
    }
    fs.renameSync(wal, `${wal}.old`);
    fs.rmSync(`${this.#real()}-shm`, { force: true });
    const fields = { database: this.label, kept: `${wal}.old` };
    this.#logger.warn(
      fields,
      "the database was replaced: the -wal of the file before is put aside",
    );
  }

  /** Whether the `-wal` that was found belongs to another file than the one that is there. */
  #isOld(now: Seen | undefined, found: Seen): boolean {
    const known =
      this.#opened !== undefined && this.#wal !== undefined
        ? { database: this.#opened.ino, wal: this.#wal }
        : readSideFile(this.#side());
    if (known === undefined || now === undefined) return false;
    return isOldWal(known, { database: now.ino, wal: found.ino });
  }

  watch(wake: () => void): void {
    this.#wake = wake;
    this.#follow();
  }

  /** The folder, and not the file: that may be replaced. */
  #follow(): void {
    this.#watcher?.close();
    const real = this.#real();
    const base = path.basename(real);
    // A program that writes and touches nothing has still written the -wal.
    const wanted = new Set([base, `${base}-wal`, path.basename(this.#side())]);
    try {
      this.#watcher = fs.watch(path.dirname(real), { persistent: false }, (_, name) => {
        if (name === null || wanted.has(name)) this.#wakeSoon();
      });
      this.#watcher.on("error", (error) => this.#followFailed(error));
    } catch (error) {
      this.#followFailed(error);
    }
  }

  /**
   * Not at once: libuv reads file events until there are none, and what we do to files makes new ones. Nothing else
   * would ever run again.
   */
  #wakeSoon(): void {
    this.#waking ??= setImmediate(() => {
      this.#waking = undefined;
      this.#wake?.();
    });
  }

  #followFailed(error: unknown): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    const text =
      "cannot watch the folder of the database: changes are seen a quarter of a second later";
    this.#logger.warn({ database: this.label, err: error }, text);
  }

  #touch(): void {
    try {
      touchSideFile(this.#side());
    } catch (error) {
      // Nobody waits for it longer than for the next poll.
      if (this.#saidUntouchable) return;
      this.#saidUntouchable = true;
      const text =
        "cannot touch the file that tells other processes of a change: they see it later";
      this.#logger.warn({ file: this.#side(), err: error }, text);
    }
  }

  close(): void {
    this.#closed = true;
    this.#wake = undefined;
    clearImmediate(this.#waking);
    this.#watcher?.close();
    this.#disconnect();
  }

  #disconnect(): void {
    // The writer last: whoever is last clears the -wal away.
    for (const handle of [this.#reader, this.#writer]) {
      try {
        handle?.close();
      } catch (error) {
        this.#logger.debug({ database: this.label, err: error }, "cannot close a connection");
      }
    }
    this.#reader = this.#writer = undefined;
  }

  #walSize(): number {
    return statOf(`${this.#real()}-wal`)?.size ?? 0;
  }

  /** SQLite puts its files beside the real one. */
  #real(): string {
    try {
      return fs.realpathSync(this.label);
    } catch {
      return this.label;
    }
  }

  #side(): string {
    return `${this.#real()}.notify`;
  }
}

/** What to do when the database is gone. */
const PUT_BACK = "put the file back, or if this is meant: stop the node, and alknet up again";

const READY: Checked = Object.freeze({ state: Object.freeze({ kind: "ready" }) });

function stale(reason: string): Checked {
  return { state: { kind: "stale", reason, since: Date.now() } };
}

/**
 * Make the file if there is none; SQLite would let others read it.
 *
 * One that is there must not even be opened and closed by us: that would drop the locks which SQLite holds on
 * it in this process (https://sqlite.org/howtocorrupt.html, 2.2).
 *
 * @throws {StoreError} if there is something else of that name, or nothing can be made there.
 */
function make(file: string): void {
  try {
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat?.isFile() === false) throw new Error("it is no file");
    if (stat === undefined) fs.closeSync(fs.openSync(file, "wx", 0o600));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Another process was quicker.
    if (code === "EEXIST") return;
    throw new StoreError("STORE_UNAVAILABLE", `cannot open ${file}: ${message}`, {
      cause: error,
      hint: `see who may write there: ls -ld ${path.dirname(file)}`,
    });
  }
}

/** @returns `undefined` if there is nothing. */
function statOf(file: string): Seen | undefined {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  const { dev, ino, size, mtimeMs } = stat;
  return { dev, ino, size, mtimeMs };
}
