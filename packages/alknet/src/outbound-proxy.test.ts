import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { outboundProxy } from "./outbound-proxy.ts";
import { testHome } from "./testing.ts";

test("outboundProxy() has its password from a file, without the end of its line", () => {
  using it = testHome();
  const file = join(it.folder, "password");
  writeFileSync(file, "se:cr@t\n");
  const config = { proxy: "socks5://me@127.0.0.1:9", proxyPasswordFile: file };
  const proxy = outboundProxy(config, "x.toml");
  assert.deepEqual(proxy?.credentials?.(), { user: "me", password: "se:cr@t" });
  assert.deepEqual([proxy?.kind, proxy?.host, proxy?.port], ["socks5", "127.0.0.1", 9]);
  const none = { proxy: undefined, proxyPasswordFile: undefined };
  assert.equal(outboundProxy(none, "x.toml"), undefined);
});

test("a proxy that cannot be used keeps the node from starting, and the key at fault is named", () => {
  const proxyPasswordFile = "/nowhere/password";
  assert.throws(() => outboundProxy({ proxy: "http://me@p", proxyPasswordFile }, "/x.toml"), {
    code: "CONFIG_INVALID",
    hint: "correct proxy_password_file of [tunnel] in /x.toml",
  });
  assert.throws(
    () => outboundProxy({ proxy: "http://p:0", proxyPasswordFile: undefined }, "/x.toml"),
    { code: "CONFIG_INVALID", hint: "correct proxy of [tunnel] in /x.toml" },
  );
});
