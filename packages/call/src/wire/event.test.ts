import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  encodeAborted,
  encodeCompleted,
  encodeCredit,
  encodeError,
  encodeRequested,
  encodeResponded,
  asciiText,
} from "./encode-event.ts";
import { type CallEvent, EventError, MAX_ID, parseEvent } from "./event.ts";
import { type Frame, FrameReader } from "./frame.ts";

function bodyOf(frame: Frame): string {
  const bodies: string[] = [];
  const bytes = typeof frame === "string" ? Buffer.from(frame, "latin1") : frame;
  new FrameReader().push(bytes, (body) => bodies.push(body));
  assert.equal(bodies.length, 1);
  return bodies[0]!;
}

function parsed(frame: Frame): CallEvent | undefined {
  return parseEvent(bodyOf(frame));
}

const id = fc
  .string({ minLength: 1, maxLength: MAX_ID, unit: "binary" })
  .filter((text) => text.isWellFormed() && text.length <= MAX_ID);
const text = fc.string({ unit: "binary" }).filter((each) => each.isWellFormed());
const maybeText = fc.option(text, { nil: undefined });
const count = fc.integer({ min: 1, max: 2 ** 31 - 1 });
// Minus zero is none in JSON.
const value = fc.jsonValue().map((each) => JSON.parse(JSON.stringify(each)) as unknown);
const forwardedFor = fc.record({
  id: text,
  scopes: fc.array(text),
  resources: fc.dictionary(text, fc.array(text)),
});

test("encodeRequested() writes what the protocol says", () => {
  const request = {
    operation: "services/list",
    input: undefined,
    authToken: undefined,
    forwardedFor: undefined,
    window: undefined,
    timeout: undefined,
    lastEventId: undefined,
  };
  assert.equal(
    bodyOf(encodeRequested('"1"', request)),
    '{"type":"call.requested","id":"1","payload":{"operationId":"/services/list","input":{}}}',
  );
  const full = {
    operation: "fs/é",
    input: ["é", null],
    authToken: "t€",
    forwardedFor: { id: "alice", scopes: ["fs:read"], resources: { fs: ["a"] }, displayName: "A" },
    window: 16,
    timeout: 1_500,
    lastEventId: "4\n2",
  };
  assert.deepEqual(JSON.parse(bodyOf(encodeRequested('"1"', full))), {
    type: "call.requested",
    id: "1",
    payload: {
      operationId: "/fs/é",
      input: ["é", null],
      auth_token: "t€",
      forwarded_for: { id: "alice", scopes: ["fs:read"], resources: { fs: ["a"] } },
      window: 16,
      timeout_ms: 1_500,
      last_event_id: "4\n2",
    },
  });
});

test("the other events are these bytes", () => {
  assert.deepEqual(
    [
      encodeResponded('"1"', { a: 1 }),
      encodeResponded('"1"', undefined),
      encodeResponded('"1"', "x", "42"),
      encodeCompleted('"1"'),
      encodeAborted('"1"'),
      encodeCredit('"1"', 128),
      encodeError('"1"', { code: "A", message: "b", retryable: false, details: undefined }),
      encodeError('"1"', { code: "A", message: "b", retryable: true, details: null }),
    ].map(bodyOf),
    [
      '{"type":"call.responded","id":"1","payload":{"output":{"a":1}}}',
      '{"type":"call.responded","id":"1","payload":{"output":null}}',
      '{"type":"call.responded","id":"1","payload":{"event_id":"42","output":"x"}}',
      '{"type":"call.completed","id":"1","payload":{}}',
      '{"type":"call.aborted","id":"1","payload":{}}',
      '{"type":"call.credit","id":"1","payload":{"items":128}}',
      '{"type":"call.error","id":"1","payload":{"code":"A","message":"b","retryable":false}}',
      '{"type":"call.error","id":"1","payload":{"code":"A","message":"b","retryable":true,"details":null}}',
    ],
  );
});

test("parseEvent() undoes encodeRequested()", () => {
  fc.assert(
    fc.property(
      id,
      fc.record({
        operation: text.filter((name) => name !== ""),
        input: value,
        authToken: maybeText,
        forwardedFor: fc.option(forwardedFor, { nil: undefined }),
        window: fc.option(count, { nil: undefined }),
        timeout: fc.option(fc.nat(), { nil: undefined }),
        lastEventId: maybeText,
      }),
      (id, request) => {
        // A key of that name is one like others, in an object that came over the wire.
        const sent = structuredCloneOfJson(request.forwardedFor);
        assert.deepEqual(parsed(encodeRequested(asciiText(id), request)), {
          type: "requested",
          id,
          ...request,
          forwardedFor: sent,
        });
      },
    ),
  );
});

function structuredCloneOfJson<T>(value: T): T {
  return value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T);
}

test("parseEvent() undoes the encoders of answers", () => {
  fc.assert(
    fc.property(id, value, maybeText, count, (id, output, eventId, items) => {
      const name = asciiText(id);
      assert.deepEqual(parsed(encodeResponded(name, output, eventId)), {
        type: "responded",
        id,
        output,
        eventId,
      });
      assert.deepEqual(parsed(encodeCompleted(name)), { type: "completed", id });
      assert.deepEqual(parsed(encodeAborted(name)), { type: "aborted", id });
      assert.deepEqual(parsed(encodeCredit(name, items)), { type: "credit", id, items });
      const error = { code: "A_B", message: eventId ?? "", retryable: items % 2 === 0 };
      assert.deepEqual(parsed(encodeError(name, { ...error, details: output })), {
        type: "error",
        id,
        ...error,
        details: output,
      });
    }),
  );
});

test("asciiText() is the same text in ASCII", () => {
  fc.assert(
    fc.property(text, (each) => {
      assert.match(asciiText(each), /^[\x20-\x7e]*$/);
      assert.equal(JSON.parse(asciiText(each)), each);
    }),
  );
});

test("encoders throw for what JSON cannot say, and for nothing else", () => {
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  for (const output of [1n, cycle, () => 1, Symbol("s"), { toJSON: () => undefined }]) {
    assert.throws(() => encodeResponded('"1"', output));
  }
  assert.deepEqual(parsed(encodeResponded('"1"', { at: new Date(0), not: undefined, nan: NaN })), {
    type: "responded",
    id: "1",
    output: { at: "1970-01-01T00:00:00.000Z", nan: null },
    eventId: undefined,
  });
});

test("parseEvent() takes an operation with the slash and without, and at most one is taken off", () => {
  const operationOf = (operationId: string): unknown => {
    const event = parseEvent(
      JSON.stringify({ type: "call.requested", id: "1", payload: { operationId } }),
    );
    return event?.type === "requested" ? event.operation : event?.type;
  };
  assert.equal(operationOf("/fs/readFile"), "fs/readFile");
  assert.equal(operationOf("fs/readFile"), "fs/readFile");
  assert.equal(operationOf("//fs/readFile"), "/fs/readFile");
  assert.equal(operationOf("/"), "invalid");
  assert.equal(operationOf(""), "invalid");
});

test("parseEvent() ignores events of unknown types, whatever else they have", () => {
  for (const type of ["call.paused", "", "__proto__", "toString", "call.requested "]) {
    assert.equal(parseEvent(JSON.stringify({ type, id: 7 })), undefined);
  }
});

test("parseEvent() refuses what is no envelope", () => {
  for (const body of [
    "",
    "{",
    "\ufeff{}",
    "null",
    "1",
    "[]",
    '"call.aborted"',
    "{}",
    '{"type":1,"id":"1"}',
    '{"type":"call.aborted"}',
    '{"type":"call.aborted","id":1}',
    '{"type":"call.aborted","id":""}',
    JSON.stringify({ type: "call.aborted", id: "x".repeat(MAX_ID + 1) }),
    '{"type":"call.credit","id":"1","payload":{"items":0}}',
    '{"type":"call.credit","id":"1","payload":{"items":1.5}}',
    '{"type":"call.credit","id":"1","payload":{"items":1e300}}',
    '{"type":"call.credit","id":"1"}',
    '{"type":"call.aborted","id":"1"} {}',
  ]) {
    assert.throws(() => parseEvent(body), EventError, body);
  }
});

test("parseEvent() tells what is wrong with a request, which can be answered", () => {
  const kindOf = (payload: unknown): string | undefined =>
    parseEvent(JSON.stringify({ type: "call.requested", id: "1", payload }))?.type;
  const ok = { operationId: "/a" };
  for (const payload of [
    undefined,
    null,
    7,
    {},
    { operationId: 7 },
    { ...ok, auth_token: 7 },
    { ...ok, auth_token: ["t"] },
    { ...ok, window: 0 },
    { ...ok, window: "16" },
    { ...ok, window: 2 ** 31 },
    { ...ok, timeout_ms: -1 },
    { ...ok, timeout_ms: "1" },
    { ...ok, last_event_id: {} },
  ]) {
    assert.equal(kindOf(payload), "invalid", JSON.stringify(payload));
  }
  const nulls = { auth_token: null, window: null, timeout_ms: null, last_event_id: null };
  assert.equal(kindOf({ ...ok, ...nulls, forwarded_for: null }), "requested");
});

test("parseEvent() takes a malformed forwarded_for as absent: all three keys are required", () => {
  const identity = { id: "alice", scopes: ["a"], resources: { fs: ["b"] } };
  const forwardedForOf = (value: unknown): unknown => {
    const payload = { operationId: "/a", forwarded_for: value };
    const event = parseEvent(JSON.stringify({ type: "call.requested", id: "1", payload }));
    return event?.type === "requested" ? event.forwardedFor : assert.fail();
  };
  assert.deepEqual(forwardedForOf({ ...identity, admin: true }), identity);
  for (const value of [
    7,
    "alice",
    [],
    { ...identity, id: 7 },
    { ...identity, scopes: "a" },
    { ...identity, scopes: [1] },
    { ...identity, resources: [] },
    { ...identity, resources: { fs: "b" } },
    { id: "alice", scopes: [] },
  ]) {
    assert.equal(forwardedForOf(value), undefined, JSON.stringify(value));
  }
});

test("parseEvent() reads errors leniently: the call has failed, whatever the peer says of it", () => {
  const errorOf = (payload: unknown): unknown =>
    parseEvent(JSON.stringify({ type: "call.error", id: "1", payload }));
  const error = { type: "error", id: "1", code: "INTERNAL", message: "", retryable: false };
  assert.deepEqual(errorOf(undefined), { ...error, details: undefined });
  assert.deepEqual(errorOf({ code: 7, message: 7, retryable: "yes" }), {
    ...error,
    details: undefined,
  });
  assert.deepEqual(errorOf({ code: "GONE", details: 0 }), { ...error, code: "GONE", details: 0 });
});

test("a __proto__ key reaches no prototype, at any level", () => {
  const evil =
    '{"__proto__":{"polluted":true,"type":"call.requested","operationId":"/a","window":7}}';
  assert.throws(() => parseEvent(evil), EventError);
  const event = parseEvent(`{"type":"call.requested","id":"1","payload":${evil}}`);
  assert.equal(event?.type, "invalid");
  const nested = parseEvent(
    `{"type":"call.requested","id":"__proto__","payload":{"operationId":"/a","input":${evil},"__proto__":{"window":7}}}`,
  );
  assert.ok(nested?.type === "requested");
  assert.equal(nested.id, "__proto__");
  assert.equal(nested.window, undefined);
  assert.ok(Object.hasOwn(nested.input as object, "__proto__"));
  assert.equal(Object.getPrototypeOf(nested.input), Object.prototype);
  assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
});

test("100,000 brackets are read, as what they are", () => {
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  const event = parseEvent(`{"type":"call.responded","id":"1","payload":{"output":${deep}}}`);
  let depth = 0;
  for (let at = event?.type === "responded" ? event.output : 0; Array.isArray(at); at = at[0])
    depth++;
  assert.equal(depth, 100_000);
  assert.throws(() => parseEvent("[".repeat(100_000)), EventError);
});

test("parseEvent() survives mutated events: an event, nothing or an EventError", () => {
  const request = bodyOf(
    encodeRequested('"1"', {
      operation: "fs/list",
      input: { path: "/" },
      authToken: "t",
      forwardedFor: { id: "a", scopes: [], resources: {} },
      window: 1,
      timeout: 1,
      lastEventId: "1",
    }),
  );
  fc.assert(
    fc.property(
      fc.nat(request.length - 1),
      fc.nat(3),
      fc.string({ maxLength: 3 }),
      (at, cut, put) => {
        try {
          const event = parseEvent(request.slice(0, at) + put + request.slice(at + cut));
          assert.ok(event === undefined || typeof event.id === "string");
        } catch (error) {
          assert.ok(error instanceof EventError);
        }
      },
    ),
  );
});
