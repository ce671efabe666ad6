import {
  type ConformanceOptions,
  type Ends,
  testConnection,
  testMultiplexed,
} from "./connection-conformance.ts";
import type { OwnedConnection } from "./connection.ts";
import { memoryConnections } from "./memory-connection.ts";
import { singleStreamPair } from "./single-stream-connection.ts";

const options = { alpn: "alknet/test", drain: 200 };

function closing(ends: { client: OwnedConnection; server: OwnedConnection }): Ends {
  return {
    ...ends,
    async [Symbol.asyncDispose]() {
      await Promise.all([ends.client.close(), ends.server.close()]);
    },
  };
}

const multiplexed: ConformanceOptions = {
  name: "memory",
  exporter: true,
  cuts: true,
  connect: async (owners) => closing(memoryConnections({ ...options, ...owners })),
};

testConnection(multiplexed);
testMultiplexed(multiplexed);
testConnection({
  name: "memory, one stream",
  exporter: false,
  cuts: true,
  connect: async (owners) => closing(singleStreamPair({ ...options, ...owners })),
});
