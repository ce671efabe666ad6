import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "@alknet/core/config-file";
import { createInvitation } from "@alknet/core/invitation";
import { formatInvitation, parseInvitation } from "@alknet/core/invitation-ticket";
import { FakeClock } from "@alknet/core/testing";
import { openStore } from "./open-store.ts";
import { type Outcome, run, start, startNode, type TestHome, testHome } from "./testing.ts";

/** The only document on stdout. */
function documentOf({ stdout, stderr }: Outcome): Record<string, unknown> {
  assert.match(stdout, /^\{.*\}\n$/, stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}

function errorOf(outcome: Outcome): { code: string; message: string; hint?: string; exit: number } {
  const { error } = documentOf(outcome);
  return { ...(error as { code: string; message: string; hint?: string }), exit: outcome.code };
}

async function invited(home: TestHome, ...args: readonly string[]): Promise<string> {
  const outcome = await run(home, ["invite", ...args, "--json"]);
  assert.equal(outcome.code, 0, outcome.stderr);
  return documentOf(outcome)["ticket"] as string;
}

/** `text` with another secret, or another end. */
function changed(text: string, change: { secret?: Uint8Array; expiresAt?: number }): string {
  const parsed = parseInvitation(text);
  return formatInvitation({ ...parsed, secret: parsed.secret, ...change });
}

test("invite, join and ping by name, each in a process of its own; nobody joins by the same again", async () => {
  await using node = await startNode(undefined);
  using laptop = testHome();
  using phone = testHome();
  const real = async (home: TestHome, ...args: readonly string[]): Promise<Outcome> => {
    await using program = start(home, args);
    return await program.exited;
  };
  const made = await real(node.home, "invite", "--name", "laptop", "--grant", "ssh:shell");
  assert.equal(made.code, 0, made.stderr);
  // One line for programs, words for people.
  assert.match(made.stdout, /^alkinvite1[a-z2-7]+\n$/);
  assert.match(made.stderr, /note: ssh:shell is a shell of the account that the node gives it/);
  const isNote =
    /the node is root here, and gives laptop no account by itself: alknet peers set laptop --user LOGIN, once/;
  assert.equal(isNote.test(made.stderr), process.getuid?.() === 0);
  const ticket = made.stdout.trim();

  const joined = await real(laptop, "join", ticket, "--as", "attic");
  assert.equal(joined.code, 0, joined.stderr);
  assert.match(
    joined.stdout,
    /^node +attic ed25519:[0-9a-f]{64}\nyou are +laptop\nmay +ssh:shell /,
  );
  assert.match(joined.stderr, /^Try it: alknet ssh attic$/m);
  const pinged = await real(laptop, "ping", "attic", "-c", "1", "--json");
  assert.equal(documentOf(pinged)["peer"], "attic", pinged.stderr);

  const second = await real(phone, "join", ticket);
  assert.equal(second.code, 3);
  assert.equal(second.stdout, "");
  assert.match(
    second.stderr,
    /not let in: the invitation was used, by another key\nhint: .*alknet invite/,
  );
  // By the same key it is no second one.
  const again = documentOf(await real(laptop, "join", ticket, "--json"));
  assert.deepEqual([again["before"], again["peer"], again["node"]], [true, "laptop", "attic"]);

  // What everybody may read has no secret, and no hash of one.
  const list = await run(node.home, ["invite", "list", "--json"]);
  const status = await run(node.home, ["status", "--json"]);
  assert.match(list.stdout, /"state":"used"/);
  for (const text of [list.stdout, status.stdout, node.program.stderr()]) {
    assert.doesNotMatch(text, /sha256:|alkinvite1/);
  }
});

test("join says of a right secret what is wrong with it, and of a wrong one nothing", async () => {
  await using node = await startNode(undefined);
  using laptop = testHome();
  const fails = async (text: string, code: string, exit: number): Promise<string> => {
    const outcome = await run(laptop, ["join", text, "--json"]);
    const error = errorOf(outcome);
    assert.deepEqual([error.code, error.exit], [code, exit], outcome.stderr);
    assert.ok(error.hint !== undefined);
    return `${error.message}\n${error.hint}`;
  };
  const revoked = await invited(node.home);
  const byText = await run(node.home, ["invite", "revoke", revoked, "--json"]);
  assert.equal(documentOf(byText)["state"], "open");
  await fails(revoked, "INVITATION_UNKNOWN", 3);
  const { invitation, secret } = createInvitation({ clock: new FakeClock(Date.now() - 3_600_000) });
  const { expiresAt } = invitation;
  await using store = await openStore(node.home, await loadConfig(node.home.home.config));
  await store.addInvitation(invitation);
  const short = changed(revoked, { secret, expiresAt });
  assert.match(await fails(short, "INVITATION_EXPIRED", 3), /the invitation has expired/);
  // Its end in the text is for people: what counts is the node's.
  await fails(changed(short, { expiresAt: expiresAt + 600_000 }), "INVITATION_EXPIRED", 3);
  const good = await invited(node.home, "--name", "laptop");
  const guess = changed(good, { secret: new Uint8Array(16) });
  assert.match(await fails(guess, "INVITATION_UNKNOWN", 3), /not a valid invitation/);
  await fails(good.slice(0, -3), "INVITATION_INVALID", 2);
  const another = good[40] === "b" ? "c" : "b";
  await fails(`${good.slice(0, 40)}${another}${good.slice(41)}`, "INVITATION_INVALID", 2);
  assert.match(
    await fails(node.ticket, "INVITATION_INVALID", 2),
    /plain ticket.*\n.*alknet invite/,
  );
  const outcome = await run(laptop, ["ping", good, "--json"]);
  assert.equal(errorOf(outcome).code, "TARGET_INVALID");
  assert.match(outcome.stderr, /an invitation.*\n.*alknet join/);
  assert.ok(!outcome.stderr.includes(good.slice(-20)));
  // All that has cost it nothing.
  assert.equal(documentOf(await run(laptop, ["join", good, "--json"]))["peer"], "laptop");
});

test("join sends nothing to a node with another key", async () => {
  await using node = await startNode(undefined);
  await using other = await startNode(undefined);
  using laptop = testHome();
  const text = await invited(node.home, "--address", other.address, "--grant", "git:read");
  for (const transport of ["--quic", "--tcp"]) {
    const error = errorOf(await run(laptop, ["join", text, transport, "--json"]));
    assert.deepEqual([error.code, error.exit], ["PEER_KEY_MISMATCH", 4]);
    assert.match(error.message, /nothing was sent/);
  }
  assert.doesNotMatch(other.program.stderr(), /joined|refused to join/);
  const list = documentOf(await run(node.home, ["invite", "list", "--json"]));
  assert.equal((list["invitations"] as { state: string }[])[0]?.state, "open");
});

test("invite adds a key to a peer, and says what a name would clash with", async () => {
  await using node = await startNode(undefined);
  using laptop = testHome();
  using phone = testHome();
  const usage = errorOf(await run(node.home, ["invite", "--add-key", "--json"]));
  assert.deepEqual([usage.code, usage.exit], ["USAGE", 2]);
  const nobody = ["invite", "--name", "den", "--add-key", "--json"];
  assert.equal(errorOf(await run(node.home, nobody)).code, "STORE_NOT_FOUND");
  await run(laptop, ["join", await invited(node.home, "--name", "den", "--grant", "git:read")]);
  const taken = errorOf(await run(node.home, ["invite", "--name", "DEN", "--json"]));
  assert.equal(taken.code, "STORE_EXISTS");
  assert.equal(taken.hint, "to give it one key more: alknet invite --name den --add-key");
  const text = await invited(node.home, "--name", "den", "--add-key", "--grant", "git:write");
  const joined = documentOf(await run(phone, ["join", text, "--as", "attic", "--json"]));
  assert.deepEqual([joined["peer"], joined["scopes"]], ["den", ["git:read", "git:write"]]);
  // The joiner's own wish, where the name is left open.
  using third = testHome();
  const open = await invited(node.home);
  const clash = errorOf(await run(third, ["join", open, "--name", "den", "--as", "a", "--json"]));
  assert.deepEqual([clash.code, clash.exit], ["NAME_TAKEN", 3]);
  assert.match(clash.hint ?? "", /--name NAME/);
  const named = await run(third, ["join", open, "--name", "tablet", "--as", "a", "--json"]);
  assert.equal(documentOf(named)["peer"], "tablet");
  // And here, before anything is sent.
  await using other = await startNode(undefined);
  const here = errorOf(
    await run(third, ["join", await invited(other.home), "--as", "A", "--json"]),
  );
  assert.equal(here.code, "LOCAL_NAME_TAKEN");
  assert.doesNotMatch(other.program.stderr(), /alknet\/register/);
});

test("invite works while the node is stopped, and says so; it grants nothing unless told", async () => {
  using home = testHome();
  const args = ["invite", "--address", "192.0.2.1", "--address", "den.example:443"];
  const document = documentOf(await run(home, [...args, "--json"]));
  assert.deepEqual(document["addresses"], ["192.0.2.1:7433", "den.example:443"]);
  assert.deepEqual(document["scopes"], []);
  assert.equal(document["state"], "open");
  const text = (document["warnings"] as string[]).join("\n");
  assert.match(text, /it grants nothing: --grant SCOPE/);
  assert.match(text, /no node is running here.*alknet up/);
  const grants = ["--grant", "ssh:*", "ssh:exec:git **", "@dev", "*"];
  const shown = await run(home, [...args, ...grants, "--expires", "2h"], { terminal: true });
  assert.match(shown.stdout, /^alkinvite1[a-z2-7]+\n$/);
  assert.match(shown.stderr, /█/, "a code for a camera");
  assert.match(shown.stderr, /On the other machine, within 2h.*\n +alknet join INVITATION/);
  assert.match(shown.stderr, /note: ssh:\* is a shell/);
  assert.match(shown.stderr, /note: \* is everything/);
  assert.match(shown.stderr, /note: there is no role dev in alknet\.toml/);
  assert.doesNotMatch(shown.stderr, /note: ssh:exec:git/);
  const id = /Take it back: alknet invite revoke ([a-z2-7]{8})\n/.exec(shown.stderr)?.[1] ?? "";
  assert.equal((await run(home, ["invite", "revoke", id])).code, 0);
  const gone = errorOf(await run(home, ["invite", "revoke", id, "--json"]));
  assert.equal(gone.code, "STORE_NOT_FOUND");
  const listed = await run(home, ["invite", "list"]);
  assert.match(listed.stdout, /^[a-z2-7]{8}  open until .*  \(any name\): nothing\n$/);
  home.config('listen = ["127.0.0.1:0"]', 'handlers = ["ping"]');
  const nowhere = errorOf(await run(home, ["invite", "--json"]));
  assert.equal(nowhere.code, "NO_ADDRESS");
  const near = documentOf(await run(home, ["invite", "--address", "127.0.0.1", "--json"]));
  const warnings = (near["warnings"] as string[]).join("\n");
  assert.match(warnings, /it leads to this machine alone/);
  assert.match(warnings, /nobody can join while handlers in alknet\.toml lacks "register"/);
  for (const [wrong, code] of [
    [["--grant", "ssh"], "SCOPE_INVALID"],
    [["--expires", "soon"], "TIME_INVALID"],
    [["--expires", "31d"], "USAGE"],
    [["--address", "no port:"], "ADDRESS_INVALID"],
    [["--name", "a b"], "PEER_INVALID"],
    [["--name", "owner"], "PEER_INVALID"],
  ] as const) {
    assert.equal(errorOf(await run(home, ["invite", ...wrong, "--json"])).code, code);
  }
  const self = errorOf(await run(home, ["join", document["ticket"] as string, "--json"]));
  assert.deepEqual([self.code, self.exit], ["OWN_INVITATION", 2]);
});
