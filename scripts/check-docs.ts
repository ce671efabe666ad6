/**
 * `npm run docs`: run what the READMEs and `docs/` show.
 *
 * A block fenced as `ts` is run as a module in its README's folder; one fenced as `sh test` by bash in an
 * empty folder, with `alknet` in PATH and an ALKNET_HOME of its own, one as `sh clone` in the root of the
 * clone. Each must end with 0 within a minute. What cannot run is fenced as `ts skip-run` or `text`. A block fenced as `toml` must be a configuration
 * that can be used; `ed25519:…` stands for a fingerprint in it. docs/configuration.md must be what the schema of the
 * configuration makes of it.
 *
 * The READMEs have ports of their own, so that one run waits for another of this machine to end.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { configPage } from "@alknet/core/config-page";
import { parseConfig } from "@alknet/core/config-parse";

const READMES = ["*.md", "docs/*.md", "{packages/*,examples,bench}/README.md"];
const root = process.cwd();
const runners: Readonly<Record<string, Runner>> = {
  ts: runTs,
  "sh test": (code, _folder, scratch) => runSh(code, scratch, scratch),
  "sh clone": (code, _folder, scratch) => runSh(code, root, scratch),
  toml: runToml,
};
let ran = 0;
let failed = 0;

await waitForOthers();
for (const file of globSync(READMES).sort()) {
  for (const { fence, line, code } of blocks(readFileSync(file, "utf8"))) {
    const runner = runners[fence];
    if (runner === undefined) continue;
    ran++;
    const scratch = mkdtempSync(join(tmpdir(), "alknet-docs-"));
    const { status, signal, stdout, stderr } = runner(code, dirname(file), scratch);
    rmSync(scratch, { recursive: true, force: true });
    if (status === 0) continue;
    failed++;
    console.error(
      `${file}:${line}: the ${fence} block ended with ${signal ?? status}\n${stdout}${stderr}`,
    );
  }
}
if (readFileSync("docs/configuration.md", "utf8") !== configPage()) {
  failed++;
  console.error("docs/configuration.md is not what the schema says: npm run config-page");
}
console.log(`docs: ${ran} blocks run, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

/** Until this process ends it is the only one. Where there are no abstract sockets, on macOS, it waits for nobody. */
async function waitForOthers(): Promise<void> {
  if (process.platform !== "linux") return;
  for (;;) {
    const path = "\0alknet-docs";
    const own = createServer((other) => other.unref().on("error", () => {})).listen(path);
    const isFirst = await once(own, "listening").then(
      () => true,
      () => false,
    );
    if (isFirst) return void own.unref();
    // Connected until the other one ends; it may have ended by now.
    await once(connect(path).resume(), "close").catch(() => {});
  }
}

/** How a block ended. */
interface Ran {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Runner = (code: string, folder: string, scratch: string) => Ran;

function runTs(code: string, folder: string, scratch: string): Ran {
  const flags = ["--conditions=@alknet/source", "--input-type=module-typescript", "-"];
  return spawnSync(process.execPath, flags, { ...common(scratch), cwd: folder, input: code });
}

function runSh(code: string, cwd: string, scratch: string): Ran {
  return spawnSync("bash", ["-euo", "pipefail", "-c", code], { ...common(scratch), cwd });
}

function runToml(code: string, folder: string): Ran {
  try {
    const fingerprint = `ed25519:${"0".repeat(64)}`;
    parseConfig(code.replaceAll("ed25519:…", fingerprint), folder);
    return { status: 0, signal: null, stdout: "", stderr: "" };
  } catch (error) {
    return { status: 1, signal: null, stdout: "", stderr: `${(error as Error).message}\n` };
  }
}

function common(scratch: string) {
  const PATH = [root, dirname(process.execPath), process.env.PATH].join(delimiter);
  return {
    env: { ...process.env, PATH, ALKNET_HOME: join(scratch, "home") },
    encoding: "utf8" as const,
    timeout: 60_000,
  };
}

/** Fenced blocks, with the words after the fence and the line they begin on. */
function* blocks(markdown: string) {
  let open: { fence: string; line: number; code: string } | undefined;
  for (const [index, text] of markdown.split("\n").entries()) {
    const fence = /^```(.*)$/.exec(text)?.[1]?.trim();
    if (open === undefined) {
      if (fence !== undefined) open = { fence, line: index + 1, code: "" };
    } else if (fence === "") {
      yield open;
      open = undefined;
    } else {
      open.code += `${text}\n`;
    }
  }
}
