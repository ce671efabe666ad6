/**
 * `alknet completion bash|zsh|fish`: what a shell needs to complete commands, options, and names of peers,
 * credentials and operations.
 *
 * The scripts only ask: `alknet __complete -- WORD…` prints what may stand in the place of the last word, a line each
 * with a description after a tab. So they never grow old; a node that learns a peer needs no new script.
 *
 * @module
 */

import type { Command } from "commander";
import type { Config } from "@alknet/core/config";
import { loadConfig } from "@alknet/core/config-file";
import type { IdentityStore } from "@alknet/core/identity-store";
import { inspectVaultFile } from "@alknet/vault/vault-file";
import type { Context } from "../context.ts";
import { openStoreToRead } from "../open-store.ts";
import { printable } from "../terminal.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

export function completion({ terminal }: Context, shell: Shell): void {
  terminal.data.write(SCRIPTS[shell]);
}

/** Print what may stand in the place of the last of `words`. Never fails: nobody would see it. */
export async function complete(
  context: Context,
  program: Command,
  words: readonly string[],
): Promise<void> {
  const { before, current } = { before: words.slice(0, -1), current: words.at(-1) ?? "" };
  const place = placeOf(program, before);
  const found = current.startsWith("-") ? optionsOf(place.command) : await wordsAt(context, place);
  for (const [word, about] of found) {
    if (!word.startsWith(current)) continue;
    const text = printable(about).split("\n")[0]!;
    context.terminal.data.write(`${word}\t${text}\n`);
  }
}

type Suggestion = readonly [word: string, about: string];

interface Place {
  readonly command: Command;
  /** Arguments of the command that are there already. */
  readonly given: readonly string[];
  /** The word belongs to an option before it. */
  readonly ofOption: boolean;
}

function placeOf(program: Command, words: readonly string[]): Place {
  let command = program;
  let given: string[] = [];
  let ofOption = false;
  let more = false;
  for (const word of words) {
    // It stands for the target.
    if (word === "--local") given.push(".");
    if (word.startsWith("-")) {
      const option = command.options.find(({ short, long }) => word === short || word === long);
      more = option?.variadic === true;
      ofOption = option !== undefined && (option.required || option.optional);
      continue;
    }
    if (ofOption) {
      // Of a list: there may be more, and whether there are nobody can know.
      ofOption = more;
      continue;
    }
    const next =
      given.length === 0 ? command.commands.find((each) => each.name() === word) : undefined;
    if (next === undefined) given.push(word);
    else command = next;
  }
  return { command, given, ofOption };
}

function optionsOf(command: Command): Suggestion[] {
  const options = command.createHelp().visibleOptions(command);
  return options.map((option) => [option.long ?? option.short ?? "", option.description]);
}

async function wordsAt(context: Context, { command, given, ofOption }: Place) {
  if (ofOption) return [];
  const found: Suggestion[] = [];
  if (given.length === 0) {
    for (const each of command.createHelp().visibleCommands(command)) {
      found.push([each.name(), each.description()]);
    }
  }
  const list = command.registeredArguments;
  const argument = list[given.length] ?? (list.at(-1)?.variadic === true ? list.at(-1) : undefined);
  for (const choice of argument?.argChoices ?? []) found.push([choice, ""]);
  if (argument?.name() === "node") found.push([".", "the node of this folder"]);
  const isPeer =
    ["target", "node"].includes(argument?.name() ?? "") || isNameOfPeer(command, argument?.name());
  if (isPeer) found.push(...(await peersOf(context)));
  if (argument?.name() === "label") found.push(...unlockKeysOf(context));
  if (argument?.name() === "operation") found.push(...(await operationsOf(context, given[0]!)));
  if (argument?.name() === "provider") found.push(...(await credentialsOf(context)));
  return found;
}

/** `alknet peers add` takes a name that nobody has. */
function isNameOfPeer(command: Command, argument: string | undefined): boolean {
  return command.parent?.name() === "peers" && command.name() !== "add" && argument === "name";
}

async function peersOf(context: Context): Promise<Suggestion[]> {
  return await known(context, ({ peers }, store) => {
    const names = new Set([...peers, ...(store?.peers ?? [])].map(({ peerId }) => peerId));
    return [...names].map((name) => [name, "peer"]);
  });
}

/** Time for a node to tell its operations, in milliseconds: somebody waits at a prompt. */
const PATIENCE = 2_000;

async function operationsOf(context: Context, target: string): Promise<Suggestion[]> {
  // Nobody is asked for a passphrase while they type.
  const quiet = { ...context, openTty: async () => undefined };
  const signal = AbortSignal.timeout(PATIENCE);
  const { withCallTarget } = await import("../call-target.ts");
  const { operationNames } = await import("../described-operations.ts");
  try {
    const names = await withCallTarget(quiet, target, { signal }, operationNames);
    return names.map((name) => [`/${name}`, "operation"]);
  } catch {
    return [];
  }
}

async function credentialsOf(context: Context): Promise<Suggestion[]> {
  return await known(context, (_, store) =>
    (store?.credentials.list() ?? []).map(({ provider }) => [provider, "credential"]),
  );
}

function unlockKeysOf({ home }: Context): Suggestion[] {
  try {
    return inspectVaultFile(home.vault).unlockKeys.map((label) => [label, "unlock key"]);
  } catch {
    return [];
  }
}

async function known(
  context: Context,
  look: (config: Config, store: IdentityStore | undefined) => Suggestion[],
): Promise<Suggestion[]> {
  try {
    const config = await loadConfig(context.home.config);
    await using store = await openStoreToRead(context, config);
    return look(config, store);
  } catch {
    // What is wrong with them, every other command says.
    return [];
  }
}

/** Words are cut at blanks, as they stand on the line: bash would cut at colons, too. */
const BASH = `# To have it always: alknet completion bash > ~/.local/share/bash-completion/completions/alknet
_alknet() {
  local line="\${COMP_LINE:0:COMP_POINT}" words word
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  local current="\${words[-1]}"
  # What is before the last colon stands on the line already.
  local colon=""
  [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] && colon="\${current%"\${current##*:}"}"
  COMPREPLY=()
  while IFS=$'\\t' read -r word _; do
    COMPREPLY+=("\${word#"$colon"}")
  done < <("\${words[0]}" __complete -- "\${words[@]:1}" 2>/dev/null)
}
complete -o default -F _alknet alknet
`;

const ZSH = `#compdef alknet
# To have it always: alknet completion zsh > a file named _alknet in a folder of $fpath
_alknet() {
  local -a found
  local word about
  while IFS=$'\\t' read -r word about; do
    found+=("\${word//:/\\\\:}:$about")
  done < <("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( $#found )); then _describe -t words word found; else _files; fi
}
if [[ $funcstack[1] == _alknet ]]; then _alknet "$@"; else compdef _alknet alknet; fi
`;

const FISH = `# To have it always: alknet completion fish > ~/.config/fish/completions/alknet.fish
function __alknet_complete
  set -l words (commandline -opc) (commandline -ct)
  $words[1] __complete -- $words[2..-1] 2>/dev/null
end
complete -c alknet -a '(__alknet_complete)'
`;

const SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH };
