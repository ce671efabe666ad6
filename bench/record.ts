/**
 * Results that are kept: lines appended to `RESULTS.md`, under the machine, the versions and the day.
 *
 * A list and not a table, because the formatter would align the columns anew with each row.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem, type as system } from "node:os";
import type { Comparison, Outcome } from "./harness.ts";

const FILE = new URL("RESULTS.md", import.meta.url);

const HEAD = `# Results

Appended by \`npm run -s bench -- NAME --record\`. Read ratios, not figures: machines and their moods differ, under 15 % is noise.
A ratio above 1 means that we are better.
`;

/** Append an outcome. */
export function record(outcome: Outcome, options: { quick: boolean }): void {
  const before = existsSync(FILE) ? readFileSync(FILE, "utf8") : HEAD;
  const day = new Date().toISOString().slice(0, 10);
  const heading = `## ${day}, commit ${commit()}: ${machine()}; Node ${process.versions.node}`;
  const headings = before.split("\n").filter((line) => line.startsWith("## "));
  const begun = headings.at(-1) === heading;
  const lines = [outcome.main, ...(outcome.variants ?? [])].map((row) => line(row, options.quick));
  for (const [name, value] of Object.entries(outcome.facts ?? {})) {
    lines.push(`- ${outcome.main.name}, ${name}: ${value}`);
  }
  writeFileSync(FILE, `${before}${begun ? "" : `\n${heading}\n\n`}${lines.join("\n")}\n`);
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
