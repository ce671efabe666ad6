import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../../..");

/** A clone in which nothing is set up, with an npm and a cargo of its own: they note that they ran. */
function clone() {
  const folder = mkdtempSync(join(tmpdir(), "alknet-clone-"));
  const at = (...parts: string[]) => join(folder, ...parts);
  for (const name of ["alknet", "scripts", ".npmrc"]) {
    cpSync(join(root, name), at(name), { recursive: true });
  }
  for (const name of ["bin", "native/quic", "packages/quic", "packages/alknet/src"]) {
    mkdirSync(at(name), { recursive: true });
  }
  writeFileSync(at("package.json"), JSON.stringify({ workspaces: ["packages/quic"] }));
  writeFileSync(at("package-lock.json"), "{}");
  writeFileSync(at("packages/quic/package.json"), "{}");
  writeFileSync(at("native/quic/Cargo.toml"), "");
  writeFileSync(at("packages/alknet/src/main.ts"), 'console.log("ran");\n');
  const program = (name: string, ...lines: string[]) => {
    writeFileSync(
      at("bin", name),
      ["#!/bin/sh", `echo ${name} >> "${at("ran")}"`, ...lines].join("\n"),
    );
    chmodSync(at("bin", name), 0o755);
  };
  program(
    "npm",
    "mkdir -p node_modules/.bin",
    `ln -sf "${process.execPath}" node_modules/.bin/node`,
  );
  const cargoThat = (...lines: string[]) => program("cargo", "echo compiling", ...lines);
  const release = at("native/quic/target/release");
  const { npm_execpath: _npm, ALKNET_QUIC_ADDON: _addon, CARGO_HOME: _cargo, ...env } = process.env;
  const path = [at("bin"), dirname(process.execPath), env["PATH"]].join(delimiter);
  return {
    cargoHangs: () => cargoThat("exec tail -f /dev/null"),
    cargoBuilds: () =>
      cargoThat(
        `mkdir -p "${release}"`,
        `touch "${release}/libalknet_quic.so" "${release}/libalknet_quic.dylib"`,
      ),
    cargoFails: () => cargoThat("exit 3"),
    /** What ran, and how often. */
    ran: () => readFileSync(at("ran"), "utf8").trim().split("\n"),
    alknet: () =>
      // A group of its own, as a shell gives it: Ctrl-C goes to all of them.
      follow(spawn(at("alknet"), { env: { ...env, PATH: path }, detached: true })),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function follow(child: ChildProcess) {
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = once(child, "close").then(([code]) => ({ code: code as number, stdout, stderr }));
  return {
    ended,
    async until(text: string): Promise<void> {
      while (!stderr.includes(text)) await once(child.stderr!, "data");
    },
    signal: (name: NodeJS.Signals) => process.kill(-child.pid!, name),
  };
}

for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
  test(`./alknet goes on with a set-up that ${signal} has ended in the midst of cargo`, async () => {
    using here = clone();
    here.cargoHangs();
    const first = here.alknet();
    await first.until("compiling");
    first.signal(signal);
    const { code, stdout, stderr } = await first.ended;
    assert.notEqual(code, 0);
    assert.equal(stdout, "");
    if (signal !== "SIGKILL") {
      assert.match(
        stderr,
        /\nalknet: set-up interrupted; the same command again goes on with it\n$/,
      );
    }

    here.cargoBuilds();
    const second = await here.alknet().ended;
    assert.deepEqual([second.code, second.stdout], [0, "ran\n"], second.stderr);
    assert.match(second.stderr, /^alknet: cargo build/);
    // What was done is not done again, and the next start finds all there is.
    assert.deepEqual(await here.alknet().ended, { code: 0, stdout: "ran\n", stderr: "" });
    assert.deepEqual(here.ran(), ["npm", "cargo", "cargo"]);
  });
}

test("./alknet that could not build the engine says so, and tries again", async () => {
  using here = clone();
  here.cargoFails();
  const first = await here.alknet().ended;
  assert.equal(first.code, 1);
  assert.match(first.stderr, /alknet: cargo failed with exit code 3: .*; then start again\n$/);
  here.cargoBuilds();
  assert.equal((await here.alknet().ended).stdout, "ran\n");
});
