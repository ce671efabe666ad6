/**
 * A small DNS server for tests, in a namespace: UDP only, so that what comes back came by UDP.
 *
 * @module
 */

import type { Namespace } from "./netns.ts";
import { follow, type Program } from "./program.ts";

/** Length of each string of the TXT answer; there are sixteen: 4 KiB. */
const STRING = 250;
const STRINGS = 16;

/** Answers A questions with 192.0.2.53, and TXT with 4 KiB, whatever the name. */
const SCRIPT = `
import socket, struct, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    query, client = server.recvfrom(65535)
    end = 12
    while query[end]:
        end += query[end] + 1
    kind = struct.unpack(">H", query[end + 1:end + 3])[0]
    data = socket.inet_aton("192.0.2.53")
    if kind == 16:
        data = b"".join(bytes([${STRING}]) + b"x" * ${STRING} for _ in range(${STRINGS}))
    head = query[:2] + struct.pack(">HHHHH", 0x8580, 1, 1, 0, 0)
    answer = b"\\xc0\\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
    server.sendto(head + query[12:end + 5] + answer, client)
`;

/** What a TXT question is answered with, as dig prints it with `+short`. */
export const LARGE_ANSWER: string = Array(STRINGS)
  .fill(`"${"x".repeat(STRING)}"`)
  .join(" ");

/** Start it on 127.0.0.1 in `namespace`; it listens when this resolves. */
export async function startDnsServer(namespace: Namespace, port: number): Promise<Program> {
  const child = namespace.spawn("python3", ["-c", SCRIPT, String(port)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const program = follow(child, "the DNS server");
  await program.waitFor(/listening/);
  return program;
}
