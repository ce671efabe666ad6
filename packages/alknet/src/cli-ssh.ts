/**
 * The options of `alknet ssh`, by the names that they have in `ssh`.
 *
 * @module
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import type { MakeCommand } from "./cli-peers.ts";
import { overQuic, overTcp, type TransportFlags, transportsOf } from "./cli-transports.ts";
import { CommandError, ExitCode } from "./command-error.ts";
import type { Context } from "./context.ts";
import { parseEscape } from "./ssh-escape.ts";
import {
  parseDynamicForward,
  parseLocalForward,
  parsePlace,
  parseRemoteForward,
  type ForwardPlace,
  type SshForward,
} from "./ssh-forward-spec.ts";

interface SshFlags extends TransportFlags {
  readonly json: boolean;
  readonly L?: readonly SshForward[];
  readonly R?: readonly SshForward[];
  readonly D?: readonly SshForward[];
  /** How often `-t` was given. */
  readonly t: number;
  /** `false`: -T was given. */
  readonly T: boolean;
  readonly N: boolean;
  readonly n: boolean;
  readonly A: boolean;
  readonly J?: readonly string[];
  readonly l?: string;
  readonly e: number | undefined;
  readonly W?: ForwardPlace;
  readonly env?: Readonly<Record<string, string>>;
  readonly persist: boolean;
  readonly acceptNew: boolean;
}

export function addSshCommand(context: Context, command: MakeCommand): void {
  withOptions(command("ssh", "a shell or a command on another machine, and forwards"))
    .argument(
      "<peer>",
      "a peer's name, a ticket, or fingerprint@host:port; user@ may stand before it",
    )
    .argument("[command...]", "what to run there, by its shell (default: a shell)")
    .passThroughOptions()
    .addHelpText("after", NOTES)
    .action(async (peer: string, rest: string[], _flags: object, given: Command) => {
      // As in ssh, options may follow the peer, up to the command.
      const { operands, unknown } = given.parseOptions(rest);
      const words = [...operands, ...unknown];
      if (words[0]?.startsWith("-") === true)
        given.error(`error: unknown option '${words[0]}'`, { code: "commander.unknownOption" });
      const flags = given.opts<SshFlags>();
      const { sshCommand } = await import("./commands/ssh.ts");
      await sshCommand(context, peer, {
        json: flags.json,
        transports: transportsOf(flags),
        user: flags.l,
        session: sessionOf(words, flags),
        carry: flags.W,
        local: [...(flags.L ?? []), ...(flags.D ?? [])],
        remote: flags.R ?? [],
        agent: flags.A,
        gates: flags.J ?? [],
        persist: flags.persist,
        acceptNew: flags.acceptNew,
      });
    });
}

function withOptions(command: Command): Command {
  return command
    .addOption(
      many(
        "-L <forward>",
        "[bind:]port:host:hostport, or sockets by their path",
        parseLocalForward,
      ),
    )
    .addOption(
      many("-R <forward>", "the same, listening there; a port alone is SOCKS", parseRemoteForward),
    )
    .addOption(many("-D <[bind:]port>", "SOCKS here, connecting from there", parseDynamicForward))
    .addOption(
      new Option("-W <host:port>", "stdin and stdout to there, connecting from over there")
        .argParser((text: string) => parsed(text, parsePlace))
        .conflicts("json"),
    )
    .option("-N", "run nothing, only forward", false)
    .option("-t", "ask for a terminal; twice: also without one here", countOf, 0)
    .option("-T", "ask for no terminal", false)
    .option("-n", "nothing comes in from here", false)
    .option("-A", "forward the SSH agent", false)
    .option("-J <peer,...>", "go through these peers, in their order", peersOf)
    .option("-l <user>", "login name there")
    .addOption(
      new Option("-e <character>", "escape character; none: no escapes")
        .argParser((text: string) => parsed(text, parseEscape))
        .default(TILDE, "~"),
    )
    .option("--env <name=value>", "a variable over there, where it is let in", addVariable)
    .option("--persist", "when the connection is lost, dial again, and forward again", false)
    .option(
      "--accept-new",
      "take the key that an address without one shows at the first time",
      false,
    )
    .addOption(overTcp())
    .addOption(overQuic());
}

const TILDE = 0x7e;
/** By how often `-t` was given. */
const TERMINALS = [undefined, "yes", "always"] as const;

const NOTES = `
Exit codes: that of the command, 128 and the number of a signal, 255 where the connection was lost;
before there is one, 3 (not allowed), 4 (could not connect) and 1 (a port is taken).
Other options of ssh are for ssh itself: alknet ssh-config --install, then ssh den.alk.

  alknet ssh den
  alknet ssh den -- df -h
  alknet ssh -N -L 5432:db.internal:5432 -R 8080:localhost:3000 den
  alknet ssh -J gate den`;

function many(flags: string, description: string, parse: (text: string) => SshForward): Option {
  return new Option(flags, description).argParser(
    (text: string, before: readonly SshForward[] | undefined) => [
      ...(before ?? []),
      parsed(text, parse),
    ],
  );
}

function parsed<Value>(text: string, parse: (text: string) => Value): Value {
  try {
    return parse(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function countOf(_none: unknown, before: number): number {
  return before + 1;
}

function addVariable(text: string, before: SshFlags["env"] = {}): SshFlags["env"] {
  const [, name, value = ""] = /^([A-Za-z_][A-Za-z0-9_]*)=([^\0]*)$/s.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError("expected NAME=VALUE");
  return { ...before, [name]: value };
}

function peersOf(text: string): readonly string[] {
  const peers = text.split(",");
  if (peers.every((peer) => peer !== "")) return peers;
  throw new InvalidArgumentError("expected names of peers with commas between them");
}

function sessionOf(words: readonly string[], flags: SshFlags) {
  const command = words.length === 0 ? undefined : words.join(" ");
  if (!flags.N && flags.W === undefined) {
    const terminal = flags.T ? "no" : TERMINALS[Math.min(flags.t, 2)];
    const { A: agent, e: escape, env = {} } = flags;
    return { command, terminal, input: !flags.n, escape, agent, env } as const;
  }
  if (command === undefined) return undefined;
  throw new CommandError(`${flags.N ? "-N" : "-W"} runs nothing: there is a command, too`, {
    code: "USAGE",
    exitCode: ExitCode.USAGE,
    hint: "leave out the one or the other",
  });
}
