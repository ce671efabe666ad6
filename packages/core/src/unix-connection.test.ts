import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ownerContext } from "./access.ts";
import { type Ends, testConnection } from "./connection-conformance.ts";
import type { ConnectionOwner } from "./connection-life.ts";
import { unixConnection } from "./unix-connection.ts";

const folder = mkdtempSync(join(tmpdir(), "alknet-test-"));
after(() => rmSync(folder, { recursive: true }));

let count = 0;

async function connect(owners: {
  client: ConnectionOwner;
  server: ConnectionOwner;
}): Promise<Ends> {
  const path = join(folder, `${count++}.sock`);
  const server = net.createServer({ allowHalfOpen: true });
  server.listen(path);
  await once(server, "listening");
  const near = net.connect({ path, allowHalfOpen: true });
  const [[far]] = (await Promise.all([once(server, "connection"), once(near, "connect")])) as [
    [net.Socket],
    unknown,
  ];
  server.close();
  const common = { alpn: "alknet/test", drain: 500 };
  const ends = {
    client: unixConnection({ ...owners.client, ...common, side: "client", socket: near }),
    server: unixConnection({ ...owners.server, ...common, side: "server", socket: far }),
  };
  return {
    ...ends,
    async [Symbol.asyncDispose]() {
      await Promise.all([ends.client.close(), ends.server.close()]);
    },
  };
}

testConnection({ name: "unix", exporter: false, cuts: false, connect });

test("unixConnection() has the context that it is given, and no keys", async () => {
  await using ends = await connect({
    client: { auth: ownerContext() },
    server: { auth: ownerContext() },
  });
  assert.equal(ends.server.auth.peer?.id, "owner");
  assert.equal(ends.server.transport, "unix");
  assert.equal(ends.server.datagrams, undefined);
  assert.throws(() => ends.server.exportKeyingMaterial("EXPORTER-test", Buffer.alloc(0), 32), {
    code: "NO_KEYING_MATERIAL",
  });
});
