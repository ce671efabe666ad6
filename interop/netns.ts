/**
 * Network namespaces for tests: machines with addresses of their own, made and removed in milliseconds.
 *
 * Linux only, and root is needed. Nothing here touches the network that the machine itself is in:
 * namespaces are joined with each other only. What a run makes is removed when it ends, by whatever
 * end; what a killed run left behind is removed by the next one.
 *
 * @module
 */

import {
  type ChildProcess,
  execFile,
  type ExecFileException,
  spawn,
  spawnSync,
  type SpawnOptions,
} from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** Where iproute2 keeps the namespaces that have a name. */
const NAMED = "/run/netns";

/** Namespaces cannot be made here: the message says why, and what to do. */
export class NamespacesUnavailable extends Error {
  override readonly name = "NamespacesUnavailable";
  readonly code = "NETNS_UNAVAILABLE";
}

/** A command failed; the message carries what it wrote to stderr. */
export class CommandFailed extends Error {
  override readonly name = "CommandFailed";
  readonly code = "COMMAND_FAILED";
  /** Exit status, or undefined when a signal ended it or it never ran. */
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;

  constructor(
    command: readonly string[],
    result: { status: number | undefined; stdout: string; stderr: string },
  ) {
    super(
      `${command.join(" ")} failed with ${result.status ?? "no status"}: ${result.stderr.trim() || "it wrote no error"}`,
    );
    this.status = result.status;
    this.stdout = result.stdout;
    this.stderr = result.stderr;
  }
}

/** A network namespace. Disposing it kills what runs inside and removes it. */
export interface Namespace extends AsyncDisposable {
  /** As `ip netns` lists it. */
  readonly name: string;
  /**
   * Run a command inside, to its end.
   *
   * @returns what it wrote to stdout
   * @throws {CommandFailed} if its status is not 0
   */
  run(command: string, ...words: string[]): Promise<string>;
  /** Start a process inside. It is killed with the namespace. */
  spawn(command: string, words: readonly string[], options?: SpawnOptions): ChildProcess;
  /** Give `device` an address, e.g. `10.0.0.1/24`; usable at once (no duplicate address detection). */
  addAddress(device: string, address: string): Promise<void>;
  removeAddress(device: string, address: string): Promise<void>;
  /** Set a kernel parameter of this namespace, e.g. `net.ipv4.tcp_congestion_control` to `cubic`. */
  sysctl(name: string, value: string): Promise<void>;
  /**
   * Drop every UDP packet that arrives, silently, as a firewall does that lets only TCP through.
   *
   * Only what arrives: a rule on what leaves would show the sender an error no firewall on the way gives.
   * Block both ends to have nothing pass at all.
   */
  blockUdp(): Promise<void>;
  unblockUdp(): Promise<void>;
}

/** Make a namespace, with loopback up. `label` only helps people: lower-case letters and digits. */
export async function createNamespace(label: string): Promise<Namespace> {
  if (!/^[a-z0-9]{1,16}$/.test(label)) {
    throw new RangeError(
      `cannot name a namespace ${JSON.stringify(label)}: expected 1 to 16 of a-z and 0-9`,
    );
  }
  requireNamespaces();
  await sweepOnce();
  cleanUpAtExit();

  made += 1;
  const name = `${ownPrefix}${made}-${label}`;
  live.add(name);
  await ip("netns", "add", name);
  await ip("-n", name, "link", "set", "lo", "up");
  const namespace = handle(name);
  // Removing one address of a subnet must not take the others with it: tests move addresses.
  await namespace.sysctl("net.ipv4.conf.all.promote_secondaries", "1");
  await namespace.sysctl("net.ipv6.conf.default.accept_dad", "0");
  return namespace;
}

/** One end of a cable. */
export interface CableEnd {
  namespace: Namespace;
  /** The device's name in its namespace. @default "eth0" */
  device?: string | undefined;
  /** With the length of the prefix: `10.0.0.1/24`, `fd00::1/64`. */
  addresses: readonly string[];
}

/**
 * Join two namespaces by a cable (veth): no delay, no loss, all offloads.
 *
 * It goes when one of the namespaces goes. For a line with delay and loss see `bench/link.ts`.
 */
export async function joinByCable(
  a: CableEnd,
  b: CableEnd,
  options: { mtu?: number | undefined } = {},
): Promise<void> {
  const mtu = options.mtu === undefined ? [] : ["mtu", String(options.mtu)];
  const [first, second] = [a.device ?? "eth0", b.device ?? "eth0"];
  const peer = ["peer", "name", second, ...mtu, "netns", b.namespace.name];
  await ip("link", "add", first, ...mtu, "netns", a.namespace.name, "type", "veth", ...peer);
  for (const [end, device] of [
    [a, first],
    [b, second],
  ] as const) {
    await ip("-n", end.namespace.name, "link", "set", device, "up");
    for (const address of end.addresses) await end.namespace.addAddress(device, address);
  }
}

/**
 * Make sure that namespaces can be made here.
 *
 * @throws {NamespacesUnavailable} if they can not
 */
export function requireNamespaces(): void {
  if (process.platform !== "linux") {
    throw new NamespacesUnavailable(
      `cannot make network namespaces on ${process.platform}: only Linux has them`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new NamespacesUnavailable(
      `cannot make network namespaces as user ${process.getuid?.()}: root is needed; run it with sudo, or in a container with --privileged`,
    );
  }
}

/** Remove the namespaces of runs that are over, with whatever still runs in them. Their names. */
export function sweepNamespaces(): string[] {
  const removed: string[] = [];
  for (const name of named()) {
    const owner = /^alknet-([0-9]+)-([0-9]+)-/.exec(name);
    if (owner === null) continue;
    const [, pid = "", started = ""] = owner;
    if (startOf(Number(pid)) === started) continue;
    removeNow(name);
    removed.push(name);
  }
  return removed;
}

// The name carries who made it: a process id alone comes round again, with its start it does not.
const ownPrefix = `alknet-${process.pid}-${startOf(process.pid)}-`;
const live = new Set<string>();
let made = 0;
let swept: Promise<void> | undefined;
let watchingExit = false;

function handle(name: string): Namespace {
  const execute = (command: readonly string[]): Promise<string> =>
    runCommand("ip", ["netns", "exec", name, ...command]);
  let removed: Promise<void> | undefined;
  return {
    name,
    run: (command, ...words) => execute([command, ...words]),
    // `ip netns exec` becomes the command: the child's id is the command's own.
    spawn: (command, words, options = {}) =>
      spawn("ip", ["netns", "exec", name, command, ...words], options),
    async addAddress(device, address) {
      const fresh = address.includes(":") ? ["nodad"] : [];
      await ip("-n", name, "address", "add", address, "dev", device, ...fresh);
    },
    async removeAddress(device, address) {
      await ip("-n", name, "address", "del", address, "dev", device);
    },
    async sysctl(parameter, value) {
      // Not the sysctl tool, which is a Debian package of its own.
      const file = `/proc/sys/${parameter.replaceAll(".", "/")}`;
      await execute(["sh", "-c", 'printf %s "$2" > "$1"', "sh", file, value]);
    },
    async blockUdp() {
      await execute([
        "nft",
        "add table inet alknet; add chain inet alknet arriving { type filter hook input priority 0; }; " +
          "flush chain inet alknet arriving; add rule inet alknet arriving meta l4proto udp counter drop",
      ]);
    },
    async unblockUdp() {
      await execute(["nft", "add table inet alknet; delete table inet alknet"]);
    },
    async [Symbol.asyncDispose]() {
      removed ??= remove(name);
      await removed;
    },
  };
}

async function remove(name: string): Promise<void> {
  killAll((await runCommand("ip", ["netns", "pids", name])).split("\n"));
  await ip("netns", "delete", name);
  live.delete(name);
}

/** The same without waiting, for a process that is about to end. Failures have nowhere to go. */
function removeNow(name: string): void {
  const pids = spawnSync("ip", ["netns", "pids", name], { encoding: "utf8" });
  killAll(pids.stdout.split("\n"));
  spawnSync("ip", ["netns", "delete", name], { stdio: "ignore" });
}

function killAll(pids: readonly string[]): void {
  for (const pid of pids) {
    if (!/^[1-9][0-9]*$/.test(pid)) continue;
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch (error) {
      // It ended between the list and the kill.
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
  }
}

function sweepOnce(): Promise<void> {
  swept ??= Promise.resolve().then(() => void sweepNamespaces());
  return swept;
}

function cleanUpAtExit(): void {
  if (watchingExit) return;
  watchingExit = true;
  process.on("exit", () => {
    for (const name of live) removeNow(name);
  });
  // Without a listener these end the process with no "exit" event. Clean up, then end as if there were none.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      for (const name of live) removeNow(name);
      live.clear();
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    });
  }
}

function named(): string[] {
  try {
    return readdirSync(NAMED);
  } catch {
    // The folder is made with the first namespace.
    return [];
  }
}

/** When a process started, in ticks since boot (proc(5), field 22), or undefined if there is none. */
function startOf(pid: number): string | undefined {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is a name in brackets, which may hold blanks and brackets.
    return line.slice(line.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

async function ip(...words: string[]): Promise<void> {
  await runCommand("ip", words);
}

function runCommand(command: string, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      command,
      words,
      { encoding: "utf8", maxBuffer: 64 * 2 ** 20 },
      (error: ExecFileException | null, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else if (error.code === "ENOENT") {
          reject(
            new NamespacesUnavailable(
              `cannot find the command ${command}: install it (Debian: iproute2)`,
            ),
          );
        } else {
          const status = typeof error.code === "number" ? error.code : undefined;
          reject(new CommandFailed([command, ...words], { status, stdout, stderr }));
        }
      },
    );
  });
}
