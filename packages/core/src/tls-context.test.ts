import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import tls from "node:tls";
import { createIdentity } from "./identity-file.ts";
import { clientContext, pemOf } from "./tls-context.ts";

const identity = createIdentity();

/** An entry of X25519MLKEM768 in the list of key shares: its number, and the length of what follows (RFC 8446 §4.2.8). */
const ENTRY = Buffer.from("11ec04c0", "hex");

test("a client sends one key share, of X25519MLKEM768", async () => {
  await using server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection") as Promise<[net.Socket]>;
  const client = connect((server.address() as net.AddressInfo).port);
  client.on("error", () => {});
  const [socket] = await accepted;
  const [hello] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  client.destroy();
  // Before the first entry stands the length of all of them.
  const at = hello.indexOf(ENTRY) - 2;
  assert.equal(hello.readUInt16BE(at), 4 + 1_216);
});

for (const [group, chosen] of [
  ["X25519MLKEM768", "X25519MLKEM768"],
  ["X25519", "X25519"],
  ["P-256", "prime256v1"],
] as const) {
  test(`a client reaches a server that has ${group} alone`, async () => {
    await using server = tls.createServer({
      cert: pemOf(identity.certificate),
      key: identity.privateKey.export({ type: "pkcs8", format: "pem" }),
      ecdhCurve: group,
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = connect((server.address() as net.AddressInfo).port);
    await once(client, "secureConnect");
    const info = client.getEphemeralKeyInfo() as tls.EphemeralKeyInfo & { name?: string };
    client.destroy();
    assert.equal(info.name, chosen);
  });
}

function connect(port: number): tls.TLSSocket {
  return tls.connect({
    host: "127.0.0.1",
    port,
    secureContext: clientContext(identity, []),
    ALPNProtocols: ["alknet/tunnel"],
    servername: "node.example",
    rejectUnauthorized: false,
  });
}
