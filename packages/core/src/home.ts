/**
 * Where a node keeps its state: one folder (`ALKNET_HOME`), or the platform's config and data folders.
 *
 * Pure: the environment is handed in, and nothing is touched but by {@linkcode privateFolder}.
 *
 * @module
 */

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { makeFolders } from "./make-folders.ts";

/** What decides on the folders; a program passes `process.env`, `process.platform`, `os.homedir()`, … */
export interface HomeSystem {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly userHome: string;
  /** For temporary files. */
  readonly temporary: string;
  /** `process.getuid?.()` */
  readonly uid: number | undefined;
}

/** Absolute paths; none of them need exist. */
export interface Home {
  readonly config: string;
  readonly database: string;
  readonly identity: string;
  readonly vault: string;
  /** 0700: the folder of the sockets. Make it with {@linkcode privateFolder}. */
  readonly run: string;
  /** A Unix socket in `run`, or a named pipe on Windows; as are the other two. */
  readonly controlSocket: string;
  /** Of the vault's agent, for Alknet's own programs. */
  readonly vaultSocket: string;
  /** Of the same agent, for SSH: what `SSH_AUTH_SOCK` names. */
  readonly sshAgentSocket: string;
}

type Sockets = Pick<Home, "run" | "controlSocket" | "vaultSocket" | "sshAgentSocket">;

/**
 * Longest path of a Unix socket, in bytes: `sun_path` without its final zero.
 * It is 108 on Linux and 104 on the BSDs and macOS.
 */
const MAX_SOCKET_PATH = { linux: 107, other: 103 };

/**
 * The paths of a node's state.
 *
 * @throws {RangeError} if even the short paths of the sockets are too long for the system.
 */
export function homePaths(system: HomeSystem): Home {
  const [configFolder, dataFolder] = folders(system);
  const { join } = pathOf(system);
  const run = join(dataFolder, "run");
  return {
    config: join(configFolder, "alknet.toml"),
    database: join(dataFolder, "alknet.db"),
    identity: join(dataFolder, "identity.key"),
    vault: join(dataFolder, "vault.json"),
    ...sockets(system, dataFolder, run),
  };
}

/** A folder is not ours alone. */
export class FolderError extends Error {
  override readonly name = "FolderError";
  readonly code = "FOLDER_PERMISSIONS";
  readonly path: string;

  constructor(folder: string, text: string, options?: ErrorOptions) {
    super(`cannot use folder ${JSON.stringify(folder)}: ${text}`, options);
    this.path = folder;
  }
}

/**
 * Make `folder` and those above it, 0700, or check that the one there is ours and closed to others.
 *
 * @throws {FolderError} if it is a link, another user's, or open to others.
 */
export function privateFolder(folder: string): void {
  makeFolders(folder);
  const stat = fs.lstatSync(folder);
  if (!stat.isDirectory()) throw new FolderError(folder, "expected a folder, not a link or a file");
  if (process.getuid === undefined) return;
  if (stat.uid !== process.getuid()) {
    throw new FolderError(folder, `it belongs to user ${stat.uid}; expected ${process.getuid()}`);
  }
  if ((stat.mode & 0o077) === 0) return;
  const octal = (stat.mode & 0o777).toString(8).padStart(4, "0");
  throw new FolderError(folder, `others can enter it (mode ${octal}); expected 0700: chmod 700 it`);
}

function folders(system: HomeSystem): [config: string, data: string] {
  const { env, platform, userHome } = system;
  const { join, resolve, isAbsolute } = pathOf(system);
  if (env["ALKNET_HOME"]) {
    const folder = resolve(env["ALKNET_HOME"]);
    return [folder, folder];
  }
  // A relative path in one of these is to be ignored (XDG Base Directory Specification).
  const from = (name: string, otherwise: string): string => {
    const value = env[name];
    return join(value && isAbsolute(value) ? value : otherwise, "alknet");
  };
  if (platform === "win32") {
    return [
      from("APPDATA", join(userHome, "AppData", "Roaming")),
      from("LOCALAPPDATA", join(userHome, "AppData", "Local")),
    ];
  }
  if (platform === "darwin") {
    const folder = join(userHome, "Library", "Application Support", "alknet");
    return [folder, folder];
  }
  return [
    from("XDG_CONFIG_HOME", join(userHome, ".config")),
    from("XDG_DATA_HOME", join(userHome, ".local", "share")),
  ];
}

/** All three in one folder: where the longest of them fits. */
function sockets(system: HomeSystem, dataFolder: string, run: string): Sockets {
  const { env, platform, temporary, uid } = system;
  const { join, isAbsolute } = pathOf(system);
  const hash = createHash("sha256").update(dataFolder).digest("hex").slice(0, 16);
  if (platform === "win32") {
    const pipe = (name: string): string => `\\\\.\\pipe\\alknet${name}-${hash}`;
    return {
      run,
      controlSocket: pipe(""),
      vaultSocket: pipe("-vault"),
      sshAgentSocket: pipe("-ssh-agent"),
    };
  }
  const longest = platform === "linux" ? MAX_SOCKET_PATH.linux : MAX_SOCKET_PATH.other;
  const fits = ({ sshAgentSocket }: Sockets): boolean =>
    Buffer.byteLength(sshAgentSocket) <= longest;
  const own: Sockets = {
    run,
    controlSocket: join(run, "control.sock"),
    vaultSocket: join(run, "vault.sock"),
    sshAgentSocket: join(run, "ssh-agent.sock"),
  };
  if (fits(own)) return own;
  const runtime = env["XDG_RUNTIME_DIR"];
  const shortRun =
    runtime && isAbsolute(runtime)
      ? join(runtime, "alknet")
      : join(temporary, `alknet-${uid ?? 0}`);
  // The folder is shared with other homes.
  const short: Sockets = {
    run: shortRun,
    controlSocket: join(shortRun, `${hash}.sock`),
    vaultSocket: join(shortRun, `${hash}-vault.sock`),
    sshAgentSocket: join(shortRun, `${hash}-ssh-agent.sock`),
  };
  if (fits(short)) return short;
  throw new RangeError(
    `cannot place a socket at ${JSON.stringify(short.sshAgentSocket)}: expected at most ${longest} bytes; ` +
      "set XDG_RUNTIME_DIR or ALKNET_HOME to a shorter path",
  );
}

function pathOf({ platform }: HomeSystem): typeof path.posix {
  return platform === "win32" ? path.win32 : path.posix;
}
