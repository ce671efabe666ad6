import assert from "node:assert/strict";
import { userInfo } from "node:os";
import { test } from "node:test";
import { accountNotes } from "./account-notes.ts";

const roles = new Map([["dev", ["git:read", "ssh:exec"]]]);
const laptop = { peerId: "laptop", scopes: ["ssh:shell"] };

test("accountNotes() of a node that is root: who may use SSH needs an account, and it is said how", async () => {
  const next = [
    "the node is root here, and gives laptop no account by itself: alknet peers set laptop --user LOGIN",
  ];
  for (const scopes of [
    ["ssh:exec:git *"],
    ["@dev"],
    ["*"],
    ["ssh:*"],
    ["ssh:shell until 2999-01-01T00:00:00Z"],
  ]) {
    assert.deepEqual(await accountNotes({ ...laptop, scopes }, { roles, isRoot: true }), next);
    assert.deepEqual(await accountNotes({ ...laptop, scopes }, { roles, isRoot: false }), []);
  }
  for (const scopes of [["git:read"], [], ["@nobody"], ["ssh:shell until 2001-01-01T00:00:00Z"]]) {
    assert.deepEqual(await accountNotes({ ...laptop, scopes }, { roles, isRoot: true }), []);
  }
});

test("accountNotes() names accounts that this machine does not have", async () => {
  const resources = { user: [userInfo().username, "alknet-no-such"] };
  for (const isRoot of [true, false]) {
    assert.deepEqual(await accountNotes({ ...laptop, resources }, { roles, isRoot }), [
      'this machine has no user "alknet-no-such": useradd -m alknet-no-such',
    ]);
  }
});

test("accountNotes() of a node that is not root: it has no account but its own to give", async () => {
  const { username } = userInfo();
  const notes = await accountNotes(
    { ...laptop, resources: { user: ["alknet-no-such"] } },
    { roles, isRoot: false },
  );
  assert.equal(
    notes[1],
    `a node of ${username} gives no other account: run it as root, or alknet peers set laptop --user ${username}`,
  );
});
