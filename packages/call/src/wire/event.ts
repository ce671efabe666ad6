/**
 * Events of `alknet/call`: JSON envelopes `{ "type", "id", "payload" }`.
 *
 * ```text
 * call.requested  { operationId, input, auth_token?, forwarded_for?, window?, timeout_ms?, last_event_id? }
 * call.responded  { output, event_id? }
 * call.completed  {}
 * call.aborted    {}
 * call.error      { code, message, retryable, details? }
 * call.credit     { items }
 * ```
 *
 * `window` (items), `timeout_ms`, `last_event_id`, `event_id` and `call.credit` are ours; a peer that does not
 * know them ignores them. An optional field that is null counts as absent.
 *
 * @module
 */

import { hasTooManyValues, MAX_VALUES } from "./value-count.ts";

/** Longest id, in characters. */
export const MAX_ID = 128;

/** Most items that a window, or one credit, can open. */
export const MAX_ITEMS: number = 2 ** 31 - 1;

/** Who a hub says it speaks for: the identity of its caller. Data for logs and quotas, never authority. */
export interface ForwardedFor {
  readonly id: string;
  readonly scopes: readonly string[];
  readonly resources: Readonly<Record<string, readonly string[]>>;
}

export type CallEvent =
  | Requested
  | Responded
  | Failed
  | { readonly type: "completed"; readonly id: string }
  | { readonly type: "aborted"; readonly id: string }
  /** More items may be sent. */
  | { readonly type: "credit"; readonly id: string; readonly items: number }
  /** A request that cannot be: it is answered with `INVALID_INPUT` and `problem`. */
  | { readonly type: "invalid"; readonly id: string; readonly problem: string };

export interface Requested {
  readonly type: "requested";
  readonly id: string;
  /** Without the leading slash. */
  readonly operation: string;
  readonly input: unknown;
  readonly authToken: string | undefined;
  readonly forwardedFor: ForwardedFor | undefined;
  /** Items that the subscriber has room for; `undefined`: it does not say. */
  readonly window: number | undefined;
  /** Milliseconds that the caller will wait. */
  readonly timeout: number | undefined;
  readonly lastEventId: string | undefined;
}

export interface Responded {
  readonly type: "responded";
  readonly id: string;
  readonly output: unknown;
  readonly eventId: string | undefined;
}

export interface Failed {
  readonly type: "error";
  readonly id: string;
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly details: unknown;
}

/** A body is no event. Its stream cannot be trusted to be one of this protocol: end it. */
export class EventError extends Error {
  override readonly name = "EventError";
  readonly code = "EVENT";
}

/**
 * Read one body.
 *
 * @returns `undefined` for an event of a type that is not known here: ignore it.
 * @throws {EventError} if it is not JSON, or no envelope with a type, an id and what the type needs.
 */
export function parseEvent(body: string): CallEvent | undefined {
  const { type, id, payload } = parseEnvelope(body);
  switch (type) {
    case "call.requested":
      return requested(idOf(id), objectOf(payload));
    case "call.responded": {
      const { output, event_id: eventId } = objectOf(payload);
      return {
        type: "responded",
        id: idOf(id),
        output,
        eventId: typeof eventId === "string" ? eventId : undefined,
      };
    }
    case "call.completed":
      return { type: "completed", id: idOf(id) };
    case "call.aborted":
      return { type: "aborted", id: idOf(id) };
    case "call.error":
      return failed(idOf(id), objectOf(payload));
    case "call.credit": {
      const { items } = objectOf(payload);
      if (!isCount(items)) {
        throw new EventError(`cannot read credit: expected items from 1 to ${MAX_ITEMS}`);
      }
      return { type: "credit", id: idOf(id), items };
    }
    default:
      return undefined;
  }
}

type Json = Readonly<Record<string, unknown>>;

function parseEnvelope(body: string): { type: string; id: unknown; payload: unknown } {
  if (hasTooManyValues(body)) {
    throw new EventError(`cannot read event: it has more than ${MAX_VALUES} values`);
  }
  let envelope: unknown;
  try {
    envelope = JSON.parse(body);
  } catch (cause) {
    throw new EventError("cannot read event: not JSON", { cause });
  }
  const { type, id, payload } = objectOf(envelope);
  if (typeof type !== "string") throw new EventError(`cannot read event: it has no type`);
  return { type, id, payload };
}

/** Of something that is no object nothing can be read. */
function objectOf(value: unknown): Json {
  return typeof value === "object" && value !== null ? (value as Json) : EMPTY;
}

const EMPTY: Json = Object.freeze({});

function idOf(id: unknown): string {
  if (typeof id === "string" && id.length >= 1 && id.length <= MAX_ID) return id;
  throw new EventError(`cannot read event: expected an id of 1 to ${MAX_ID} characters`);
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_ITEMS;
}

function isText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === "string";
}

function requested(id: string, payload: Json): CallEvent {
  const operationId = payload["operationId"];
  const authToken = payload["auth_token"] ?? undefined;
  const window = payload["window"] ?? undefined;
  const timeout = payload["timeout_ms"] ?? undefined;
  const lastEventId = payload["last_event_id"] ?? undefined;
  const { input = {} } = payload;
  if (typeof operationId !== "string") return invalid(id, "operationId must be text");
  const operation = operationId.startsWith("/") ? operationId.slice(1) : operationId;
  if (operation === "") return invalid(id, "operationId must not be empty");
  // A token that cannot be read must not become the right to call without one.
  if (!isText(authToken)) return invalid(id, "auth_token must be text");
  if (window !== undefined && !isCount(window)) {
    return invalid(id, `window must be a whole number from 1 to ${MAX_ITEMS}`);
  }
  if (timeout !== undefined && !(typeof timeout === "number" && timeout >= 0)) {
    return invalid(id, "timeout_ms must be a number from 0");
  }
  if (!isText(lastEventId)) return invalid(id, "last_event_id must be text");
  const forwardedFor = forwardedForOf(payload["forwarded_for"]);
  return {
    type: "requested",
    id,
    operation,
    input,
    authToken,
    forwardedFor,
    window,
    timeout,
    lastEventId,
  };
}

function invalid(id: string, problem: string): CallEvent {
  return { type: "invalid", id, problem };
}

/** What is malformed counts as absent: it decides nothing. */
function forwardedForOf(value: unknown): ForwardedFor | undefined {
  const { id, scopes, resources } = objectOf(value);
  if (typeof id !== "string" || !isTexts(scopes)) return undefined;
  if (typeof resources !== "object" || resources === null || Array.isArray(resources)) {
    return undefined;
  }
  if (!Object.values(resources).every(isTexts)) return undefined;
  return { id, scopes, resources: resources as ForwardedFor["resources"] };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}

function failed(id: string, payload: Json): Failed {
  const { code, message, retryable, details } = payload;
  return {
    type: "error",
    id,
    code: typeof code === "string" && code !== "" ? code : "INTERNAL",
    message: typeof message === "string" ? message : "",
    retryable: retryable === true,
    details,
  };
}
