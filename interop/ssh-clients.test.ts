/**
 * The README's table of the clients that these tests run.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const PYTHON = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))";

const python = (name: string): string[] => ["/usr/bin/python3", "-c", PYTHON, name];

/** How each tells its version: a command, and what stands before it. */
const CLIENTS: Readonly<Record<string, readonly [words: readonly string[], before: RegExp]>> = {
  OpenSSH: [["ssh", "-V"], /OpenSSH_/],
  rsync: [["rsync", "--version"], /rsync +version /],
  git: [["git", "--version"], /git version /],
  PuTTY: [["plink", "-V"], /Release /],
  Dropbear: [["dbclient", "-V"], /Dropbear v/],
  paramiko: [python("paramiko"), /^/],
  asyncssh: [python("asyncssh"), /^/],
  russh: [["node", "-p", "require('russh/package.json').version"], /^/],
  libssh2: [["curl", "-V"], /libssh2\//],
  "Ansible (core)": [["ansible", "--version"], /core /],
  curl: [["curl", "-V"], /curl /],
  Chromium: [["chromium", "--version"], /Chromium /],
  "nc (OpenBSD)": [["nc", "-h"], /patchlevel /],
  PySocks: [python("PySocks"), /^/],
  dig: [["dig", "-v"], /DiG /],
  iperf3: [["iperf3", "--version"], /iperf /],
};

test("the README lists the clients that are tested; this prints the versions that run", (t) => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const [, table = ""] = /^\| client .*\n\|.*\n((?:\|.*\n)+)/m.exec(readme) ?? [];
  const rows = table.matchAll(/^\| (.+?) +\| (.+?) +\|/gm);
  const stated = new Map([...rows].map(([, name = "", version = ""]) => [name, version]));
  assert.deepEqual([...stated.keys()], Object.keys(CLIENTS));
  for (const [name, [words, before]] of Object.entries(CLIENTS)) {
    const runs = versionOf(words, before);
    t.diagnostic(`${name} ${runs}, in the README ${stated.get(name)}`);
    // All others are the system's, which updates them.
    if (name === "russh") assert.equal(stated.get(name), runs);
  }
});

function versionOf([command = "", ...words]: readonly string[], before: RegExp): string {
  // Some tell it on stderr, and end with an error.
  const script = '"$0" "$@" 2>&1 || true';
  const said = String(execFileSync("sh", ["-c", script, command, ...words]));
  const found = new RegExp(`${before.source}(\\d+(?:\\.\\d+)+)`, "m").exec(said);
  if (found?.[1] === undefined) throw new Error(`${command} does not tell its version: ${said}`);
  return found[1];
}
