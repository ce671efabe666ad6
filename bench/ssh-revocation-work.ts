/**
 * What one SSH connection has going under a right each: a shell and a command with programs of their own below them, an
 * agent's socket, a connection by `-L`, and one that came by `-R`.
 *
 * @module
 */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { duplexPair, type Duplex } from "node:stream";
import { connectSsh, type SshClient } from "@alknet/ssh/client";

/** The right that each kind of work stands on, in the order in which they may be taken back: a command holds the agent's socket. */
export const RIGHTS = {
  agent: "ssh:agent",
  shell: "ssh:shell",
  "-L": "tunnel:dial:127.0.0.1:*",
  "-R": "tunnel:listen:localhost:*",
  exec: "ssh:exec",
} as const;

export type Kind = keyof typeof RIGHTS;

/** What ends: a channel, as the client sees it, or the last of the processes that were started on it. */
export type Part = "channel" | "processes";

/** One end, and when it was seen, in nanoseconds of the machine's own clock. */
export interface End {
  readonly peer: number;
  readonly kind: Kind;
  readonly part: Part;
  readonly at: string;
}

/** Hears of each end, once. */
export type OnEnd = (kind: Kind, part: Part) => void;

/** Where connections go to, and processes hold one. */
export interface Places {
  readonly target: number;
  readonly witness: Witness;
}

/** Begin all of it over `stream`. @returns the port that the server listens at for `-R`. */
export async function beginWork(stream: Duplex, places: Places, onend: OnEnd): Promise<number> {
  const agent = Promise.withResolvers<Duplex>();
  const client = await connectSsh(stream, {
    user: "me",
    // TLS has proved the node.
    checkHostKey: () => true,
    ahead: true,
    async connectAgent() {
      const [here, there] = duplexPair();
      agent.resolve(here);
      return there;
    },
  });
  const agentSocket = await runProgram(client, "exec", places.witness, onend);
  await runProgram(client, "shell", places.witness, onend);

  const socket = connect({ path: agentSocket });
  socket.on("error", () => {}).write("?");
  follow(await agent.promise, () => onend("agent", "channel"));

  const flow = await client.connect({ host: "127.0.0.1", port: places.target });
  follow(flow, () => onend("-L", "channel"));

  const came = Promise.withResolvers<Duplex>();
  const { place } = await client.listen({ host: "localhost", port: 0 }, ({ accept }) =>
    came.resolve(accept()),
  );
  if (!("port" in place)) throw new TypeError("expected a port");
  connect(place.port, "127.0.0.1").on("error", () => {});
  follow(await came.promise, () => onend("-R", "channel"));
  return place.port;
}

/** Whether anybody listens at a port of this machine. */
export async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Connections that processes hold: the last of them to die ends one. */
export interface Witness {
  readonly port: number;
  /** Wait for the process that says `name`. */
  come(name: string): Promise<Held>;
}

export interface Held {
  readonly socket: Socket;
  /** What else it has said. */
  readonly said: string;
}

export async function startWitness(): Promise<Witness> {
  const waiting = new Map<string, (held: Held) => void>();
  const port = await listen(
    createServer((socket) => {
      socket.once("data", (line: Buffer) => {
        const [name = "", said = ""] = String(line).trim().split(" ");
        waiting.get(name)?.({ socket, said });
      });
    }),
  );
  return { port, come: (name) => new Promise((resolve) => void waiting.set(name, resolve)) };
}

/** A server that takes connections and does nothing else. @returns its port. */
export async function startTarget(): Promise<number> {
  return await listen(createServer((socket) => void socket.on("error", () => {}).resume()));
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const SIZE = { rows: 24, columns: 80 };
const NO_MODES = Uint8Array.of(0);
let names = 0;

/** Run bash with a child, both of which hold a connection to the witness. @returns the agent's socket, if there is one. */
async function runProgram(
  client: SshClient,
  kind: "shell" | "exec",
  witness: Witness,
  onend: OnEnd,
): Promise<string> {
  const name = `program-${++names}`;
  const hold = `exec 3<>/dev/tcp/127.0.0.1/${witness.port}; echo ${name} $SSH_AUTH_SOCK >&3`;
  const command = `${hold}; sleep 1000 & wait`;
  const come = witness.come(name);
  const { channel, stderr } = await client.session(
    kind === "exec"
      ? { program: { kind, command }, agent: true }
      : { program: { kind }, terminal: { name: "xterm", size: SIZE, modes: NO_MODES } },
  );
  channel.resume();
  stderr.resume();
  if (kind === "shell") channel.write(`${command}\n`);
  const { socket, said } = await come;
  channel.once("close", () => onend(kind, "channel"));
  follow(socket, () => onend(kind, "processes"));
  return said;
}

/** Have `ended` called when it ends, in whatever way. */
function follow(stream: Duplex, ended: () => void): void {
  let isOver = false;
  const over = (): void => {
    if (!isOver) ended();
    isOver = true;
  };
  stream.on("error", over).once("end", over).once("close", over).resume();
}
