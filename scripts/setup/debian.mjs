/**
 * What the tests need from the system: the packages of `scripts/debian-packages.txt`.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { find, run } from "./programs.mjs";
import { SetupError, step } from "./say.mjs";

const LIST = "scripts/debian-packages.txt";

/** Names of the packages that are missing; elsewhere than on Debian, of those whose program is. */
export function missingPackages() {
  const wanted = readFileSync(LIST, "utf8")
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim())
    .filter(Boolean)
    .map((line) => line.split(/\s+/));
  if (find("dpkg-query") === undefined) {
    return wanted
      .filter(([name, program]) => find(program ?? name) === undefined)
      .map(([name]) => name);
  }
  const format = "${db:Status-Status} ${Package}\n";
  const { stdout } = spawnSync(
    "dpkg-query",
    ["-W", "-f", format, ...wanted.map(([name]) => name)],
    { encoding: "utf8" },
  );
  const installed = new Set(stdout.split("\n"));
  return wanted.map(([name]) => name).filter((name) => !installed.has(`installed ${name}`));
}

/** Install them, as root or through a sudo that asks nothing. Starts none of the services they bring. */
export async function installPackages(names) {
  const byHand = `install by hand what the tests need: apt-get install ${names.join(" ")}`;
  if (find("apt-get") === undefined) throw new SetupError(`there is no apt-get here; ${byHand}`);
  const root = process.getuid() === 0 ? [] : ["sudo", "-n"];
  if (root.length > 0 && spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status !== 0) {
    throw new SetupError(`neither root nor a sudo without a password; ${byHand}`);
  }
  const [program, ...args] = [...root, "sh", "-euc", INSTALL, "install", ...names];
  await step(`apt-get install ${names.join(" ")}`, async () => {
    if ((await run(program, args)) !== 0)
      throw new SetupError(`apt-get failed, the reason is above; ${byHand}`);
  });
}

// A policy-rc.d that answers 101 keeps nginx, sshd and PostgreSQL from starting on the machine's own ports.
const INSTALL = `
export DEBIAN_FRONTEND=noninteractive
if [ ! -e /usr/sbin/policy-rc.d ]; then
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
fi
apt-get -o DPkg::Lock::Timeout=300 -qq update
apt-get -o DPkg::Lock::Timeout=300 -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@"
`;
