/**
 * grpc-js with protobuf messages, without TLS. `call-grpc.ts server | client HOST:PORT`
 *
 * @module
 */

import { credentials, loadPackageDefinition, Server, ServerCredentials } from "@grpc/grpc-js";
import type { GrpcObject, ServerWritableStream, ServiceClientConstructor } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import { type Caller, produce, work } from "../call-work.ts";

interface Text {
  readonly text: string;
}
interface Follow {
  readonly count: number;
  readonly size: number;
}

const definition = fromJSON({
  nested: {
    bench: {
      nested: {
        Text: { fields: { text: { type: "string", id: 1 } } },
        Follow: {
          fields: { count: { type: "uint32", id: 1 }, size: { type: "uint32", id: 2 } },
        },
        Bench: {
          methods: {
            echo: { requestType: "Text", responseType: "Text", comment: "" },
            follow: {
              requestType: "Follow",
              responseType: "Text",
              responseStream: true,
              comment: "",
            },
          },
        },
      },
    },
  },
});
const { Bench } = loadPackageDefinition(definition)["bench"] as GrpcObject & {
  Bench: ServiceClientConstructor;
};
const options = { "grpc.max_receive_message_length": -1 };

const [role, address = ""] = process.argv.slice(2);
if (role === "server") await work(await serve(), undefined);
else await work("", caller());

async function serve(): Promise<string> {
  const server = new Server(options);
  server.addService(Bench.service, {
    echo: (
      { request }: { request: Text },
      answer: (error: Error | null, value: Text) => void,
    ): void => answer(null, { text: request.text }),
    follow: (call: ServerWritableStream<Follow, Text>): void => void send(call),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return `127.0.0.1:${port}`;
}

async function send(call: ServerWritableStream<Follow, Text>): Promise<void> {
  const { count, size } = call.request;
  for await (const text of produce(count, size)) {
    if (!call.write({ text })) await new Promise((resolve) => call.once("drain", resolve));
  }
  call.end();
}

function caller(): Caller {
  const client = new Bench(address, credentials.createInsecure(), options) as unknown as {
    echo(request: Text, done: (error: Error | null, value: Text) => void): void;
    follow(request: Follow): AsyncIterable<Text>;
  };
  return {
    echo: (text) =>
      new Promise((resolve, reject) => {
        client.echo({ text }, (error, value) =>
          error === null ? resolve(value.text) : reject(error),
        );
      }),
    async *follow(count, size) {
      for await (const { text } of client.follow({ count, size })) yield text;
    },
  };
}
