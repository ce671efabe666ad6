import { test } from "node:test";
import { fails } from "../test-config.ts";

test("a proxy is a URL without a password, which has a file of its own", () => {
  fails('[tunnel]\nproxy = "ftp://p"', 2, 1, /expected socks5:\/\/host:port/);
  fails('[tunnel]\nproxy = "http://a:secret@p"', 2, 1, /named by proxy_password_file = "…"$/);
  fails('[tunnel]\nproxy_password_file = "p"', 2, 1, /expected proxy beside it$/);
});
