import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../config-parse.ts";
import { ConfigInvalid } from "../config-problem.ts";
import { fails } from "../test-config.ts";

test("a store on a server has an address here, and its password elsewhere", () => {
  const url = "postgres://alknet@db.example:5433,two/alknet?sslrootcert=/etc/ca.pem";
  const { store } = parseConfig(`[store]\nurl = "${url}"\npassword_file = "p"`, "/etc/x.toml");
  assert.deepEqual(store, { path: undefined, url, passwordFile: "/etc/p" });
  const socket = "postgres:///alknet?host=/var/run/postgresql";
  assert.equal(parseConfig(`store.url = "${socket}"`, "x.toml").store.url, socket);
  fails('[store]\nurl = "mysql://db/x"', 2, 1, /expected postgres:\/\/user@host:port\/database$/);
  fails('[store]\nurl = "postgres://db/x"\npath = "y"', 2, 1, /cannot use url beside path/);
  fails('[store]\npassword_file = "y"', 2, 1, /cannot use password_file: expected url beside it/);
  const withPassword = [
    "postgres://u:hunter2@db/x",
    "postgresql://u:hunter2@a:1,b/x",
    "postgres://u:hun@hunter2@db/x",
    "postgres://u@db/x?password=hunter2&port=1",
    "postgres://u@db/x?PASSWORD=hunter2",
  ];
  for (const each of withPassword) {
    assert.throws(
      () => parseConfig(`[store]\nurl = "${each}"`, "x.toml"),
      (error) => {
        assert.ok(error instanceof ConfigInvalid);
        assert.match(error.message, /expected it in a file, named by password_file/);
        assert.ok(!`${error.stack} ${JSON.stringify(error)}`.includes("hunter2"), error.message);
        return true;
      },
    );
  }
});
