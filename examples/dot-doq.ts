/**
 * `dot` and `doq`: DNS over TLS (RFC 7858) and over QUIC (RFC 9250), on the port of everything else.
 *
 * Stock clients ask with no key: `kdig +tls @host -p 7433 den.example`, `kdig +quic …`. Two handlers, as what is
 * offered on TCP must not promise what only QUIC has; what they do is the same. It knows A records only.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { type Clock, systemClock } from "@alknet/core/clock";
import type { ProtocolHandler } from "@alknet/core/handler";

export interface DnsOptions {
  /** IPv4 addresses by name, in lower case, without the final dot. */
  readonly hosts: ReadonlyMap<string, string>;
  /** How long a client may go without a stream, in milliseconds. @default 10_000 */
  readonly idle?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** Serve `dot` on TCP and `doq` on QUIC. */
export function dotAndDoq(options: DnsOptions): ProtocolHandler[] {
  const { hosts, idle = 10_000, clock = systemClock } = options;
  const common: Omit<ProtocolHandler, "alpns"> = {
    access: "anyone",
    tls: "web",
    async handle(connection) {
      for (;;) {
        // `dot` is one stream with many queries, `doq` a stream for each.
        const stream = await connection.accept({ signal: clock.timeout(idle) });
        if (stream === undefined) return;
        for await (const query of messages(stream)) stream.write(framed(answer(query, hosts)));
        stream.end();
      }
    },
  };
  return [
    { ...common, alpns: ["dot"], transports: ["tcp"] },
    { ...common, alpns: ["doq"], transports: ["quic"] },
  ];
}

/** Messages of a stream, a length as u16 before each (RFC 7766 §8, RFC 9250 §4.2). */
async function* messages(stream: Duplex): AsyncGenerator<Buffer> {
  let held = Buffer.alloc(0);
  // A plain `for await` would destroy the stream at its end, with the answer yet to write.
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    held = Buffer.concat([held, chunk as Buffer]);
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE()) {
      const end = 2 + held.readUInt16BE();
      yield held.subarray(2, end);
      held = held.subarray(end);
    }
  }
}

function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

const Rcode = { NO_ERROR: 0, FORMAT_ERROR: 1, NO_SUCH_NAME: 3 } as const;

/** The answer to one query (RFC 1035 §4.1). */
export function answer(query: Buffer, hosts: ReadonlyMap<string, string>): Buffer {
  // Its id, then: an answer, with authority, to a plain query; recursion as desired; counts of the four sections.
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header[2] = 0x84 | ((query[2] ?? 0) & 1);
  const question = readQuestion(query);
  if (question === undefined) {
    header[3] = Rcode.FORMAT_ERROR;
    return header;
  }
  header.writeUInt16BE(1, 4);
  const address = hosts.get(question.name);
  header[3] = address === undefined ? Rcode.NO_SUCH_NAME : Rcode.NO_ERROR;
  if (address === undefined || question.type !== 1) return Buffer.concat([header, question.bytes]);
  header.writeUInt16BE(1, 6);
  // The name of the question (a pointer to it), A, IN, for 60 s, four bytes.
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
  return Buffer.concat([
    header,
    question.bytes,
    record,
    Buffer.from(address.split(".").map(Number)),
  ]);
}

/** The one question of a query, or undefined if there is no such. */
function readQuestion(query: Buffer): { name: string; type: number; bytes: Buffer } | undefined {
  if (query.length < 12 || query.readUInt16BE(4) !== 1) return undefined;
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at]; length !== 0; length = query[at]) {
    if (length === undefined || length > 63) return undefined;
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  if (query.length < at + 5) return undefined;
  const name = labels.join(".").toLowerCase();
  return { name, type: query.readUInt16BE(at + 1), bytes: query.subarray(12, at + 5) };
}
