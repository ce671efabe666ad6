/**
 * `alknet call TARGET /operation [json | --field value…]`: call an operation of a node, or follow a subscription.
 *
 * What it gives goes to stdout as JSON: of a subscription an item a line, until it ends or Ctrl-C.
 *
 * @module
 */

import type { CallSession } from "@alknet/call/session";
import { declareOperations } from "@alknet/call/type-declarations";
import { parseCallInput, parseJson } from "../call-input.ts";
import { withCallTarget } from "../call-target.ts";
import type { Context } from "../context.ts";
import { describeOperation, describeOperations } from "../described-operations.ts";
import type { Terminal } from "../terminal.ts";

export interface CallCommandOptions {
  readonly json: boolean;
  /** In milliseconds. @default 30_000; of a subscription: none */
  readonly timeout?: number | undefined;
  readonly transports: readonly ("quic" | "tcp")[] | undefined;
}

/** Longest input that is read from stdin, in bytes: with the rest, a frame of the protocol. */
const MAX_INPUT = 60 * 2 ** 20;

/** @param words one JSON document; or `-`, to read it from stdin; or `--field value…` */
export async function call(
  context: Context,
  target: string,
  operation: string,
  words: readonly string[],
  { json, timeout, transports }: CallCommandOptions,
): Promise<void> {
  const { terminal, input: stdin } = context;
  const name = operation.replace(/^\//, "");
  const piped = words.length === 1 && words[0] === "-" ? await readText(stdin) : undefined;
  await withCallTarget(context, target, { transports }, async (session, signal) => {
    const described = await describeOperation(session, name, signal);
    const input =
      piped === undefined ? parseCallInput(words, described?.input_schema) : parseJson(piped);
    // What is not known is called, too: the node's answer says why.
    if (described?.op_type === "subscription") {
      await follow(session, name, input, { timeout, signal }, terminal);
      return;
    }
    print(terminal, await session.call(name, input, { timeout, signal }), json ? 0 : 2);
  });
}

/** `alknet call types TARGET`: its operations as a TypeScript declaration. */
export async function callTypes(
  context: Context,
  target: string,
  { json, transports }: Omit<CallCommandOptions, "timeout">,
): Promise<void> {
  const { terminal } = context;
  await withCallTarget(context, target, { transports }, async (session, signal) => {
    const declarations = declareOperations(await describeOperations(session, signal), target);
    if (json) print(terminal, { declarations }, 0);
    else terminal.data.write(declarations);
  });
}

async function follow(
  session: CallSession,
  name: string,
  input: unknown,
  options: { readonly timeout: number | undefined; readonly signal: AbortSignal },
  terminal: Terminal,
): Promise<void> {
  for await (const item of session.subscribe(name, input, options)) print(terminal, item, 0);
}

async function readText(input: Context["input"]): Promise<string> {
  return Buffer.from(await input.rest(MAX_INPUT)).toString("utf8");
}

/** As JSON; what a terminal would act upon is escaped, as JSON can. */
function print({ data }: Terminal, value: unknown, indent: number): void {
  const text = JSON.stringify(value ?? null, null, indent);
  const escaped = text.replaceAll(/(?!\n)[\p{Cc}\p{Cf}]/gu, (character) =>
    [...Array(character.length).keys()]
      .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`)
      .join(""),
  );
  data.write(`${escaped}\n`);
}
