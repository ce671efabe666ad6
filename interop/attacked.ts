/**
 * A node under attack and its attackers, each in a process of its own.
 *
 * @module
 */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { FloodSettings } from "./attack-flood.ts";
import type { NodeCount, NodeHoldings, NodePlace, NodeSettings } from "./attack-node.ts";
import type { PeerSettings } from "./attack-peer.ts";
import type { StallSettings } from "./attack-stall.ts";

/** Disposing closes it, and ends its process. */
export interface AttackedNode extends AsyncDisposable {
  readonly target: { readonly address: string; readonly fingerprint: string };
  readonly port: number;
  /** What it holds, garbage apart. */
  look(): Promise<NodeHoldings>;
  count(): Promise<NodeCount>;
}

export async function startNode(settings: NodeSettings): Promise<AttackedNode> {
  const child = start("attack-node.ts", settings);
  const place = await said<NodePlace>(child);
  const { port, fingerprint } = place;
  // One question at a time: its answer is the next message.
  let asked: Promise<unknown> = Promise.resolve();
  const ask = <Answer>(question: string): Promise<Answer> => {
    const answer = asked.then(async () => {
      child.send(question);
      return await said<Answer>(child);
    });
    asked = answer;
    return answer;
  };
  return {
    port,
    target: { address: `127.0.0.1:${port}`, fingerprint },
    look: () => ask<NodeHoldings>("look"),
    count: () => ask<NodeCount>("count"),
    async [Symbol.asyncDispose]() {
      const gone = once(child, "exit");
      child.send("close");
      await gone;
    },
  };
}

/** The attackers of `attack-stall.ts`; they say "standing" once all have begun. */
export function attack(settings: StallSettings): ChildProcess {
  return start("attack-stall.ts", settings);
}

/** The flood of `attack-flood.ts`; it says `Flooded` when it is over. */
export function flood(settings: FloodSettings): ChildProcess {
  return start("attack-flood.ts", settings);
}

/** The peers of `attack-peer.ts`; they say `PeersThere` once all are. */
export function vanishing(settings: PeerSettings): ChildProcess {
  return start("attack-peer.ts", settings);
}

/** The next thing that `child` says. @throws {Error} if it ends instead. */
export async function said<Message>(child: ChildProcess): Promise<Message> {
  return await new Promise<Message>((resolve, reject) => {
    const onexit = (status: number | null): void => {
      reject(new Error(`${child.spawnargs.at(-2)} has ended with ${status}`));
    };
    child.once("exit", onexit);
    child.once("message", (message) => {
      child.off("exit", onexit);
      resolve(message as Message);
    });
  });
}

/** Kill it. */
export async function ended(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

function start(file: string, settings: object): ChildProcess {
  const path = fileURLToPath(new URL(file, import.meta.url));
  return fork(path, [JSON.stringify(settings)], {
    execArgv: ["--conditions=@alknet/source", "--expose-gc"],
  });
}
