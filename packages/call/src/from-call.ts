/**
 * Operations of another node, as operations of this one: each call is forwarded there.
 *
 * What they answer is taken as it comes: that node checks its inputs and outputs, and is trusted like code of
 * one's own. They compose nothing, and it is this node that is authorised there, not whoever calls it here.
 *
 * @module
 */

import type { Identity } from "@alknet/core/access";
import { type Clock, systemClock } from "@alknet/core/clock";
import { CallError } from "./call-error.ts";
import type { CallOptions } from "./caller.ts";
import { uncheckedSchema } from "./json-schema.ts";
import {
  type Access,
  type AnyOperation,
  isOperationName,
  operation,
  type OperationContext,
} from "./operation.ts";
import { withEventId } from "./output-stream.ts";
import { register, type Registration } from "./registry.ts";
import { parseDescribedOperation, parseOperationList } from "./services.ts";
import type { CallSession } from "./session.ts";

export interface ImportOptions {
  /** Put before the names, here and not there: `render` makes `jobs/run` the operation `render/jobs/run`. */
  readonly prefix?: string | undefined;
  /** Names, as they are over there, of what is imported. @default all */
  readonly only?: readonly string[] | undefined;
  /**
   * Offer them to callers of this node; else they are for composition alone. With `true`, callers need the scope
   * `call:invoke:<name>`.
   *
   * @default false
   */
  readonly expose?: boolean | Access | undefined;
  /** The session's. @default the machine's */
  readonly clock?: Clock | undefined;
}

/** Operations could not be imported. */
export class AdapterError extends Error {
  override readonly name = "AdapterError";
  readonly code:
    | "DISCOVERY_FAILED"
    | "SCHEMA_PARSE"
    | "TRANSPORT"
    | "UNAUTHORIZED"
    | "SAME_PEER_COLLISION";

  constructor(code: AdapterError["code"], text: string, options?: ErrorOptions) {
    super(`cannot import operations: ${text}`, options);
    this.code = code;
  }
}

/** Schemas that are asked for at once. */
const PARALLEL = 16;

/** Descriptions that are taken of one node, in characters of JSON: they are kept while it is connected. */
const MAX_DESCRIPTIONS = 16 * 2 ** 20;

/**
 * Import what the peer of `session` lets us call.
 *
 * @throws {AdapterError}
 */
export async function fromCall(
  session: CallSession,
  options: ImportOptions = {},
): Promise<Registration[]> {
  const { only } = options;
  const listed = await ask(session, "services/list", {}, parseOperationList);
  const wanted = listed.filter(
    ({ name }) => !name.startsWith("services/") && (only?.includes(name) ?? true),
  );
  const names = new Set<string>();
  for (const { name } of wanted) {
    if (names.has(name)) {
      throw new AdapterError("SAME_PEER_COLLISION", `it has ${JSON.stringify(name)} twice`);
    }
    names.add(name);
  }
  const registrations: Registration[] = [];
  let total = 0;
  const queue = wanted.entries();
  const work = async (): Promise<void> => {
    for (const [at, { name }] of queue) {
      const described = await ask(session, "services/schema", { name }, parseDescribedOperation);
      total += JSON.stringify(described).length;
      if (total > MAX_DESCRIPTIONS) {
        const text = `its operations take more than ${MAX_DESCRIPTIONS} characters to describe`;
        throw new AdapterError("SCHEMA_PARSE", text);
      }
      registrations[at] = imported(session, { ...described, name }, options);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  return registrations;
}

function imported(
  session: CallSession,
  described: ForeignOperation,
  options: ImportOptions,
): Registration {
  try {
    return register(forwarding(session, described, options), "from-call");
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new AdapterError("SCHEMA_PARSE", text, { cause });
  }
}

async function ask<T>(
  session: CallSession,
  name: string,
  input: object,
  parse: (answer: unknown) => T,
): Promise<T> {
  let answer: unknown;
  try {
    answer = await session.call(name, input);
  } catch (cause) {
    if (!(cause instanceof CallError)) throw cause;
    const code = codes.get(cause.code) ?? "TRANSPORT";
    throw new AdapterError(code, `${name}: ${cause.message}`, { cause });
  }
  try {
    return parse(answer);
  } catch (cause) {
    const text = `${name} ${JSON.stringify(input)} answered with something else`;
    throw new AdapterError("SCHEMA_PARSE", text, { cause });
  }
}

const codes: ReadonlyMap<string, AdapterError["code"]> = new Map([
  ["NOT_FOUND", "DISCOVERY_FAILED"],
  ["FORBIDDEN", "UNAUTHORIZED"],
]);

type ForeignOperation = ReturnType<typeof parseDescribedOperation>;

function forwarding(
  session: CallSession,
  described: ForeignOperation,
  { prefix, expose = false, clock = systemClock }: ImportOptions,
): AnyOperation {
  const { name: there, op_type, description, resumable } = described;
  const name = prefix === undefined ? there : `${prefix}/${there}`;
  if (!isOperationName(name)) {
    throw new TypeError(`${JSON.stringify(name)} is no name of an operation`);
  }
  const common = {
    name,
    description,
    resumable,
    visibility: expose === false ? "internal" : "external",
    access: typeof expose === "boolean" ? undefined : expose,
    input: uncheckedSchema(described.input_schema),
    output: uncheckedSchema(described.output_schema),
    errors: Object.fromEntries(
      described.error_schemas.map(({ code, description, schema, http_status }) => [
        code,
        { description, details: uncheckedSchema(schema), httpStatus: http_status ?? undefined },
      ]),
    ),
  } as const;
  const optionsOf = (context: OperationContext): CallOptions => ({
    signal: context.signal,
    // One deadline for the whole tree. Where there is none, that of a call.
    timeout:
      context.deadline === undefined ? undefined : Math.max(0, context.deadline - clock.now()),
    // Whoever began it all, and not the authority that a handler in between has.
    forwardedFor: context.originator === undefined ? undefined : forwarded(context.originator),
  });
  if (op_type !== "subscription") {
    return operation({
      ...common,
      type: op_type,
      handler: (input, context) => session.call(there, input, optionsOf(context)),
    });
  }
  return operation({
    ...common,
    type: op_type,
    async *handler(input, context) {
      const { lastEventId } = context;
      await using items = session.subscribe(there, input, { ...optionsOf(context), lastEventId });
      for await (const item of items) {
        yield items.lastEventId === undefined ? item : withEventId(items.lastEventId, item);
      }
    },
  });
}

function forwarded({ id, scopes, resources }: Identity) {
  return { id, scopes, resources };
}
