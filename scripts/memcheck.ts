/**
 * `npm run memcheck`: tests of the QUIC engine under valgrind. Minutes; not a part of the gate.
 *
 *     npm run memcheck                                      the tests of streams, connections and endpoints
 *     npm run memcheck -- packages/quic/src/stream.test.ts  others
 *
 * The engine is built for it without mimalloc, whose arenas would hide from valgrind what is read after it was
 * freed. Fails if a test does, and for each error (a leak that nothing points to is one) with a frame in the addon,
 * unless `scripts/valgrind.supp` says why it is none.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
// @ts-expect-error: plain JavaScript, because the set-up runs it before there is a TypeScript
import { installPackages } from "./setup/debian.mjs";
// @ts-expect-error: as above
import { cargo, libraryName } from "./setup/native.mjs";
// @ts-expect-error: as above
import { find } from "./setup/programs.mjs";

const TESTS = ["stream", "connection", "endpoint"].map(
  (name) => `packages/quic/src/${name}.test.ts`,
);
/** Deeper than any stack of ours, so that none ends before it comes to the addon. */
const FRAMES = 40;

/** Where cargo leaves what the profile of this name is built to. */
const built = resolve("native/quic/target/memcheck", libraryName());
/** Node takes only what is called so for an addon. */
const addon = resolve("native/quic/target/memcheck/quic.node");
const wanted = process.argv.slice(2);

if (find("valgrind") === undefined) await installPackages(["valgrind"]);
if ((await cargo("build", "--profile", "memcheck", "--no-default-features")) !== 0) {
  console.error("memcheck: the engine does not build: the reason is above");
  process.exit(1);
}
copyFileSync(built, addon);

const folder = mkdtempSync(join(tmpdir(), "alknet-memcheck-"));
let failed = false;
try {
  for (const test of wanted.length > 0 ? wanted : TESTS) failed = !check(test) || failed;
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = failed ? 1 : 0;

/** Run one file, say what came of it on stdout. */
function check(test: string): boolean {
  const { status, pid } = spawnSync(
    find("valgrind"),
    [
      "--error-limit=no",
      `--num-callers=${FRAMES}`,
      "--leak-check=full",
      "--show-leak-kinds=definite",
      "--suppressions=scripts/valgrind.supp",
      "--xml=yes",
      `--xml-file=${join(folder, "%p.xml")}`,
      process.execPath,
      "--expose-gc",
      "--conditions=@alknet/source",
      "--test",
      // In one process: the one that valgrind follows.
      "--test-isolation=none",
      "--test-reporter=dot",
      test,
    ],
    {
      stdio: ["ignore", 2, 2],
      env: { ...process.env, ALKNET_QUIC_ADDON: addon, NODE_OPTIONS: "" },
    },
  );
  // The children of a test leave theirs half written when they become another program.
  const errors = parseErrors(readFileSync(join(folder, `${pid}.xml`), "utf8"));
  const ours = errors.filter(({ frames }) => frames.some(({ object }) => object === addon));
  for (const { kind, frames } of ours) {
    console.log(`${kind}\n${frames.map(({ text }) => `    ${text}`).join("\n")}`);
  }
  console.log(
    `${test}: tests ${status === 0 ? "pass" : `FAIL (${status})`}, ` +
      `${ours.length} errors in the addon, ${errors.length - ours.length} elsewhere`,
  );
  return status === 0 && ours.length === 0;
}

interface Found {
  /** As valgrind's manual has them, §4.5: `InvalidRead`, `UninitCondition`, `Leak_DefinitelyLost` and others. */
  readonly kind: string;
  /** Innermost first; of an invalid access those of where the block was made and freed follow. */
  readonly frames: readonly { readonly object: string; readonly text: string }[];
}

/** The errors in what valgrind wrote. It names the elements always in this way, so that no parser is needed. */
function parseErrors(xml: string): Found[] {
  if (!xml.includes("</valgrindoutput>")) throw new Error("valgrind's report has no end");
  return [...xml.matchAll(/<error>(.*?)<\/error>/gs)].map(([, error = ""]) => ({
    kind: element(error, "kind"),
    frames: [...error.matchAll(/<frame>(.*?)<\/frame>/gs)].map(([, frame = ""]) => ({
      object: element(frame, "obj"),
      text: `${element(frame, "fn")} (${element(frame, "file")}:${element(frame, "line")})`,
    })),
  }));
}

function element(xml: string, name: string): string {
  const [, text = "?"] = new RegExp(`<${name}>(.*?)</${name}>`, "s").exec(xml) ?? [];
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}
