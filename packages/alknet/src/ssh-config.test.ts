import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { sshConfigText, withInclude, withoutInclude } from "./ssh-config-text.ts";
import { sshFiles } from "./ssh-files.ts";
import { run, testHome, type TestHome } from "./testing.ts";

/** What `ssh` makes of a file for a host. */
function effective(file: string, host: string): Map<string, string> {
  const text = execFileSync("ssh", ["-T", "-G", "-F", file, host], { stdio: "pipe" }).toString();
  return new Map(
    text.split("\n").map((line) => {
      const at = line.indexOf(" ");
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

const install = (home: TestHome, file: string) =>
  run(home, ["ssh-config", "--install", "--file", file]);
const remove = (home: TestHome, file: string) =>
  run(home, ["ssh-config", "--remove", "--file", file]);

test("withInclude() puts its lines first, once, and withoutInclude() takes out nothing else", () => {
  const user = fc.string({ unit: "binary", maxLength: 200 });
  fc.assert(
    fc.property(user, (text) => {
      const once = withInclude(text, "/a b/config");
      assert.ok(once.endsWith(text));
      assert.equal(withInclude(once, "/a b/config"), once);
      assert.equal(withInclude(once, "/other"), withInclude(text, "/other"));
      assert.equal(withoutInclude(once), text);
      assert.equal(withoutInclude(text), text);
    }),
  );
});

test("ssh reaches peers by the proxy, and all others as before", async () => {
  using it = testHome();
  const file = join(it.folder, "user-config");
  fs.writeFileSync(file, "Host other.example\n  User bob\nHost *\n  StrictHostKeyChecking no\n");
  assert.equal((await install(it, file)).code, 0);
  const { knownHosts } = sshFiles(it.home);
  for (const host of ["laptop.alk", "LAPTOP.ALK", "old.phone.alk"]) {
    const of = effective(file, host);
    assert.match(of.get("proxycommand") ?? "", / proxy -- '%h'$/);
    assert.equal(of.get("hostname"), host.toLowerCase());
    assert.equal(of.get("userknownhostsfile"), knownHosts);
    assert.match(of.get("knownhostscommand") ?? "", new RegExp(`/cat ${knownHosts}$`));
    assert.equal(of.get("stricthostkeychecking"), "true");
    assert.equal(of.get("preferredauthentications"), "none,publickey");
    assert.equal(of.get("user"), ".");
    assert.equal(effective(file, `bob@${host}`).get("user"), "bob");
  }
  for (const host of ["other.example", "alk", "laptop.alk.example"]) {
    const of = effective(file, host);
    assert.equal(of.get("proxycommand"), undefined, host);
    assert.equal(of.get("stricthostkeychecking"), "false");
  }
  assert.equal(effective(file, "other.example").get("user"), "bob");
});

test("paths with blanks, quotes and percent signs are what ssh makes of them", () => {
  using it = testHome();
  const folder = join(it.folder, `a b"%h'c`);
  fs.mkdirSync(folder);
  const knownHosts = join(folder, "known");
  const program = [join(folder, "alk net")];
  const file = join(folder, "config");
  const env = { ALKNET_HOME: folder };
  fs.writeFileSync(file, sshConfigText({ program, env, knownHosts, cat: "/bin/cat" }));
  const including = join(it.folder, "config");
  fs.writeFileSync(including, withInclude("", file));
  const of = effective(including, "laptop.alk");
  // As it is before what stands for the host is put in: a percent sign is two.
  assert.equal(of.get("userknownhostsfile"), knownHosts);
  const shown = execFileSync("sh", ["-c", `printf '%s\\n' ${of.get("proxycommand")}`]).toString();
  assert.deepEqual(shown.replaceAll("%%", "%").trimEnd().split("\n"), [
    ...["env", `ALKNET_HOME=${folder}`, program[0]],
    ...["proxy", "--", "%h"],
  ]);
});

test("--install makes what is not there, closed to others, and --remove leaves the rest as it was", async () => {
  using it = testHome();
  const file = join(it.folder, "home", ".ssh", "config");
  assert.equal((await install(it, file)).code, 0);
  const mode = (path: string) => fs.statSync(path).mode & 0o777;
  assert.deepEqual([mode(join(file, "..")), mode(file)], [0o700, 0o600]);
  assert.equal(mode(sshFiles(it.home).config), 0o600);
  const once = fs.readFileSync(file, "utf8");
  assert.equal((await install(it, file)).code, 0);
  assert.equal(fs.readFileSync(file, "utf8"), once);
  assert.equal((await remove(it, file)).code, 0);
  assert.ok(!fs.existsSync(file));
  assert.equal((await remove(it, file)).code, 0);
  assert.ok(!fs.existsSync(sshFiles(it.home).config));
});

test("the user's file keeps its bytes and its mode, a link stays one", async () => {
  using it = testHome();
  const target = join(it.folder, "dotfiles-config");
  const bytes = Buffer.from("# caf\xe9 \xff\r\nHost x\r\n\tUser y", "latin1");
  fs.writeFileSync(target, bytes);
  fs.chmodSync(target, 0o640);
  const file = join(it.folder, "config");
  fs.symlinkSync("dotfiles-config", file);
  assert.equal((await install(it, file)).code, 0);
  assert.ok(fs.lstatSync(file).isSymbolicLink());
  assert.ok(fs.readFileSync(target).subarray(-bytes.length).equals(bytes));
  assert.equal(fs.statSync(target).mode & 0o777, 0o640);
  assert.equal((await remove(it, file)).code, 0);
  assert.deepEqual(fs.readFileSync(target), bytes);
  assert.deepEqual(
    fs.readdirSync(it.folder).filter((name) => name.endsWith(".tmp")),
    [],
  );
});

test("a file that is read-only is left alone, and it is said what to do", async () => {
  using it = testHome();
  const file = join(it.folder, "config");
  fs.writeFileSync(file, "Host x\n", { mode: 0o400 });
  const { code, stderr } = await install(it, file);
  assert.equal(code, 1);
  assert.match(stderr, /cannot write .*: it is read-only\nhint: .*alknet ssh-config/);
  assert.equal(fs.readFileSync(file, "utf8"), "Host x\n");
});

test("--json tells what it is and where; without more, nothing is written", async () => {
  using it = testHome();
  const file = join(it.folder, "config");
  const told = async (...words: string[]) =>
    JSON.parse((await run(it, ["ssh-config", "--json", "--file", file, ...words])).stdout) as {
      readonly [key: string]: unknown;
    };
  const first = await told();
  assert.equal(first["installed"], false);
  assert.equal(first["file"], file);
  assert.ok(!fs.existsSync(file));
  assert.equal((await told("--install"))["installed"], true);
  assert.equal((await told())["installed"], true);
  assert.equal((await told("--remove"))["installed"], false);
  assert.equal((await run(it, ["ssh-config"])).stdout, first["text"]);
  assert.equal((await run(it, ["ssh-config", "--install", "--remove"])).code, 2);
});
