/**
 * A client of iroh 1.x (npm: @number0/iroh), without relays or look-ups: it knows an address and a key.
 *
 * @module
 */

import { Endpoint, EndpointAddr, EndpointId, RelayMode } from "@number0/iroh";

/** A connection of a client that exists for it. Disposing it closes both. */
export interface IrohClient extends AsyncDisposable {
  /** Public key of the client, in hex. */
  readonly ownKey: string;
  /** Public key that the server proved, in hex. */
  readonly remoteKey: string;
  /** Send `text` on a stream of its own, end it, and read what comes back to its end. */
  exchange(text: string): Promise<string>;
}

export interface IrohOptions {
  /** The server's public key, 32 bytes. */
  readonly key: Uint8Array;
  /** Where it is, `address:port`. */
  readonly address: string;
  readonly alpn: string;
}

/** Most that is read of an answer, in bytes. */
const MAX_ANSWER = 16 * 2 ** 20;

/** Connect with a fresh key. Rejects with what iroh says. */
export async function connectIroh({ key, address, alpn }: IrohOptions): Promise<IrohClient> {
  const builder = Endpoint.builder();
  builder.applyMinimal();
  builder.relayMode(RelayMode.disabled());
  builder.bindAddr("127.0.0.1:0");
  await using made = new AsyncDisposableStack();
  const endpoint = await builder.bind();
  made.defer(() => endpoint.close());
  const target = new EndpointAddr(EndpointId.fromBytes([...key]), null, [address]);
  const connection = await endpoint.connect(target, [...Buffer.from(alpn)]);
  made.defer(() => connection.close(0n, []));
  const owned = made.move();
  return {
    ownKey: endpoint.id().toString(),
    remoteKey: connection.remoteId().toString(),
    async exchange(text) {
      const { send, recv } = await connection.openBi();

      const answer = recv.readToEnd(MAX_ANSWER);
      await send.writeAll([...Buffer.from(text)]);
      await send.finish();
      return Buffer.from(await answer).toString();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
