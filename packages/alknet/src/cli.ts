/**
 * The commands and their options. Each command is imported when it is run.
 *
 * @module
 */

import { Command, CommanderError, Help, InvalidArgumentError } from "commander";
import { ExitCode } from "./command-error.ts";
import type { Context } from "./context.ts";
import { Interrupted } from "./interrupted.ts";
import { printJson, say } from "./terminal.ts";

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
    printed = true;
    data.write(text);
  };
  const terminal = { words, data: { isTerminal: data.isTerminal, write } };
  const program = commands({ ...context, terminal });
  try {
    await program.parseAsync([...args], { from: "user" });
    return ExitCode.DONE;
  } catch (error) {
    // Commander has said it already; help and version are no errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : ExitCode.USAGE;
    if (error instanceof Interrupted) return ExitCode.INTERRUPTED;
    const { explain } = await import("./explain.ts");
    const { ownFingerprint } = await import("./own-fingerprint.ts");
    const { code, message, hint, exitCode } = explain(error, ownFingerprint(context.home));
    say(terminal, `alknet: ${message}`);
    if (hint !== undefined) say(terminal, `hint: ${hint}`);
    // One document, whatever happens: a command that has printed its own has the error in it.
    if (json && !printed) printJson(terminal, { error: { code, message, hint } });
    return exitCode;
  }
}

function commands(context: Context): Command {
  const { terminal, version } = context;
  const program = new Command("alknet")
    .description("Every service you run, behind one port and one key")
    .version(version)
    .exitOverride()
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

  const command = (name: string, description: string): Command => {
    const made = program
      .command(name)
      .description(description)
      .option("--json", "print JSON for programs", false);
    return made;
  };

  command("up", "run the node of this machine")
    .option("-v, --verbose", "log more", false)
    .action(async (options: { json: boolean; verbose: boolean }) => {
      await (await import("./commands/up.ts")).up(context, options);
    });

  command("id", "print the fingerprint of this node's key").action(
    async (options: { json: boolean }) => {
      (await import("./commands/id.ts")).id(context, options);
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
    .option("--tcp", "over TCP only", false)
    .option("--quic", "over QUIC only", false)
    .action(async (target: string, options: PingFlags) => {
      const transports = transportsOf(options);
      await (await import("./commands/ping.ts")).ping(context, target, { ...options, transports });
    });

  command("forward", "make ports of another machine local ones")
    .argument("<target>", TARGET)
    .argument("<forward...>", "[bind:]port:host:hostport, as in ssh -L")
    .option("-v, --verbose", "log more", false)
    .option("--tcp", "over TCP only", false)
    .option("--quic", "over QUIC only", false)
    .action(async (target: string, specs: string[], options: TunnelFlags) => {
      const transports = transportsOf(options);
      const { forward } = await import("./commands/forward.ts");
      await forward(context, target, specs, { ...options, transports });
    });

  command("socks", "a local SOCKS 5 proxy that connects from another machine")
    .argument("<target>", TARGET)
    .option("--listen <[bind:]port>", "where to listen", "127.0.0.1:1080")
    .option("-v, --verbose", "log more", false)
    .option("--tcp", "over TCP only", false)
    .option("--quic", "over QUIC only", false)
    .action(async (target: string, options: TunnelFlags & { listen: string }) => {
      const transports = transportsOf(options);
      await (
        await import("./commands/socks.ts")
      ).socks(context, target, { ...options, transports });
    });

  command("status", "what the running node is doing").action(async (options: { json: boolean }) => {
    await (await import("./commands/status.ts")).status(context, options);
  });

  command("doctor", "find out what is wrong, and how to mend it")
    .argument("[target...]", "nodes to try to reach (default: all peers with an address)")
    .action(async (targets: string[], options: { json: boolean }) => {
      await (await import("./commands/doctor.ts")).doctor(context, targets, options);
    });

  return program;
}

const TARGET = "a peer's name, a ticket, or fingerprint@host:port";

const HELP = `
Getting started:
  there   alknet up                        prints a ticket, and what to do next
  here    alknet id                        the key that has to be let in over there
  here    alknet ping TICKET
  here    alknet forward TICKET 5432:localhost:5432`;

interface TransportFlags {
  readonly tcp: boolean;
  readonly quic: boolean;
}

interface PingFlags extends TransportFlags {
  readonly json: boolean;
  readonly count: number;
}

interface TunnelFlags extends TransportFlags {
  readonly json: boolean;
  readonly verbose: boolean;
}

/** `undefined`: whatever gets through. */
function transportsOf({ tcp, quic }: TransportFlags): readonly ("quic" | "tcp")[] | undefined {
  return tcp === quic ? undefined : [tcp ? "tcp" : "quic"];
}

function countOf(text: string): number {
  const count = /^[0-9]{1,6}$/.test(text) ? Number(text) : 0;
  if (count > 0) return count;
  throw new InvalidArgumentError("expected 1 to 999999.");
}
