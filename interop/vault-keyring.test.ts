/**
 * The system's keyring keeps what opens a vault: gnome-keyring, over the Secret Service that desktops have.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspectVaultFile } from "@alknet/vault/vault-file";
import type { TestHome } from "../packages/alknet/src/testing.ts";
import { PASSPHRASE, vaultHome } from "../packages/alknet/src/testing-vault.ts";

const MAIN = join(import.meta.dirname, "../packages/alknet/src/main.ts");

/** Run a script of a shell in a session with a keyring of its own, which is unlocked. `alknet` is the program. */
function inSession({ folder }: TestHome, script: string) {
  const userHome = mkdtempSync(join(tmpdir(), "alk-user-"));
  const prelude = `
    alknet() { ${process.execPath} --conditions=@alknet/source ${MAIN} "$@"; }
    printf login | gnome-keyring-daemon --unlock --components=secrets >daemon.txt 2>&1
  `;
  const env = { ...process.env, HOME: userHome, XDG_RUNTIME_DIR: userHome, NODE_OPTIONS: "" };
  try {
    return spawnSync("dbus-run-session", ["--", "bash", "-euc", prelude + script], {
      encoding: "utf8",
      cwd: userHome,
      env: { ...env, ALKNET_HOME: folder, PASSPHRASE },
    });
  } finally {
    rmSync(userHome, { recursive: true, force: true });
  }
}

test("a key in the keyring opens the vault without a person, until it is removed", async () => {
  using home = await vaultHome();
  home.config("[vault]", "keyring = true");
  const { status, stdout, stderr } = inSession(
    home,
    `
    code=0; alknet id || code=$?; echo "before: $code"
    echo "$PASSPHRASE" | alknet vault unlock-key add --keyring --passphrase-stdin
    alknet vault unlock-key list
    alknet id
    alknet doctor | grep 'unlock key' || true
    echo "$PASSPHRASE" | alknet vault unlock-key remove keyring --passphrase-stdin
    code=0; alknet id || code=$?; echo "after: $code"
    alknet vault unlock-key list --json
    `,
  );
  assert.equal(status, 0, stderr);
  const [before, label, fingerprint, doctor, after, list] = stdout.split("\n");
  assert.deepEqual([before, label, after], ["before: 5", "keyring", "after: 5"], stderr);
  assert.match(fingerprint!, /^ed25519:[0-9a-f]{64}$/);
  assert.equal(doctor, "ok    unlock key: the system's keyring");
  assert.equal(list, '{"unlockKeys":[]}');
});

test("a machine without a keyring is told so, with what to use in its place", async () => {
  using home = await vaultHome();
  const env = { ...process.env, NODE_OPTIONS: "", ALKNET_HOME: home.folder };
  delete (env as { DBUS_SESSION_BUS_ADDRESS?: string }).DBUS_SESSION_BUS_ADDRESS;
  const args = ["vault", "unlock-key", "add", "--keyring", "--passphrase-stdin"];
  const { status, stderr } = spawnSync(
    process.execPath,
    ["--conditions=@alknet/source", MAIN, ...args],
    { encoding: "utf8", env: { ...env, XDG_RUNTIME_DIR: home.folder }, input: `${PASSPHRASE}\n` },
  );
  assert.equal(status, 1);
  assert.match(stderr, /cannot use the system's keyring: .*\nhint: .*--file FILE\n$/);
  // A key that nobody has opens nothing.
  assert.deepEqual(inspectVaultFile(home.home.vault).unlockKeys, []);
});
