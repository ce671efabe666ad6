/**
 * asyncssh at the SSH port of a node: each algorithm that it has, by itself, and what people use it for.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ALGORITHMS } from "@alknet/ssh/ssh2-extension/extend";
import { tcpServer } from "@alknet/tunnel/testing";
import { type SshPort, startSshPort } from "./ssh-port.ts";

let it: SshPort;

before(async () => {
  it = await startSshPort([
    ...["ssh:exec", "ssh:shell"],
    ...["tunnel:dial:localhost:*", "tunnel:listen:localhost:*"],
  ]);
});

after(() => it[Symbol.asyncDispose]());

/** Runs `main()` of what follows, which has `connect()`, and the words behind these. */
const BEGIN = `
import asyncio, sys, asyncssh
port, user, key, known, *words = sys.argv[1:]
def connect(**options):
    return asyncssh.connect("127.0.0.1", int(port), username=user, client_keys=[key],
                            known_hosts=known, agent_path=None, config=None, **options)
`;

const asyncssh = (program: string, ...words: string[]) =>
  it.run(
    ...(["/usr/bin/python3", "-W", "ignore", "-c"] as const),
    `${BEGIN}${program}\nasyncio.run(main())\n`,
    ...[String(it.port), it.login, it.key, it.knownHosts, ...words],
  ).ended;

for (const [kind, list, ours] of [
  ["kex_algs", "asyncssh.kex.get_kex_algs()", ALGORITHMS.kex as string[]],
  ["encryption_algs", "asyncssh.encryption.get_encryption_algs()", ALGORITHMS.cipher as string[]],
  ["mac_algs", "asyncssh.mac.get_mac_algs()", ALGORITHMS.hmac as string[]],
] as const) {
  test(`asyncssh agrees on each of its ${kind} that we offer, and is told that there is none of the others`, async () => {
    // A MAC is agreed on only where the cipher brings none of its own.
    const others = kind === "mac_algs" ? ', encryption_algs=["aes256-ctr"]' : "";
    const { stdout, stderr } = await asyncssh(`
import asyncssh.kex, asyncssh.encryption, asyncssh.mac
async def main():
    for algorithm in map(bytes.decode, ${list}):
        try:
            async with connect(${kind}=[algorithm]${others}) as connection:
                ran = await connection.run("cat", input="x" * 2 ** 20)
                print(algorithm, len(ran.stdout) == 2 ** 20)
        except asyncssh.KeyExchangeFailed:
            print(algorithm, "none")
`);
    const outcomes = new Map(
      stdout
        .trim()
        .split("\n")
        .map((line) => line.split(" ") as [string, string]),
    );
    assert.ok(outcomes.size > ours.length, stderr);
    for (const [name, outcome] of outcomes) {
      const offered = ours.includes(name);
      assert.equal(outcome, offered ? "True" : "none", `${name}: ${stderr}`);
    }
    const common = [...outcomes.values()].filter((outcome) => outcome === "True").length;
    assert.ok(common >= 4, `${common} in common`);
  });
}

test("asyncssh runs many commands on one connection: output, errors apart, statuses and signals", async () => {
  const { stdout, stderr } = await asyncssh(`
async def main():
    async with connect() as connection:
        runs = [connection.run("echo %d; echo err >&2; exit %d" % (n, n)) for n in range(10)]
        print([(r.stdout, r.stderr, r.exit_status) for r in await asyncio.gather(*runs)]
              == [("%d\\n" % n, "err\\n", n) for n in range(10)])
        process = await connection.create_process("echo begun; exec sleep 1000")
        await process.stdout.readline()
        process.terminate()
        await process.wait()
        print(process.exit_signal[0])
        shell = await connection.create_process(term_type="vt100", term_size=(97, 31))
        shell.stdin.write("stty size; exit 5\\n")
        print("31 97" in await shell.stdout.read(), shell.exit_status)
`);
  assert.deepEqual([stdout, stderr], ["True\nTERM\nTrue 5\n", ""]);
});

test("asyncssh forwards ports both ways, and changes keys while it does", async () => {
  await using target = await tcpServer((socket) => void socket.pipe(socket));
  const { stdout, stderr } = await asyncssh(
    `
async def main():
    async with connect(rekey_bytes=2 ** 20) as connection:
        target = ("127.0.0.1", int(words[0]))
        near = await connection.forward_local_port("127.0.0.1", 0, *target)
        far = await connection.forward_remote_port("127.0.0.1", 0, *target)
        sent = bytes(range(256)) * 2 ** 14
        for listener in (near, far):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
            async def write():
                writer.write(sent)
                await writer.drain()
                writer.write_eof()
            writing = asyncio.create_task(write())
            print(await reader.read() == sent)
            await writing
        try:
            await connection.open_connection("192.0.2.1", 80)
        except asyncssh.ChannelOpenError as refused:
            print(refused.code, refused.reason)
`,
    String(target.to.port),
  );
  assert.deepEqual(
    [stdout, stderr],
    ["True\nTrue\n1 192.0.2.1:80: not allowed, this key lacks tunnel:dial:192.0.2.1:80\n", ""],
  );
});
