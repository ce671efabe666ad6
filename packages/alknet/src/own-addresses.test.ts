import assert from "node:assert/strict";
import type { NetworkInterfaceInfo } from "node:os";
import { test } from "node:test";
import { ownAddresses } from "./own-addresses.ts";

const at = (address: string) =>
  ({ address, family: address.includes(":") ? "IPv6" : "IPv4" }) as NetworkInterfaceInfo;

const interfaces = {
  lo: [at("127.0.0.1"), at("::1")],
  eth0: [at("192.168.1.5"), at("fe80::1"), at("2001:db8::5"), at("fd00::5")],
  eth1: [at("203.0.113.5"), at("169.254.7.7")],
  docker0: [at("172.17.0.1")],
};

test("ownAddresses() puts public addresses first and leaves out what nobody else can reach", () => {
  assert.deepEqual(ownAddresses([{ host: "::", port: 7433 }], interfaces), [
    "203.0.113.5:7433",
    "[2001:db8::5]:7433",
    "192.168.1.5:7433",
    "[fd00::5]:7433",
  ]);
  assert.deepEqual(ownAddresses([{ host: "0.0.0.0", port: 1 }], interfaces), [
    "203.0.113.5:1",
    "192.168.1.5:1",
  ]);
});

test("ownAddresses() names the address that is listened on, and each only once", () => {
  assert.deepEqual(
    ownAddresses(
      [
        { host: "192.168.1.5", port: 443 },
        { host: "192.168.1.5", port: 443 },
      ],
      interfaces,
    ),
    ["192.168.1.5:443"],
  );
});

test("ownAddresses() names loopback when there is nothing else", () => {
  assert.deepEqual(ownAddresses([{ host: "::", port: 9 }], { lo: interfaces.lo }), [
    "127.0.0.1:9",
    "[::1]:9",
  ]);
  assert.deepEqual(ownAddresses([{ host: "127.0.0.1", port: 9 }], interfaces), ["127.0.0.1:9"]);
});
