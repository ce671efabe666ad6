/**
 * How a program comes to run: as another user, in its folder, on a terminal, and by the name of a login shell.
 *
 * `spawn` of Node drops the groups of a user, and keeps those of root; `setpriv` (util-linux) gives a program those of
 * the user. What is left to do then is done by a few lines of a shell, as that user: a folder is entered with the
 * user's own rights, and what opens a terminal first has it as its controlling one.
 *
 * Variables go past `setpriv` and that shell under other names, and have their own for the program alone: `LD_PRELOAD` of
 * a client that may set it would else be code that runs as root.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { access, constants, stat } from "node:fs/promises";
import { basename } from "node:path";
import { MARK } from "./program-processes.ts";

export interface LaunchOptions {
  /** The program and its arguments; the program is looked up in `PATH` of `env`. */
  readonly words: readonly [string, ...string[]];
  /** It is to be a login shell: it is called by its name with a `-` before it. */
  readonly login?: boolean | undefined;
  /** Folder to start in. If it cannot be entered that is `/`, and stderr says so. */
  readonly cwd: string;
  /** Names are those of a shell's variables: letters, digits and `_`, no digit first. */
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
  readonly env: Readonly<Record<string, string>>;
}

export interface LaunchTerminal {
  /** `/dev/pts/…` */
  readonly device: string;
  /** Words for `stty`. */
  readonly modes: readonly string[];
}

/** Before the name of a variable that is not to be used yet. */
const LATER = "ALKNET_LATER_";

/** Arguments: device or nothing, words for stty, folder, names of variables, name of a login shell or nothing, words. */
const SCRIPT = `
set -f
if [ -n "$1" ]; then
  exec 0<>"$1" 1>&0 2>&0
  [ -z "$2" ] || stty $2 2>/dev/null
fi
cd "$3" 2>/dev/null || { echo "alknet: cannot enter $3: starting in /" >&2; cd /; }
for ALKNET_NAME in $4; do
  eval "export $ALKNET_NAME=\\"\\$${LATER}$ALKNET_NAME\\"; unset ${LATER}$ALKNET_NAME"
done
ALKNET_LOGIN=$5
shift 5
[ -n "$ALKNET_LOGIN" ] || exec "$@"
`;
/** Only some shells can run a program by another name. */
const BASH = "/bin/bash";
const LOGIN_BY_NAME = 'exec -a "$ALKNET_LOGIN" "$@"';
const LOGIN_BY_OPTION = 'exec "$@" -l';

export async function launch(options: LaunchOptions, terminal?: LaunchTerminal): Promise<Launch> {
  const { words, login = false, cwd, env, runAs } = options;
  const name = login ? `-${basename(words[0])}` : undefined;
  if (runAs === undefined && terminal === undefined && (await canEnter(cwd))) {
    const [file, ...args] = words;
    return { file, args, argv0: name, cwd, env };
  }
  const asUser = runAs === undefined ? [] : asOther(runAs);
  const place = [terminal?.device ?? "", terminal?.modes.join(" ") ?? "", cwd];
  const rest = [...place, Object.keys(env).join(" "), name ?? "", ...words];
  const [file, ...args] = [...asUser, ...shell(login), ...rest] as [string, ...string[]];
  return { file, args, argv0: undefined, cwd: "/", env: forLater(env) };
}

/** Only what a shell finds programs by, and what all processes of a program are known by, is as it was. */
function forLater(env: Readonly<Record<string, string>>): Record<string, string> {
  const { PATH = "", [MARK]: mark = "" } = env;
  const later = Object.entries(env).map(([name, value]) => [`${LATER}${name}`, value]);
  return { ...(Object.fromEntries(later) as Record<string, string>), PATH, [MARK]: mark };
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
