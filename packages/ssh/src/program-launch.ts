/**
 * How a program comes to run: as another user, in its folder, on a terminal, and by the name of a login shell.
 *
 * `spawn` of Node drops the groups of a user, and keeps those of root; `setpriv` (util-linux) gives a program those of
 * the user. What is left to do then is done by a few lines of a shell, as that user: a folder is entered with the
 * user's own rights, and what opens a terminal first has it as its controlling one.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { access, constants, stat } from "node:fs/promises";
import { basename } from "node:path";

export interface LaunchOptions {
  /** The program and its arguments; the program is looked up in `PATH` of `env`. */
  readonly words: readonly [string, ...string[]];
  /** It is to be a login shell: it is called by its name with a `-` before it. */
  readonly login?: boolean | undefined;
  /** Folder to start in. If it cannot be entered that is `/`, and stderr says so. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** @default who this process runs as */
  readonly runAs?: { readonly uid: number; readonly gid: number } | undefined;
}

/** What to give to `spawn`. */
export interface Launch {
  readonly file: string;
  readonly args: readonly string[];
  readonly argv0: string | undefined;
  readonly cwd: string;
}

export interface LaunchTerminal {
  /** `/dev/pts/…` */
  readonly device: string;
  /** Words for `stty`. */
  readonly modes: readonly string[];
}

/** Arguments: device or nothing, words for stty, folder, name of a login shell or nothing, words. */
const SCRIPT = `
set -f
if [ -n "$1" ]; then
  exec 0<>"$1" 1>&0 2>&0
  [ -z "$2" ] || stty $2 2>/dev/null
fi
cd "$3" 2>/dev/null || { echo "alknet: cannot enter $3: starting in /" >&2; cd /; }
login=$4
shift 4
[ -n "$login" ] || exec "$@"
`;
/** Only some shells can run a program by another name. */
const BASH = "/bin/bash";
const LOGIN_BY_NAME = 'exec -a "$login" "$@"';
const LOGIN_BY_OPTION = 'exec "$@" -l';

export async function launch(options: LaunchOptions, terminal?: LaunchTerminal): Promise<Launch> {
  const { words, login = false, cwd, runAs } = options;
  const name = login ? `-${basename(words[0])}` : undefined;
  if (runAs === undefined && terminal === undefined && (await canEnter(cwd))) {
    const [file, ...args] = words;
    return { file, args, argv0: name, cwd };
  }
  const asUser = runAs === undefined ? [] : asOther(runAs);
  const place = [terminal?.device ?? "", terminal?.modes.join(" ") ?? "", cwd, name ?? ""];
  const [file, ...args] = [...asUser, ...shell(login), ...place, ...words] as [string, ...string[]];
  return { file, args, argv0: undefined, cwd: "/" };
}

/** `--inh-caps`: what a service manager has let root hand down is not for the user. */
function asOther({ uid, gid }: { uid: number; gid: number }): readonly string[] {
  const ids = [`--reuid=${uid}`, `--regid=${gid}`, "--init-groups", "--inh-caps=-all"];
  return ["setpriv", ...ids, "--"];
}

function shell(login: boolean): readonly string[] {
  if (!login) return ["/bin/sh", "-c", SCRIPT, "alknet"];
  // `-p`: nothing of the environment is read or run.
  if (existsSync(BASH)) return [BASH, "-p", "-c", `${SCRIPT}${LOGIN_BY_NAME}`, "alknet"];
  return ["/bin/sh", "-c", `${SCRIPT}${LOGIN_BY_OPTION}`, "alknet"];
}

async function canEnter(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.X_OK);
    return (await stat(folder)).isDirectory();
  } catch {
    return false;
  }
}
