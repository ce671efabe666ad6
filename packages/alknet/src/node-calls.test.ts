import assert from "node:assert/strict";
import { test } from "node:test";
import { callHandler } from "@alknet/call/call-handler";
import { createRegistry } from "@alknet/call/registry";
import { silentLogger } from "@alknet/core/log";
import { createNodeCalls } from "./node-calls.ts";

test("the handler of a node is that of calls, which it has not loaded yet", () => {
  for (const strangers of [false, true]) {
    const { handler } = createNodeCalls({ strangers, logger: silentLogger });
    const loaded = callHandler({ registry: createRegistry([]), strangers });
    const { alpns, access, tls, transports } = loaded;
    assert.deepEqual(
      { ...handler, handle: undefined },
      {
        alpns,
        access,
        tls,
        handle: undefined,
        ...(transports === undefined ? {} : { transports }),
      },
    );
  }
});
