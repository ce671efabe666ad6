/**
 * The commands and their options. Each command is imported when it is run.
 *
 * @module
 */

import { Argument, Command, CommanderError, Help, InvalidArgumentError } from "commander";
import { addCallCommands } from "./cli-call.ts";
import { addConfigCommands } from "./cli-config.ts";
import { addCredentialCommands } from "./cli-credential.ts";
import { addInviteCommands } from "./cli-pairing.ts";
import {
  addLogCommand,
  addPeersCommands,
  addTokenCommands,
  type MakeCommand,
} from "./cli-peers.ts";
import { addOpensshCommands } from "./cli-openssh.ts";
import { addSshCommand } from "./cli-ssh.ts";
import { overQuic, overTcp, type TransportFlags, transportsOf } from "./cli-transports.ts";
import { addVaultCommands, PASSPHRASE_STDIN } from "./cli-vault.ts";
import { ExitCode } from "./command-error.ts";
import type { Context } from "./context.ts";
import { lookAtHome, makeHome } from "./home-folder.ts";
import { Interrupted } from "./interrupted.ts";
import { ProgramEnded } from "./program-ended.ts";
import { printJson, say, type Terminal } from "./terminal.ts";

/**
 * Run the command that `args` name.
 *
 * @returns the exit code. Never rejects: errors are told here.
 */
export async function runCli(args: readonly string[], context: Context): Promise<number> {
  const json = args.includes("--json");
  let printed = false;
  const { words, data } = context.terminal;
  const write = (text: string) => {
    // Of what prints an event on each line, the error is one line more.
    printed ||= !text.startsWith('{"event":');
    data.write(text);
  };
  const writeBytes = (bytes: Uint8Array) => {
    printed = true;
    return data.writeBytes(bytes);
  };
  const terminal = { words, data: { isTerminal: data.isTerminal, write, writeBytes } };
  const program = commands({ ...context, terminal });
  try {
    await program.parseAsync([...args], { from: "user" });
    return ExitCode.DONE;
  } catch (error) {
    // Help and version are no errors.
    if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.DONE;
    if (error instanceof CommanderError) {
      // Commander has said it already, but for what to do.
      const { message, hint } = wrongUsage(error, commandIn(program, args));
      if (hint !== undefined) say(terminal, `hint: ${hint}`);
      if (json) printJson(terminal, { error: { code: "USAGE", message, hint } });
      return ExitCode.USAGE;
    }
    if (error instanceof Interrupted) return ExitCode.INTERRUPTED;
    if (error instanceof ProgramEnded) return error.exitCode;
    const { ownFingerprint } = await import("./own-fingerprint.ts");
    // One document, whatever happens: a command that has printed its own has the error in it.
    return await tellError(terminal, error, json && !printed, await ownFingerprint(context.home));
  }
}

/**
 * Tell a person of an error, and programs if `json`.
 *
 * @param fingerprint of this node's key, for what has to be pasted on the other side.
 * @returns the exit code.
 */
export async function tellError(
  terminal: Terminal,
  error: unknown,
  json: boolean,
  fingerprint?: string,
): Promise<ExitCode> {
  const { explain } = await import("./explain.ts");
  const { code, message, report, hint, details, exitCode } = explain(error, fingerprint);
  say(terminal, `alknet: ${report ?? message}`);
  if (details !== undefined) say(terminal, `details: ${JSON.stringify(details)}`);
  if (hint !== undefined) say(terminal, `hint: ${hint}`);
  if (json) printJson(terminal, { error: { code, message, hint, details } });
  return exitCode;
}

/** Name of the command that was meant. */
function commandIn(program: Command, args: readonly string[]): string | undefined {
  const names = program.commands.map((it) => it.name());
  return args.find((arg) => names.includes(arg));
}

/** What is said of wrong usage; without a command, the help has been shown. */
function wrongUsage(
  { code, message }: CommanderError,
  command: string | undefined,
): { readonly message: string; readonly hint: string | undefined } {
  if (code === "commander.help") return { message: "expected a command", hint: undefined };
  const help = command === undefined ? "alknet --help" : `alknet ${command} --help`;
  const example = command === undefined ? undefined : EXAMPLES[command];
  let hint = help;
  if (code === "commander.missingArgument" && example !== undefined) {
    hint = `for example: ${example}; there, alknet ticket prints the TICKET. More: ${help}`;
  } else if (code === "commander.unknownOption" && command === "ssh") {
    hint = `${help}; for all options of ssh: alknet ssh-config --install, then ssh den.alk`;
  }
  return { message: message.replace(/^error: /, ""), hint };
}

const EXAMPLES: Readonly<Record<string, string>> = {
  ping: "alknet ping TICKET",
  forward: "alknet forward TICKET 5432:localhost:5432",
  expose: "alknet expose TICKET 8080:localhost:3000",
  socks: "alknet socks TICKET",
  ssh: "alknet ssh TICKET uptime",
};

function commands(context: Context): Command {
  const { terminal, version } = context;
  const program = new Command("alknet")
    .description("Every service you run, behind one port and one key")
    .version(version)
    .exitOverride()
    // What follows the peer of alknet ssh is for the other side.
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => terminal.data.write(text),
      writeErr: (text) => terminal.words.write(text.replace(/^error: /, "alknet: ")),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .configureHelp({
      // That a flag is off unless it is given goes without saying.
      optionDescription: (option) =>
        option.isBoolean() ? option.description : new Help().optionDescription(option),
    })
    .showSuggestionAfterError()
    .addHelpText("after", HELP);

  const command: MakeCommand = (name, description, parent = program) => {
    const made = parent.command(name).description(description);
    // A group is a command, too, and passes the option on to those in it.
    made.option("--json", "print JSON for programs", false);
    if (parent !== program) {
      return made.hook("preAction", () => {
        if (parent.opts()["json"] === true) made.setOptionValue("json", true);
      });
    }
    return made.hook("preAction", () =>
      (LOOK_ONLY.includes(name) ? lookAtHome : makeHome)(context.home),
    );
  };

  command("up", "run the node of this machine")
    .option("-v, --verbose", "log more", false)
    .option("--passphrase-stdin", PASSPHRASE_STDIN, false)
    .action(async (options: import("./commands/up.ts").UpOptions) => {
      await (await import("./commands/up.ts")).up(context, options);
    });

  command("id", "print the fingerprint of this node's key").action(
    async (options: { json: boolean }) => {
      await (await import("./commands/id.ts")).id(context, options);
    },
  );

  command("ticket", "print a ticket: this node's key and addresses, for others to dial")
    .option("--address <host:port...>", "where others reach it (default: found out)")
    .action(async (options: { json: boolean; address?: string[] }) => {
      await (await import("./commands/ticket.ts")).ticket(context, options);
    });

  command("ping", "see whether a node answers, how fast and over what")
    .argument("<target>", TARGET)
    .option("-c, --count <n>", "how many times", countOf, 4)
    .addOption(overTcp())
    .addOption(overQuic())
    .action(async (target: string, options: PingFlags) => {
      const transports = transportsOf(options);
      await (await import("./commands/ping.ts")).ping(context, target, { ...options, transports });
    });

  addInviteCommands(context, command);

  command("join", "be let in by a node that has invited this machine")
    .argument("<invitation>", "as alknet invite prints it over there")
    .option("--as <name>", "what the node is to be called here (default: what it calls itself)")
    .option("--name <name>", "what to be called there, if that is open (default: own name)")
    .addOption(overTcp())
    .addOption(overQuic())
    .action(async (invitation: string, options: JoinFlags) => {
      const transports = transportsOf(options);
      const { joinCommand } = await import("./commands/join.ts");
      await joinCommand(context, invitation, { ...options, transports });
    });

  command("forward", "make ports of another machine local ones")
    .argument("<target>", TARGET)
    .argument(
      "<forward...>",
      "[bind:]port:host:hostport, as in ssh -L; a port alone: 9000:localhost:9000; sockets by their path",
    )
    .option("--udp", "UDP ports, and not TCP", false)
    .option("-v, --verbose", "log more", false)
    .addOption(overTcp())
    .addOption(overQuic())
    .action(async (target: string, specs: string[], options: TunnelFlags & { udp: boolean }) => {
      const transports = transportsOf(options);
      const { forward } = await import("./commands/forward.ts");
      await forward(context, target, specs, { ...options, transports });
    });

  command("expose", "make ports of this machine ports of another one")
    .argument("<target>", TARGET)
    .argument("<expose...>", "[bind:]port:host:hostport, as in ssh -R; sockets by their path")
    .option("-v, --verbose", "log more", false)
    .addOption(overTcp())
    .addOption(overQuic())
    .action(async (target: string, specs: string[], options: TunnelFlags) => {
      const transports = transportsOf(options);
      const { expose } = await import("./commands/expose.ts");
      await expose(context, target, specs, { ...options, transports });
    });

  command("socks", "a local proxy (SOCKS, HTTP CONNECT) that connects from another machine")
    .argument("<target>", TARGET)
    .argument("[listen]", "[bind:]port: where to listen (default: 1080)")
    .option("--listen <[bind:]port>", "the same")
    .option("--user <name>", "who may use it (default: whoever can connect)")
    .option("--password-file <file>", "the password of that user, in its first line")
    .option("-v, --verbose", "log more", false)
    .addOption(overTcp())
    .addOption(overQuic())
    .action(async (target: string, place: string | undefined, options: SocksFlags) => {
      const transports = transportsOf(options);
      const { socks } = await import("./commands/socks.ts");
      await socks(context, target, place, { ...options, transports });
    });

  addSshCommand(context, command);
  addOpensshCommands(context, command);

  command("status", "what the running node is doing").action(async (options: { json: boolean }) => {
    await (await import("./commands/status.ts")).status(context, options);
  });

  command("doctor", "find out what is wrong, and how to mend it")
    .argument("[target...]", "nodes to try to reach (default: all peers with an address)")
    .action(async (targets: string[], options: { json: boolean }) => {
      await (await import("./commands/doctor.ts")).doctor(context, targets, options);
    });

  addCallCommands(context, command);
  addPeersCommands(context, command);
  addTokenCommands(context, command);
  addCredentialCommands(context, command);
  addVaultCommands(context, command);
  addLogCommand(context, command);
  addConfigCommands(context, command);

  command("completion", "what a shell needs to complete commands; to be sourced")
    .addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"]))
    .action(async (shell: import("./commands/completion.ts").Shell) => {
      (await import("./commands/completion.ts")).completion(context, shell);
    });

  // What those scripts ask. It looks at the commands, and makes no home.
  program
    .command("__complete", { hidden: true })
    .argument("[word...]")
    .action(async (words: string[]) => {
      await (await import("./commands/completion.ts")).complete(context, program, words);
    });

  return program;
}

/** Commands that make nothing where nothing is. */
const LOOK_ONLY: readonly string[] = ["status", "doctor", "config", "vault", "completion"];

const TARGET = "a peer's name, a ticket, or fingerprint@host:port";

const HELP = `
Getting started:
  there   alknet up
  there   alknet invite --name laptop --grant ssh:shell tunnel:dial:localhost:5432
  here    alknet join INVITATION --as den      with the line that this prints
  here    alknet ssh den
  here    alknet forward den 5432:localhost:5432`;

interface PingFlags extends TransportFlags {
  readonly json: boolean;
  readonly count: number;
}

interface JoinFlags extends TransportFlags {
  readonly json: boolean;
  readonly as?: string;
  readonly name?: string;
}

interface TunnelFlags extends TransportFlags {
  readonly json: boolean;
  readonly verbose: boolean;
}

interface SocksFlags extends TunnelFlags {
  readonly listen?: string;
  readonly user?: string;
  readonly passwordFile?: string;
}

function countOf(text: string): number {
  const count = /^[0-9]{1,6}$/.test(text) ? Number(text) : 0;
  if (count > 0) return count;
  throw new InvalidArgumentError("expected 1 to 999999.");
}
