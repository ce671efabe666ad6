/**
 * paramiko at the SSH port of a node.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, test } from "node:test";
import { tcpServer } from "@alknet/tunnel/testing";
import { follow } from "./program.ts";
import { type SshPort, startSshPort } from "./ssh-port.ts";

let it: SshPort;

before(async () => {
  it = await startSshPort([
    ...["ssh:exec", "ssh:shell", "ssh:agent"],
    ...["tunnel:dial:localhost:*", "tunnel:listen:localhost:*"],
  ]);
});

after(() => it[Symbol.asyncDispose]());

/** Logs in; what follows has `client`, and the words behind these. */
const LOGIN = `
import hashlib, os, socket, sys, threading, paramiko
port, user, key, known, *words = sys.argv[1:]
client = paramiko.SSHClient()
client.load_host_keys(known)
client.set_missing_host_key_policy(paramiko.RejectPolicy())
client.connect("127.0.0.1", int(port), user, key_filename=key or None,
               look_for_keys=False, allow_agent=not key)
`;

const paramiko = (program: string, ...words: string[]) =>
  it.run(
    ...(["/usr/bin/python3", "-W", "ignore", "-c", LOGIN + program] as const),
    ...[String(it.port), it.login, it.key, it.knownHosts, ...words],
  ).ended;

test("paramiko runs commands: output, errors apart, exit statuses, and stdin to its end", async () => {
  const { stdout, stderr, status } = await paramiko(`
for status in (0, 7, 255):
    _, out, err = client.exec_command("id -un; echo err >&2; exit %d" % status)
    print(out.read(), err.read(), out.channel.recv_exit_status() == status)
sent = os.urandom(8 * 2 ** 20)
stdin, out, _ = client.exec_command("cat")
def write():
    stdin.write(sent)
    stdin.channel.shutdown_write()
writer = threading.Thread(target=write)
writer.start()
print(out.read() == sent)
writer.join()
channel = client.invoke_shell("vt100", 97, 31)
channel.sendall("stty size; exit 5\\n")
said = b""
while part := channel.recv(4096):
    said += part
print(b"31 97" in said, channel.recv_exit_status())
client.close()
`);
  const line = `b'${it.login}\\n' b'err\\n' True\n`;
  assert.deepEqual([stdout, stderr, status], [`${line.repeat(3)}True\nTrue 5\n`, "", 0]);
});

test("paramiko changes keys while it sends and receives", async () => {
  const { stdout, stderr } = await paramiko(`
transport = client.get_transport()
sent = os.urandom(4 * 2 ** 20)
stdin, out, _ = client.exec_command("cat")
def write():
    for at in range(0, len(sent), 2 ** 20):
        stdin.write(sent[at:at + 2 ** 20])
        transport.renegotiate_keys()
    stdin.channel.shutdown_write()
writer = threading.Thread(target=write)
writer.start()
print(out.read() == sent)
writer.join()
client.close()
`);
  assert.deepEqual([stdout, stderr], ["True\n", ""]);
});

test("paramiko opens direct-tcpip channels, and learns why one is refused", async () => {
  await using target = await tcpServer((socket) => void socket.pipe(socket));
  const { stdout, stderr } = await paramiko(
    `
transport = client.get_transport()
channel = transport.open_channel("direct-tcpip", ("127.0.0.1", int(words[0])), ("127.0.0.1", 1))
sent = os.urandom(2 ** 20)
def write():
    channel.sendall(sent)
    channel.shutdown_write()
writer = threading.Thread(target=write)
writer.start()
print(channel.makefile("rb").read() == sent)
writer.join()
for target in (("192.0.2.1", 80), ("127.0.0.1", 1)):
    try:
        transport.open_channel("direct-tcpip", target, ("127.0.0.1", 1))
    except paramiko.ChannelException as refused:
        print(refused)
client.close()
`,
    String(target.to.port),
  );
  assert.deepEqual(
    stdout.split("\n"),
    [
      "True",
      "ChannelException(1, 'Administratively prohibited')",
      "ChannelException(2, 'Connect failed')",
      "",
    ],
    stderr,
  );
});

test("paramiko has ports of the node forwarded, and takes them back", async () => {
  const { stdout, stderr } = await paramiko(`
transport = client.get_transport()
port = transport.request_port_forward("127.0.0.1", 0)
come = socket.create_connection(("127.0.0.1", port))
channel = transport.accept(30)
come.sendall(b"to paramiko")
print(channel.recv(100))
channel.sendall(b"from paramiko")
channel.shutdown_write()
print(come.makefile("rb").read())
transport.cancel_port_forward("127.0.0.1", port)
try:
    socket.create_connection(("127.0.0.1", port))
except ConnectionRefusedError:
    print("gone")
client.close()
`);
  assert.deepEqual([stdout, stderr], ["b'to paramiko'\nb'from paramiko'\ngone\n", ""]);
});

test("paramiko logs in by an agent, and forwards it", async () => {
  const path = it.at("agent");
  await using agent = follow(spawn("ssh-agent", ["-D", "-a", path]), "ssh-agent");
  await agent.waitFor(/SSH_AUTH_SOCK/);
  const program = `${LOGIN}
session = client.get_transport().open_session()
paramiko.agent.AgentRequestHandler(session)
session.exec_command("ssh-add -l")
print(session.makefile("r").read().decode(), session.recv_exit_status())
client.close()
`;
  const script = 'export SSH_AUTH_SOCK=$1; shift; ssh-add -q "$1" && shift && exec "$@"';
  const { stdout, stderr } = await it.run(
    ...(["sh", "-c", script, "sh", path, it.key, "/usr/bin/python3", "-W", "ignore"] as const),
    ...["-c", program, String(it.port), it.login, "", it.knownHosts],
  ).ended;
  assert.match(stdout, /^256 SHA256:\S+ .*\(ED25519\)\n 0\n$/, stderr);
});

test("paramiko leaves a host key that is not the one it knows", async () => {
  const { stdout, stderr } = await it.run(
    ...(["/usr/bin/python3", "-W", "ignore", "-c", `${LOGIN}\nprint("in")`] as const),
    ...[String(it.port), it.login, it.key, "/dev/null"],
  ).ended;
  assert.equal(stdout, "");
  assert.match(stderr, /Server '\[127\.0\.0\.1\]:\d+' not found in known_hosts/);
});
