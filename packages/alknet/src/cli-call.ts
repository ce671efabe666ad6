/**
 * The commands about operations: `call`, `ops`.
 *
 * @module
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import { parseDuration } from "@alknet/core/duration";
import type { MakeCommand } from "./cli-peers.ts";
import { CommandError, ExitCode } from "./command-error.ts";
import type { Context } from "./context.ts";

const NODE = "a peer's name, a ticket, fingerprint@host:port, or . for the node of this folder";

interface TransportFlags {
  readonly json: boolean;
  readonly tcp: boolean;
  readonly quic: boolean;
}

export function addCallCommands(context: Context, command: MakeCommand): void {
  const load = () => import("./commands/call.ts");
  const call = overTransports(command("call", "call an operation of a node"))
    .argument("<node>", NODE)
    .argument("[operation]", "its name, as alknet ops prints it")
    .argument("[input...]", "one JSON document, - to read it from stdin, or --field value …")
    .option("--local", "the node of this folder, in the place of a target", false)
    .option("--timeout <time>", "give up after 500ms, 10s, 5m (default: 30s for a call)", timeOf)
    .allowUnknownOption()
    .addHelpText("after", FIELDS)
    .action(
      async (
        first: string,
        second: string | undefined,
        rest: string[],
        options: TransportFlags & { local: boolean; timeout?: number },
      ) => {
        const given = [first, ...(second === undefined ? [] : [second]), ...rest];
        const [target = "", operation, ...input] = options.local ? [".", ...given] : given;
        if (operation === undefined || operation.startsWith("-")) throw missingOperation(target);
        const { call: run } = await load();
        await run(context, target, operation, input, withTransports(options));
      },
    );

  overTransports(command("types", "the operations of a node as a TypeScript declaration", call))
    .argument("<node>", NODE)
    .action(
      async (target: string, options: TransportFlags) =>
        await (await load()).callTypes(context, target, withTransports(options)),
    );

  overTransports(command("ops", "the operations of a node that this key may call"))
    .argument("<node>", NODE)
    .argument("[operation]", "one of them, with its types")
    .action(async (target: string, operation: string | undefined, options: TransportFlags) => {
      const ops = await import("./commands/ops.ts");
      const flags = withTransports(options);
      if (operation === undefined) await ops.listOperations(context, target, flags);
      else await ops.showOperation(context, target, operation, flags);
    });
}

const FIELDS = `
A field that is called like one of these options is given in JSON.

  alknet call den /node/peers/grant --name laptop --scopes git:read
  alknet call den /node/log '{"lines":10}'
  alknet call . /node/status`;

function overTransports(command: Command): Command {
  return command
    .addOption(new Option("--tcp", "over TCP only").default(false).conflicts("quic"))
    .addOption(new Option("--quic", "over QUIC only").default(false));
}

/** `undefined`: whatever gets through. */
function withTransports<Flags extends TransportFlags>({
  tcp,
  quic,
  ...options
}: Flags): Omit<Flags, "tcp" | "quic"> & { transports: readonly ("quic" | "tcp")[] | undefined } {
  return { ...options, transports: tcp ? ["tcp"] : quic ? ["quic"] : undefined };
}

function missingOperation(target: string): CommandError {
  return new CommandError("expected the name of an operation after the target", {
    code: "USAGE",
    exitCode: ExitCode.USAGE,
    hint: `see what there is: alknet ops ${target.startsWith("/") ? "TARGET" : target}`,
  });
}

function timeOf(text: string): number {
  try {
    const time = parseDuration(text);
    if (time > 0) return time;
  } catch {
    // Said below.
  }
  throw new InvalidArgumentError("expected for example 500ms, 10s, 5m.");
}
