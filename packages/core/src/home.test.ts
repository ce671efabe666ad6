import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type Home, homePaths, type HomeSystem, privateFolder } from "./home.ts";

const linux: HomeSystem = {
  env: {},
  platform: "linux",
  userHome: "/home/ann",
  temporary: "/tmp",
  uid: 1_000,
};

test("homePaths() keeps to the folders of the platform", () => {
  assert.deepEqual(homePaths(linux), {
    config: "/home/ann/.config/alknet/alknet.toml",
    database: "/home/ann/.local/share/alknet/alknet.db",
    identity: "/home/ann/.local/share/alknet/identity.key",
    vault: "/home/ann/.local/share/alknet/vault.json",
    run: "/home/ann/.local/share/alknet/run",
    controlSocket: "/home/ann/.local/share/alknet/run/control.sock",
    vaultSocket: "/home/ann/.local/share/alknet/run/vault.sock",
    sshAgentSocket: "/home/ann/.local/share/alknet/run/ssh-agent.sock",
  });
  const xdg = homePaths({ ...linux, env: { XDG_CONFIG_HOME: "/c", XDG_DATA_HOME: "relative" } });
  assert.equal(xdg.config, "/c/alknet/alknet.toml");
  assert.equal(xdg.identity, "/home/ann/.local/share/alknet/identity.key");
  const mac = homePaths({ ...linux, platform: "darwin", userHome: "/Users/ann" });
  assert.equal(mac.config, "/Users/ann/Library/Application Support/alknet/alknet.toml");
  const windows = homePaths({
    ...linux,
    platform: "win32",
    userHome: "C:\\Users\\ann",
    env: { APPDATA: "D:\\r" },
  });
  assert.equal(windows.config, "D:\\r\\alknet\\alknet.toml");
  assert.equal(windows.identity, "C:\\Users\\ann\\AppData\\Local\\alknet\\identity.key");
  assert.match(windows.controlSocket, /^\\\\\.\\pipe\\alknet-[0-9a-f]{16}$/);
  assert.match(windows.vaultSocket, /^\\\\\.\\pipe\\alknet-vault-[0-9a-f]{16}$/);
  assert.match(windows.sshAgentSocket, /^\\\\\.\\pipe\\alknet-ssh-agent-[0-9a-f]{16}$/);
});

test("ALKNET_HOME puts all into one folder", () => {
  const home = homePaths({ ...linux, env: { ALKNET_HOME: "/srv/alk", XDG_CONFIG_HOME: "/c" } });
  assert.equal(home.config, "/srv/alk/alknet.toml");
  assert.equal(home.identity, "/srv/alk/identity.key");
  assert.equal(home.controlSocket, "/srv/alk/run/control.sock");
  assert.equal(homePaths({ ...linux, env: { ALKNET_HOME: "" } }).config, homePaths(linux).config);
});

test("sockets whose paths would be too long are placed elsewhere, per home", () => {
  const at = (length: number, more: Partial<HomeSystem> = {}): Home =>
    homePaths({
      ...linux,
      ...more,
      env: {
        ALKNET_HOME: `/${"x".repeat(length - 1)}`,
        XDG_RUNTIME_DIR: "/run/user/1000",
        ...more.env,
      },
    });
  // The longest decides, so that all are in one folder.
  const rest = "/run/ssh-agent.sock".length;
  assert.equal(Buffer.byteLength(at(107 - rest).sshAgentSocket), 107);
  const short = at(108 - rest);
  assert.equal(short.run, "/run/user/1000/alknet");
  assert.match(short.controlSocket, /^\/run\/user\/1000\/alknet\/[0-9a-f]{16}\.sock$/);
  assert.match(short.vaultSocket, /^\/run\/user\/1000\/alknet\/[0-9a-f]{16}-vault\.sock$/);
  assert.match(short.sshAgentSocket, /^\/run\/user\/1000\/alknet\/[0-9a-f]{16}-ssh-agent\.sock$/);
  assert.notEqual(at(109 - rest).controlSocket, short.controlSocket);
  // 103 elsewhere; and bytes are counted, not characters.
  assert.match(at(104 - rest, { platform: "freebsd" }).controlSocket, /^\/run\/user/);
  assert.equal(
    homePaths({ ...linux, env: { ALKNET_HOME: `/${"é".repeat(50)}`, XDG_RUNTIME_DIR: "/r" } }).run,
    "/r/alknet",
  );
  assert.match(
    at(200, { env: { XDG_RUNTIME_DIR: undefined } }).controlSocket,
    /^\/tmp\/alknet-1000\/[0-9a-f]{16}\.sock$/,
  );
  assert.throws(() => at(200, { env: { XDG_RUNTIME_DIR: `/${"y".repeat(120)}` } }), {
    name: "RangeError",
    message: /expected at most 107 bytes/,
  });
});

test("privateFolder() makes a folder of our own, and refuses one that is not", (t) => {
  const base = fs.mkdtempSync(join(tmpdir(), "alknet-home-"));
  t.after(() => fs.rmSync(base, { recursive: true, force: true }));
  const run = join(base, "a", "run");
  privateFolder(run);
  privateFolder(run);
  assert.equal(fs.statSync(run).mode & 0o777, 0o700);
  fs.chmodSync(run, 0o750);
  assert.throws(() => privateFolder(run), {
    code: "FOLDER_PERMISSIONS",
    message: /mode 0750\); expected 0700/,
  });
  const link = join(base, "link");
  fs.symlinkSync(join(base, "a"), link);
  assert.throws(() => privateFolder(link), { code: "FOLDER_PERMISSIONS", message: /not a link/ });
  if (process.getuid?.() === 0) {
    const theirs = join(base, "theirs");
    fs.mkdirSync(theirs, { mode: 0o700 });
    fs.chownSync(theirs, 12_345, 12_345);
    assert.throws(() => privateFolder(theirs), {
      code: "FOLDER_PERMISSIONS",
      message: /belongs to user 12345/,
    });
  }
});
