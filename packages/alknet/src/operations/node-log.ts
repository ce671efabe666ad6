/**
 * `node/log`: who was refused, and who changed what, as it happens.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { operation } from "@alknet/call/operation";
import { withEventId } from "@alknet/call/output-stream";
import * as z from "zod";
import { type LogCursor, logEntries } from "../log-entries.ts";
import { declaredError, STORE_ERRORS } from "./declared-errors.ts";
import { LOOK } from "./node-access.ts";
import type { NodeSources } from "./node-sources.ts";
import { refusalStatus } from "./status-document.ts";

const entry = z.discriminatedUnion("kind", [
  refusalStatus.extend({ kind: z.literal("refused") }),
  z.object({
    kind: z.literal("changed"),
    time: z.string().describe("RFC 3339, UTC"),
    who: z.string().describe("`owner`, or a peer"),
    action: z.string().describe("peer.add, peer.change, token.create, …"),
    subject: z.string(),
    detail: z.record(z.string(), z.unknown()).readonly(),
  }),
]);

/** Most lines of what was. */
const MAX_LINES = 99_999;

export function nodeLog({ node: { refusals }, store }: NodeSources) {
  // Refusals are numbered from the node's start: numbers of another run mean nothing here.
  const run = randomBytes(4).toString("hex");
  return [
    operation({
      name: "node/log",
      type: "subscription",
      description: "Who was refused what and why, and who changed what when; then what comes.",
      access: LOOK,
      resumable: true,
      input: z.strictObject({
        lines: z.number().int().min(0).max(MAX_LINES).default(50).describe("of what was, at most"),
        follow: z.boolean().default(true).describe("go on with what comes"),
      }),
      output: entry,
      errors: STORE_ERRORS,
      async *handler({ lines, follow }, { signal, lastEventId }) {
        const after = lastEventId === undefined ? undefined : parseCursor(lastEventId, run);
        const entries = logEntries({ store, refusals }, { lines, follow, after, signal });
        try {
          for await (const [each, at] of entries) yield withEventId(formatCursor(at, run), each);
        } catch (error) {
          throw declaredError(STORE_ERRORS, error);
        }
      },
    }),
  ] as const;
}

function formatCursor({ change, refusal }: LogCursor, run: string): string {
  return `${change}.${refusal}.${run}`;
}

/** `undefined`: it is none of ours, and the subscription begins as one that saw nothing. */
function parseCursor(text: string, run: string): LogCursor | undefined {
  const match = /^([0-9]{1,15})\.([0-9]{1,15})\.([0-9a-f]{8})$/.exec(text);
  if (match === null) return undefined;
  return { change: Number(match[1]), refusal: match[3] === run ? Number(match[2]) : 0 };
}
