/**
 * `ssh den.alk` by somebody who has never used `ssh`: a real account of the machine, for `ssh` asks the system for the home
 * and not `HOME`, with nothing in it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { homePaths } from "@alknet/core/home";
import type { Ended } from "./program.ts";
import { startStockSsh, type StockSsh } from "./stock-ssh.ts";
import { CANNOT_MAKE_ACCOUNTS, makeAccount, type SystemAccount } from "./system-account.ts";

const BIN = dirname(fileURLToPath(new URL("../alknet", import.meta.url)));

/** Where the clone is in a folder that only its owner can enter, nobody else can run it. */
const skip = CANNOT_MAKE_ACCOUNTS || (isOpen(BIN) ? false : "other accounts cannot read the clone");

test(
  "alknet ssh-config --install is all that an empty home needs, and --remove leaves it as it was",
  { skip },
  async () => {
    using account = makeAccount();
    await using it = await startStockSsh(["ssh:exec"]);
    const ssh = join(account.home, ".ssh");
    assert.ok(!existsSync(ssh));
    giveKey(it, account);

    assert.equal((await runAs(it, account, "alknet", "ssh-config", "--install")).status, 0);
    const modes = [ssh, join(ssh, "config")].map((path) => statSync(path));
    assert.deepEqual(
      modes.map(({ uid, mode }) => [uid, mode & 0o777]),
      [
        [account.uid, 0o700],
        [account.uid, 0o600],
      ],
    );
    const config = readFileSync(join(ssh, "config"), "utf8");
    for (let each = 0; each < 2; each++) {
      const words = ["-o", "BatchMode=yes", "-l", it.login, "den.alk", "id -un"];
      const { status, stdout, stderr } = await runAs(it, account, "ssh", ...words);
      assert.deepEqual([status, stdout, stderr], [0, `${it.login}\n`, ""]);
    }
    // What `ssh` learns goes to a file of ours.
    assert.deepEqual(readdirSync(ssh), ["config"]);
    await runAs(it, account, "alknet", "ssh-config", "--install");
    assert.equal(readFileSync(join(ssh, "config"), "utf8"), config);

    assert.equal((await runAs(it, account, "alknet", "ssh-config", "--remove")).status, 0);
    // A file that had nothing but our lines is gone with them.
    assert.deepEqual(readdirSync(ssh), []);
  },
);

function isOpen(folder: string): boolean {
  const may = (statSync(folder).mode & 0o005) === 0o005;
  return may && (folder === "/" || isOpen(dirname(folder)));
}

/** Have the account be the peer that the client is, in the folders where Alknet looks by itself. */
function giveKey(it: StockSsh, { home, uid, gid }: SystemAccount): void {
  const owner = ["-o", String(uid), "-g", String(gid)];
  const { platform } = process;
  const paths = homePaths({ env: {}, platform, userHome: home, temporary: tmpdir(), uid });
  for (const [name, path] of [
    ["identity.key", paths.identity],
    ["alknet.toml", paths.config],
  ] as const) {
    for (let folder = dirname(path); folder !== home; folder = dirname(folder)) {
      execFileSync("install", ["-d", "-m", "700", ...owner, folder]);
    }
    execFileSync("install", ["-m", "600", ...owner, it.at(name), path]);
  }
}

/** Run a command as the account, with nothing of ours in its environment. */
function runAs(
  it: StockSsh,
  { name, gid, home }: SystemAccount,
  ...words: string[]
): Promise<Ended> {
  const who = ["--reuid", name, "--regid", String(gid), "--init-groups"];
  const env = [
    "-i",
    "-C",
    home,
    `HOME=${home}`,
    `PATH=${BIN}:${process.env["PATH"]}`,
    `USER=${name}`,
  ];
  return it.run("setpriv", ...who, "env", ...env, ...words).ended;
}
