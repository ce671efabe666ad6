/**
 * Keys that *we* change while data goes both ways, as each long connection has it once an hour: whoever the client is.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { type OpenSsh, startOpenSsh } from "./openssh-client.ts";
import { follow } from "./program.ts";

const MiB = 2 ** 20;

const PARAMIKO = `
import shutil, sys, threading, paramiko
port, key, known = sys.argv[1:]
client = paramiko.SSHClient()
client.load_host_keys(known)
client.connect("127.0.0.1", int(port), "me", key_filename=key, look_for_keys=False, allow_agent=False)
stdin, out, _ = client.exec_command("cat")
def write():
    shutil.copyfileobj(sys.stdin.buffer, stdin)
    stdin.channel.shutdown_write()
threading.Thread(target=write).start()
shutil.copyfileobj(out, sys.stdout.buffer)
client.close()
`;

const ASYNCSSH = `
import asyncio, sys, asyncssh
port, key, known = sys.argv[1:]
async def main():
    async with asyncssh.connect("127.0.0.1", int(port), username="me", client_keys=[key],
                                known_hosts=known, agent_path=None, config=None) as connection:
        ran = await connection.run("cat", input=sys.stdin.buffer.read(), encoding=None)
        sys.stdout.buffer.write(ran.stdout)
asyncio.run(main())
`;

const python = (program: string, it: OpenSsh): string[] => [
  ...["/usr/bin/python3", "-W", "ignore", "-c", program],
  ...[String(it.port), it.at("user"), it.at("known")],
];

/** The words of each that run `cat` over there. */
const CLIENTS: Readonly<Record<string, (it: OpenSsh) => readonly string[]>> = {
  ssh: (it) => it.words([], "cat"),
  plink(it) {
    const key = ["puttygen", it.at("user"), "-O", "private", "-o", it.at("ppk")];
    run([...key, "--new-passphrase", "/dev/null"]);
    const hostKey = run(["ssh-keygen", "-l", "-f", it.at("host.pub")]).split(" ")[1] ?? "";
    const options = ["-batch", "-P", String(it.port), "-i", it.at("ppk"), "-hostkey", hostKey];
    return ["plink", ...options, "me@127.0.0.1", "cat"];
  },
  dbclient(it) {
    run(["dropbearconvert", "openssh", "dropbear", it.at("user"), it.at("dropbear")]);
    mkdirSync(it.at(".ssh"));
    writeFileSync(
      it.at(".ssh/known_hosts"),
      `127.0.0.1 ${readFileSync(it.at("host.pub"), "utf8")}`,
    );
    return ["dbclient", "-p", String(it.port), "-i", it.at("dropbear"), "me@127.0.0.1", "cat"];
  },
  paramiko: (it) => python(PARAMIKO, it),
  asyncssh: (it) => python(ASYNCSSH, it),
};

for (const [name, wordsOf] of Object.entries(CLIENTS)) {
  test(`${name} changes keys when we do, and loses nothing`, async () => {
    await using it = await startOpenSsh(["ssh:exec"], { rekeyAfter: MiB });
    const bytes = randomBytes(8 * MiB);
    writeFileSync(it.at("input"), bytes);
    const script = '"$0" "$@" < "$HOME/input" | sha256sum';
    const env = { ...process.env, HOME: it.at(".") };
    await using program = follow(spawn("sh", ["-c", script, ...wordsOf(it)], { env }), name);
    const { stdout, stderr } = await program.ended;
    const sum = createHash("sha256").update(bytes).digest("hex");
    assert.equal(stdout, `${sum}  -\n`, stderr);
  });
}

function run([command = "", ...words]: readonly string[]): string {
  return execFileSync(command, words, { encoding: "utf8", stdio: "pipe" });
}
