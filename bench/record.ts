/**
 * Results that are kept: rows appended to `RESULTS.md`, each with its machine and versions.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem, type as system } from "node:os";
import type { Comparison, Outcome } from "./harness.ts";

const FILE = new URL("RESULTS.md", import.meta.url);

const HEAD = `# Results

Appended by \`npm run -s bench -- NAME --record\`. Read ratios, not figures: machines and their moods differ, under 15 % is noise.
A ratio above 1 means that we are better.

| day | commit | bench | ours | peer | unit | ratio | goal | rounds | machine |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`;

/** Append an outcome. */
export function record(outcome: Outcome, options: { quick: boolean }): void {
  if (!existsSync(FILE)) writeFileSync(FILE, HEAD);
  const about = `${machine()}; Node ${process.versions.node}`;
  const day = new Date().toISOString().slice(0, 10);
  const rows = [outcome.main, ...(outcome.variants ?? [])].map(
    (row) =>
      `| ${day} | ${commit()} | ${row.name}${options.quick ? " (quick)" : ""} | ${row.ours} | ${row.peer} (${row.peer_name}) | ${row.unit} | ${row.ratio} | ${goal(row)} | ${row.runs} | ${about} |\n`,
  );
  for (const [name, value] of Object.entries(outcome.facts ?? {})) {
    rows.push(
      `| ${day} | ${commit()} | ${outcome.main.name}: ${name} | ${value} |  |  |  |  |  | ${about} |\n`,
    );
  }
  appendFileSync(FILE, rows.join(""));
}

function goal(row: Comparison): string {
  return row.goal === undefined ? "" : `${row.goal} ${row.ratio >= row.goal ? "met" : "missed"}`;
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
