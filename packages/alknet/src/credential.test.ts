import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { openSqliteStore } from "@alknet/store-sqlite/sqlite-store";
import { type Outcome, run, type RunOptions, testHome, type TestHome } from "./testing.ts";
import { PASSPHRASE, startAgent, vaultHome } from "./testing-vault.ts";

function credential(home: TestHome, words: string, options?: RunOptions): Promise<Outcome> {
  return run(home, ["credential", ...words.split(" ")], options);
}

async function set(home: TestHome, provider: string, input: string): Promise<void> {
  const { code, stderr } = await credential(home, `set ${provider}`, { input });
  assert.equal(code, 0, stderr);
}

async function get(home: TestHome, provider: string): Promise<string> {
  const { code, stdout, stderr } = await credential(home, `get ${provider}`);
  assert.equal(code, 0, stderr);
  return stdout;
}

/** What `--json` prints, and how it ended. */
async function json(
  home: TestHome,
  words: string,
  options?: RunOptions,
): Promise<{ code: number; document: Record<string, unknown> }> {
  const { code, stdout, stderr } = await run(home, [...words.split(" "), "--json"], options);
  assert.match(stdout, /^\{.*\}\n$/, stderr);
  return { code, document: JSON.parse(stdout) as Record<string, unknown> };
}

function codeOf({ document }: { document: Record<string, unknown> }): unknown {
  return (document["error"] as { code?: unknown } | undefined)?.code;
}

test("a credential is set, listed, given back as it was, replaced and removed", async () => {
  using home = await vaultHome();
  await using _agent = await startAgent(home);
  const key = "-----BEGIN KEY-----\n\u0000é\n-----END KEY-----\n";
  await set(home, "aws/eu-1", key);
  await set(home, "github", "first");
  await set(home, "github", "second");
  assert.equal(await get(home, "aws/eu-1"), key);
  assert.equal(await get(home, "github"), "second");
  const list = await credential(home, "list");
  assert.equal(list.stdout, "aws/eu-1  key version 2\ngithub    key version 2\n");
  const removed = await credential(home, "remove github");
  assert.equal(removed.code, 0, removed.stderr);
  const gone = await credential(home, "get github");
  assert.equal(gone.code, 1);
  assert.match(
    gone.stderr,
    /there is no credential for "github"\nhint: see which there are: alknet/,
  );
  const log = await run(home, ["log"]);
  assert.match(log.stdout, /credential\.put.*github/);
  assert.match(log.stdout, /credential\.delete.*github/);
  assert.doesNotMatch(log.stdout, /first|second|BEGIN/);
});

test("programs are told the same as JSON, the secret as base64", async () => {
  using home = await vaultHome();
  await using _agent = await startAgent(home);
  const made = await json(home, "credential set github", { input: "token" });
  const effect = { running: false, closedConnections: 0, endedGrants: 0 };
  const document = { provider: "github", key_version: 2, replaced: false, ...effect };
  assert.deepEqual(made, { code: 0, document });
  const again = await json(home, "credential set github", { input: "other" });
  assert.equal(again.document["replaced"], true);
  assert.deepEqual(await json(home, "credential get github"), {
    code: 0,
    document: { provider: "github", key_version: 2, base64: btoa("other") },
  });
  assert.deepEqual(await json(home, "credential list"), {
    code: 0,
    document: {
      credentials: [{ provider: "github", key_version: 2, sealed_bytes: 5 + 16 }],
      problems: [],
    },
  });
  const removed = await json(home, "credential remove github");
  assert.deepEqual(removed.document, { provider: "github", ...effect });
  const missing = await json(home, "credential remove github");
  assert.deepEqual([missing.code, codeOf(missing)], [1, "STORE_NOT_FOUND"]);
});

test("a secret is not written onto a terminal unless that is meant", async () => {
  using home = await vaultHome();
  await using _agent = await startAgent(home);
  await set(home, "github", "token");
  const refused = await credential(home, "get github", { terminal: true });
  assert.deepEqual([refused.code, refused.stdout], [2, ""]);
  assert.match(refused.stderr, /alknet credential get github \| COMMAND.*--force/);
  const forced = await credential(home, "get github --force", { terminal: true });
  assert.deepEqual([forced.code, forced.stdout], [0, "token\n"]);
});

test("the end of a single line is kept and told of, and left out with --trim", async () => {
  using home = await vaultHome();
  await using _agent = await startAgent(home);
  const noted = await credential(home, "set github", { input: "token\n" });
  assert.match(noted.stderr, /the end of the line is part of the secret; without it: --trim/);
  assert.equal(await get(home, "github"), "token\n");
  for (const [input, kept] of [
    ["token\n", "token"],
    ["token\r\n", "token"],
    ["token", "token"],
    ["two\nlines\n\n", "two\nlines\n"],
  ] as const) {
    const trimmed = await credential(home, "set github --trim", { input });
    assert.doesNotMatch(trimmed.stderr, /note/);
    assert.equal(await get(home, "github"), kept);
  }
  const lines = await credential(home, "set github", { input: "two\nlines\n" });
  assert.doesNotMatch(lines.stderr, /note/);
});

test("what cannot be kept is refused before the vault is asked, and changes nothing", async () => {
  using home = await vaultHome();
  await using _agent = await startAgent(home);
  await set(home, "github", "token");
  const name = await json(home, "credential set a%b");
  assert.deepEqual([name.code, codeOf(name)], [2, "PROVIDER_INVALID"]);
  for (const [words, input, code] of [
    ["credential set github", "", "SECRET_EMPTY"],
    ["credential set github --trim", "\n", "SECRET_EMPTY"],
    ["credential set github", "x".repeat(65_477), "INPUT_TOO_LONG"],
    ["credential set github token", "", "USAGE"],
  ] as const) {
    const refused = await json(home, words, { input });
    assert.deepEqual([refused.code, codeOf(refused)], [2, code]);
  }
  assert.equal(await get(home, "github"), "token");
  await set(home, "large", "x".repeat(65_476));
  assert.equal(await get(home, "large"), "x".repeat(65_476));
});

test("a name that is nearly right is told", async () => {
  using home = await vaultHome();
  await using _agent = await startAgent(home);
  await set(home, "github", "token");
  const { stderr } = await credential(home, "get GitHup");
  assert.match(stderr, /there is no credential for "GitHup"\nhint: did you mean github\?/);
});

test("without a vault, or with a locked one, nothing is set or got, and the list is there", async () => {
  using bare = testHome();
  const missing = await json(bare, "credential set github", { input: "token" });
  assert.deepEqual([missing.code, codeOf(missing)], [1, "VAULT_MISSING"]);
  assert.equal((await credential(bare, "list")).code, 0);

  using home = await vaultHome();
  await using agent = await startAgent(home);
  await set(home, "github", "token");
  await agent.lock();
  for (const words of ["credential set other", "credential get github", "vault rotate"]) {
    const locked = await json(home, words, { input: "token" });
    assert.deepEqual([locked.code, codeOf(locked)], [5, "VAULT_LOCKED"], words);
  }
  assert.match((await credential(home, "list")).stdout, /^github /);
});

test("the passphrase is the first line of stdin, and never becomes part of the secret", async () => {
  using home = await vaultHome();
  const input = `${PASSPHRASE}\ntoken`;
  // Nobody has the vault open: it is opened for the command.
  const first = await credential(home, "set github --passphrase-stdin", { input });
  assert.equal(first.code, 0, first.stderr);
  const got = await credential(home, "get github --passphrase-stdin", { input: `${PASSPHRASE}\n` });
  assert.deepEqual([got.code, got.stdout], [0, "token"]);
  const wrong = await json(home, "credential get github --passphrase-stdin", { input: "no\n" });
  assert.deepEqual([wrong.code, codeOf(wrong)], [1, "VAULT_PASSPHRASE_WRONG"]);
  // An agent has it open, and asks for none.
  await using _agent = await startAgent(home);
  await credential(home, "set gitlab --passphrase-stdin", { input });
  assert.equal(await get(home, "gitlab"), "token");
});

test("a row that was moved to another provider does not open, and what to do is said", async () => {
  using home = await vaultHome();
  await using _agent = await startAgent(home);
  await set(home, "github", "token");
  await set(home, "gitlab", "another");
  {
    using database = new DatabaseSync(home.home.database);
    database.exec(
      "UPDATE credentials SET provider = CASE provider WHEN 'github' THEN 'x' ELSE 'github' END",
    );
  }
  const moved = await credential(home, "get github");
  assert.deepEqual([moved.code, moved.stdout], [1, ""]);
  assert.match(moved.stderr, /credential github: .*\nhint: .*alknet credential set github/);
  const rotated = await json(home, "vault rotate");
  assert.deepEqual([rotated.code, codeOf(rotated)], [1, "DECRYPTION_FAILED"]);
  const { document } = await json(home, "credential list");
  const versions = (document["credentials"] as { key_version: number }[]).map(
    ({ key_version }) => key_version,
  );
  assert.deepEqual(versions, [2, 2], "nothing was sealed anew");
});

test("a spoilt row is told of by list, get and rotate, and mended by set", async () => {
  using home = await vaultHome();
  await using _agent = await startAgent(home);
  await set(home, "github", "token");
  await set(home, "gitlab", "token");
  {
    using database = new DatabaseSync(home.home.database);
    database.exec("UPDATE credentials SET data = zeroblob(70000) WHERE provider = 'github'");
  }
  assert.match((await credential(home, "list")).stderr, /note: credential github: .*70000 bytes/);
  const { code, stderr } = await credential(home, "get github");
  assert.equal(code, 1);
  assert.match(stderr, /cannot be used: .*\nhint: set it again: alknet credential set github/);
  const rotated = await run(home, ["vault", "rotate"]);
  assert.equal(rotated.code, 0, rotated.stderr);
  assert.match(rotated.stderr, /note: credential github is left as it is/);
  assert.match(rotated.stderr, /^1 credential sealed anew, under key version 3$/m);
  await set(home, "github", "again");
  assert.equal(await get(home, "github"), "again");
});

test("all credentials are sealed under the next key, or under one that is named", async () => {
  using home = await vaultHome();
  await using _agent = await startAgent(home);
  const none = await run(home, ["vault", "rotate"]);
  assert.match(none.stderr, /^0 credentials sealed anew/m);
  await set(home, "a", "of a");
  await set(home, "b", "of b");
  const first = await json(home, "vault rotate");
  assert.equal(first.code, 0);
  assert.deepEqual([first.document["key_version"], first.document["providers"]], [3, ["a", "b"]]);
  await set(home, "c", "of c");
  const named = await json(home, "vault rotate --to 9");
  assert.deepEqual(
    [named.document["key_version"], named.document["providers"]],
    [9, ["a", "b", "c"]],
  );
  const again = await json(home, "vault rotate --to 9");
  assert.deepEqual([again.code, again.document["providers"]], [0, []]);
  for (const to of ["8", "4294967296"]) {
    const refused = await json(home, `vault rotate --to ${to}`);
    assert.deepEqual([refused.code, codeOf(refused)], [2, "KEY_VERSION_INVALID"]);
  }
  for (const name of ["a", "b", "c"]) assert.equal(await get(home, name), `of ${name}`);
});

test("sealing all anew says how far it is to a person, and changes nothing when interrupted", async () => {
  using home = await vaultHome();
  await using _agent = await startAgent(home);
  for (const name of ["a", "b", "c"]) await set(home, name, "token");
  const stopped = await run(home, ["vault", "rotate"], { interrupted: AbortSignal.abort() });
  assert.equal(stopped.code, 130);
  await using store = await openSqliteStore({ path: home.home.database, readOnly: true });
  const versions = (): number[] => store.credentials.list().map(({ value }) => value.key_version);
  assert.deepEqual(versions(), [2, 2, 2]);
  const watched = await run(home, ["vault", "rotate"], { terminal: true });
  assert.equal(watched.code, 0, watched.stderr);
  const shown = "\rsealing anew: 3 of 3\r\u001b[K3 credentials sealed anew, under key version 3\n";
  assert.ok(watched.stderr.includes(shown), watched.stderr);
  await store.reload();
  assert.deepEqual(versions(), [3, 3, 3]);
});
