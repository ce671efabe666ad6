import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "./fake-clock.ts";
import { StoreState } from "./store-state.ts";

function stateOf(said: string[] = []): StoreState {
  const say = (level: string) => (_fields: object, message: string) =>
    void said.push(`${level} ${message}`);
  const logger = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
  return new StoreState({ label: "a store", clock: new FakeClock(), logger });
}

const lost = { kind: "stale", reason: "no way there", since: 5 } as const;

test("a database that comes back is stale until a reload is done that began after that", () => {
  const state = stateOf();
  assert.equal(state.backendIs(lost), false);
  assert.deepEqual(state.state, lost);
  const before = state.resumed;
  assert.equal(state.backendIs({ kind: "ready" }), true, "everything is to be read");
  assert.equal(state.state.kind, "stale");
  state.recovered(before);
  assert.equal(state.state.kind, "stale", "that one began too early");
  const during = state.resumed;
  state.backendIs(lost);
  state.recovered(during);
  assert.deepEqual(state.state, lost, "and lost again meanwhile");
  state.backendIs({ kind: "ready" });
  state.recovered(state.resumed);
  assert.equal(state.state.kind, "ready");
});

test("failures are told once for one reason, and since when; the end of them too", () => {
  const said: string[] = [];
  const state = stateOf(said);
  let heard = 0;
  const stop = state.onstate(() => heard++);
  state.failed(new Error("disk"));
  const { state: first } = state;
  state.failed(new Error("disk"));
  state.failed("other");
  assert.ok(first.kind === "stale" && state.state.kind === "stale");
  assert.deepEqual([state.state.reason, state.state.since], ["other", first.since]);
  state.recovered(undefined);
  assert.equal(heard, 4);
  stop();
  state.failed(new Error("disk"));
  assert.equal(heard, 4);
  assert.deepEqual(said, [
    "error the store cannot be read, its last contents stay in force: disk",
    "error the store cannot be read, its last contents stay in force: other",
    "info the store can be read again",
    "error the store cannot be read, its last contents stay in force: disk",
  ]);
});
