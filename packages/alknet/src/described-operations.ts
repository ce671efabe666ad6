/**
 * What a node says of its operations, by `services/list` and `services/schema`.
 *
 * @module
 */

import { CallError } from "@alknet/call/call-error";
import {
  type DescribedOperation,
  parseDescribedOperation,
  parseOperationList,
} from "@alknet/call/services";
import type { CallSession } from "@alknet/call/session";
import * as z from "zod";
import { CommandError } from "./command-error.ts";

/** An operation as it was described, and what it asks of who calls it. */
export interface RemoteOperation extends Omit<DescribedOperation, "access_control" | "visibility"> {
  readonly wants: Wants;
}

/** Rights that an operation asks for: all of `scopes`, one of `anyScope`, one resource of the type. */
export interface Wants {
  readonly scopes: readonly string[];
  readonly anyScope: readonly string[];
  readonly resource: string | undefined;
}

const text = z.string().max(4_096);
const access = z.object({
  access_control: z.object({
    required_scopes: z.array(text),
    required_scopes_any: z.array(text).nullish(),
    resource_type: text.nullish(),
    resource_action: text.nullish(),
  }),
});

/** Questions that are under way at once. */
const AT_ONCE = 32;

/** Names of those that the caller may call, in the node's order. */
export async function operationNames(
  session: CallSession,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const answer = await session.call("services/list", {}, { signal });
  return read(() => parseOperationList(answer)).map(({ name }) => name);
}

/** @returns `undefined` if there is none, or none that the caller may know of. */
export async function describeOperation(
  session: CallSession,
  name: string,
  signal: AbortSignal,
): Promise<RemoteOperation | undefined> {
  let answer: unknown;
  try {
    answer = await session.call("services/schema", { name }, { signal });
  } catch (error) {
    if (error instanceof CallError && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
  const described = read(() => parseDescribedOperation(answer));
  const { access_control: wanted } = read(() => access.parse(answer));
  const { resource_type: type, resource_action: action } = wanted;
  return {
    ...described,
    wants: {
      scopes: wanted.required_scopes,
      anyScope: wanted.required_scopes_any ?? [],
      resource: type == null ? undefined : `${type}/${action ?? "*"}`,
    },
  };
}

/** All of them; what has gone meanwhile is left out. */
export async function describeOperations(
  session: CallSession,
  signal: AbortSignal,
): Promise<RemoteOperation[]> {
  const names = await operationNames(session, signal);
  const described: (RemoteOperation | undefined)[] = [];
  const waiting = names.entries();
  const worker = async (): Promise<void> => {
    for (const [index, name] of waiting) {
      described[index] = await describeOperation(session, name, signal);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return described.filter((it) => it !== undefined);
}

function read<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new CommandError("cannot read what the node says of its operations", {
      code: "ANSWER_INVALID",
      hint: "it may be of another version, or another program",
      cause: error,
    });
  }
}
