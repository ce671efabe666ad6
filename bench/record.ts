/**
 * Results that are kept: in `RESULTS.md` each bench has a section, with its last runs, the newest first, under the day, the
 * machine and the versions.
 *
 * Lists and no tables, because the formatter would align the columns anew with each row.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem, type as system } from "node:os";
import type { Comparison, Outcome } from "./harness.ts";

const FILE = new URL("RESULTS.md", import.meta.url);
/** Runs of a bench that are kept: what differs between them is how far to trust one. */
const RUNS = 3;

const HEAD = `# Results

Written by \`npm run -s bench -- NAME --record\`: the last ${RUNS} runs of each bench, the newest first. Read ratios, not figures: machines and
their moods differ, under 15 % is noise. A ratio above 1 means that we are better.
`;

/** Keep an outcome. */
export function record(outcome: Outcome, { quick }: { quick: boolean }): void {
  const before = existsSync(FILE) ? readFileSync(FILE, "utf8") : HEAD;
  const day = new Date().toISOString().slice(0, 10);
  const heading = `${day}, commit ${commit()}: ${machine()}; Node ${process.versions.node}`;
  writeFileSync(FILE, withRun(before, outcome, { heading, quick }));
}

/** @returns what `RESULTS.md` is with one more run. */
export function withRun(
  before: string,
  outcome: Outcome,
  { heading, quick }: { heading: string; quick: boolean },
): string {
  const { name } = outcome.main;
  const lines = [outcome.main, ...(outcome.variants ?? [])].map((row) => line(row, quick));
  for (const [fact, value] of Object.entries(outcome.facts ?? {})) {
    lines.push(`- ${name}, ${fact}: ${value}`);
  }
  const [, ...sections] = before.split(/^## /m);
  const benches = new Map(sections.map((each) => [each.slice(0, each.indexOf("\n")), each]));
  const [, ...runs] = (benches.get(name) ?? "").split(/^### /m);
  const kept = [`${heading}\n\n${lines.join("\n")}\n`, ...runs].slice(0, RUNS);
  benches.set(name, `${name}\n\n${kept.map((run) => `### ${run.trim()}\n`).join("\n")}`);
  const sorted = [...benches].toSorted(([one], [other]) => (one < other ? -1 : 1));
  return [HEAD, ...sorted.map(([, section]) => `## ${section.trim()}\n`)].join("\n");
}

function line(row: Comparison, quick: boolean): string {
  const { name, ours, peer, peer_name, unit, ratio, runs } = row;
  const goal =
    row.goal === undefined ? "" : `, goal ${row.goal} ${ratio >= row.goal ? "met" : "missed"}`;
  const rounds = `${runs} ${runs === 1 ? "round" : "rounds"}${quick ? ", quick" : ""}`;
  return `- ${name}: ${ours} ${unit}, ${peer_name} ${peer}: **ratio ${ratio}**${goal} (${rounds})`;
}

function machine(): string {
  const all = cpus();
  // The build's name behind the version says nothing to others.
  const version = /^[0-9.]+/.exec(release())?.[0] ?? release();
  return `${all.length} x ${all[0]?.model.trim() ?? "?"}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${system()} ${version}`;
}

function commit(): string {
  const { stdout, status } = spawnSync("git", ["rev-parse", "--short", "HEAD"], {
    encoding: "utf8",
  });
  return status === 0 ? stdout.trim() : "?";
}
