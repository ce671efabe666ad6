/**
 * Events as frames. Only what a caller hands in goes through `JSON.stringify`, once; the envelope is put
 * around it as text, and is ASCII.
 *
 * All of them throw what `JSON.stringify` does, and a `RangeError` if the frame would be too long, or has too many
 * values.
 *
 * @module
 */

import { encodeFrame, type Frame } from "./frame.ts";
import type { Failed, Requested } from "./event.ts";
import { hasTooManyValues, MAX_VALUES } from "./value-count.ts";

/** An id as JSON text, quotes included: made once per call. */
export type IdText = string;

/** Text as JSON, quotes included, in ASCII. */
export function asciiText(text: string): string {
  if (/^[\x20\x21\x23-\x5b\x5d-\x7e]*$/.test(text)) return `"${text}"`;
  return asciiJson(text);
}

/** @param request of which `input` may be `undefined`: `{}` is sent. */
export function encodeRequested(id: IdText, request: Omit<Requested, "type" | "id">): Frame {
  const { operation, input, authToken, forwardedFor, window, timeout, lastEventId } = request;
  let after = "";
  if (authToken !== undefined) after += `,"auth_token":${asciiText(authToken)}`;
  if (forwardedFor !== undefined) {
    const { id, scopes, resources } = forwardedFor;
    after += `,"forwarded_for":${asciiJson({ id, scopes, resources })}`;
  }
  if (window !== undefined) after += `,"window":${window}`;
  if (timeout !== undefined) after += `,"timeout_ms":${timeout}`;
  if (lastEventId !== undefined) after += `,"last_event_id":${asciiText(lastEventId)}`;
  return encodeFrame(
    `{"type":"call.requested","id":${id},"payload":{"operationId":${operationText(operation)},"input":`,
    input === undefined ? "{}" : jsonOf(input),
    `${after}}}`,
  );
}

/** @param output `undefined` is sent as `null`. */
export function encodeResponded(id: IdText, output: unknown, eventId?: string): Frame {
  const event = eventId === undefined ? "" : `"event_id":${asciiText(eventId)},`;
  return encodeFrame(
    `{"type":"call.responded","id":${id},"payload":{${event}"output":`,
    output === undefined ? "null" : jsonOf(output),
    "}}",
  );
}

export function encodeCompleted(id: IdText): Frame {
  return encodeFrame(`{"type":"call.completed","id":${id},"payload":`, "{}", "}");
}

export function encodeAborted(id: IdText): Frame {
  return encodeFrame(`{"type":"call.aborted","id":${id},"payload":`, "{}", "}");
}

/** @param error whose `details` are left out when they are `undefined`. */
export function encodeError(id: IdText, error: Omit<Failed, "type" | "id">): Frame {
  const { code, message, retryable, details } = error;
  return encodeFrame(
    `{"type":"call.error","id":${id},"payload":`,
    jsonOf({ code, message, retryable, details }),
    "}",
  );
}

export function encodeCredit(id: IdText, items: number): Frame {
  return encodeFrame(`{"type":"call.credit","id":${id},"payload":{"items":`, `${items}`, "}}");
}

/** @throws {TypeError} if `value` is nothing that JSON can say. */
function jsonOf(value: unknown): string {
  const json = JSON.stringify(value) as string | undefined;
  if (json !== undefined) {
    if (!hasTooManyValues(json)) return json;
    throw new RangeError(`cannot send more than ${MAX_VALUES} values in one frame`);
  }
  throw new TypeError(`cannot send ${typeof value}: expected what JSON can say`);
}

function asciiJson(value: unknown): string {
  return jsonOf(value).replace(
    /[\x7f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Names of operations as JSON text, with the slash they have on the wire: a program calls few, and often. */
const operationTexts = new Map<string, string>();

/** Names that are remembered; names come from this program, or from a peer whose operations are imported. */
const MAX_TEXTS = 1_024;

function operationText(operation: string): string {
  let text = operationTexts.get(operation);
  if (text === undefined) {
    text = asciiText(`/${operation}`);
    if (operationTexts.size < MAX_TEXTS) operationTexts.set(operation, text);
  }
  return text;
}
