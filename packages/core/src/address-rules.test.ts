import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  type AddressResource,
  bareMatches,
  parseAddressRule,
  parseTarget,
  ruleMatches,
  ruleMayMatch,
} from "./address-rules.ts";

/** Whether the pattern matches: a table of one line per case reads better with text on both sides. */
function matches(pattern: string, host: string, port: number, address?: string): boolean {
  return ruleMatches(parseAddressRule(pattern), parseTarget({ host, port, address }));
}

function reaches(pattern: string, resource: AddressResource): void {
  assert.equal(
    ruleMatches(parseAddressRule(pattern), parseTarget(resource)),
    true,
    JSON.stringify([pattern, resource]),
  );
}

function refuses(pattern: string, resource: AddressResource): void {
  assert.equal(
    ruleMatches(parseAddressRule(pattern), parseTarget(resource)),
    false,
    JSON.stringify([pattern, resource]),
  );
}

test("a name pattern matches the host asked for, an address pattern the address resolved", () => {
  const resource = { host: "db.example.com", port: 5432, address: "10.1.2.3" };
  reaches("db.example.com:5432", resource);
  reaches("*.example.com:5432", resource);
  reaches("db*:*", resource);
  reaches("10.1.2.3:5432", resource);
  reaches("10.0.0.0/8:5000-6000", resource);
  reaches("*:5432", resource);
  refuses("db.example.com:5433", resource);
  refuses("example.com:5432", resource);
  refuses("10.1.2.4:5432", resource);
  refuses("[::a01:203]:5432", resource);
  refuses("localhost:5432", resource);
  refuses("unix:/run/db.sock", resource);
});

test("names are compared in their one form: case, trailing dot, Unicode", () => {
  for (const pattern of [
    "Bücher.Example:80",
    "xn--bcher-kva.example.:80",
    "*.EXAMPLE:80",
    "b*.example:80",
    "xn--*.example:80",
    "BÜCHER.*:80",
  ]) {
    for (const host of [
      "bücher.example",
      "BÜCHER.EXAMPLE.",
      "xn--bcher-kva.example",
      "bücher。example",
    ]) {
      const expected = pattern !== "b*.example:80"; // the form compared begins with xn--
      assert.equal(matches(pattern, host, 80, "192.0.2.1"), expected, `${pattern} ${host}`);
    }
  }
});

test("addresses are compared as such: text forms, mapped addresses, zones", () => {
  const forms = ["2001:db8::1", "2001:0DB8:0:0:0:0:0:1", "2001:db8::0.0.0.1", "2001:db8::1%eth0"];
  for (const host of [...forms, "[2001:db8::1]"]) reaches("[2001:DB8:0::1]:22", { host, port: 22 });
  for (const address of forms)
    reaches("[2001:db8::/32]:22", { host: "a.example", port: 22, address });
  reaches("10.0.0.0/8:22", { host: "::ffff:10.1.1.1", port: 22 });
  reaches("[::ffff:10.0.0.0/104]:22", { host: "10.1.1.1", port: 22 });
  refuses("[::/0]:22", { host: "10.1.1.1", port: 22 });
  // Not even where a name pattern would match the text.
  refuses("*a*:22", { host: "2001:db8::a", port: 22 });
});

test("special addresses need a grant of that very address or block, or localhost", () => {
  const special = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "169.254.1.1",
    "fe80::1%eth0",
    "224.0.0.251",
    "ff02::fb",
    "255.255.255.255",
    "169.254.169.254",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "::ffff:0:7f00:1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::",
    "64:ff9b:1::808:808",
  ];
  for (const address of special) {
    const resource = { host: "a.example", port: 80, address };
    for (const pattern of [
      "*:80",
      "a.example:80",
      "*.example:*",
      "0.0.0.0/0:80",
      "[::/0]:80",
      "100.0.0.0/8:80",
      "[fd00::/8]:80",
    ])
      refuses(pattern, resource);
    assert.equal(bareMatches(parseTarget(resource)), false, address);
    reaches(
      address.includes(":") ? `[${address.replace(/%.*/, "")}]:80` : `${address}:80`,
      resource,
    );
  }
  for (const address of [
    "10.0.0.1",
    "192.168.1.1",
    "8.8.8.8",
    "2001:db8::1",
    "fd12::1",
    "64:ff9b::808:808",
    "2002:808:808::1",
  ]) {
    assert.equal(bareMatches(parseTarget({ host: "a.example", port: 80, address })), true, address);
  }
});

test("the block of a special address is opened by itself, and opens no more special one within", () => {
  reaches("127.0.0.0/8:80", { host: "127.1.2.3", port: 80 });
  reaches("127.0.0.0/16:80", { host: "127.0.2.3", port: 80 });
  reaches("169.254.0.0/16:80", { host: "169.254.7.7", port: 80 });
  refuses("169.254.0.0/16:80", { host: "169.254.169.254", port: 80 });
  refuses("169.254.169.0/24:80", { host: "169.254.169.254", port: 80 });
  reaches("169.254.169.254:80", { host: "169.254.169.254", port: 80 });
  reaches("[fe80::/10]:80", { host: "fe80::1%eth0", port: 80 });
  refuses("[::/127]:80", { host: "::1", port: 80 });
});

test("localhost means 127.0.0.0/8 and ::1, however they were asked for, and nothing else", () => {
  for (const address of ["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "0:0::1"]) {
    reaches("localhost:5432", { host: "localhost", port: 5432, address });
    reaches("LOCALHOST.:5432", { host: "db.internal", port: 5432, address });
    reaches("localhost:5432", { host: address, port: 5432 });
  }
  for (const address of [
    "10.0.0.1",
    "0.0.0.0",
    "::",
    "128.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
  ]) {
    refuses("localhost:5432", { host: "localhost", port: 5432, address });
  }
  refuses("localhost:5432", { host: "localhost", port: 5433, address: "127.0.0.1" });
});

test("the address that is connected to decides, whatever the host's text says", () => {
  refuses("10.0.0.1:80", { host: "10.0.0.1", port: 80, address: "10.0.0.2" });
  refuses("*:80", { host: "8.8.8.8", port: 80, address: "127.0.0.1" });
  reaches("10.0.0.2:80", { host: "10.0.0.1", port: 80, address: "10.0.0.2" });
});

test("a name without its address is never matched, and may be by what some address would make right", () => {
  const target = parseTarget({ host: "a.example", port: 80 });
  assert.equal(target.kind, "unresolved");
  if (target.kind !== "unresolved") return;
  for (const pattern of ["a.example:80", "*:80", "0.0.0.0/0:80", "localhost:80"]) {
    assert.equal(ruleMatches(parseAddressRule(pattern), target), false);
    assert.equal(ruleMayMatch(parseAddressRule(pattern), target), true);
  }
  for (const pattern of ["b.example:80", "*:81", "unix:/run/a"]) {
    assert.equal(ruleMayMatch(parseAddressRule(pattern), target), false);
  }
});

test("Unix sockets are matched by path glob, in one form of the path only", () => {
  reaches("unix:/run/app/*.sock", { unixPath: "/run/app/a.sock" });
  refuses("unix:/run/app/*.sock", { unixPath: "/run/app/x/a.sock" });
  reaches("unix:/run/**", { unixPath: "/run/app/x/a.sock" });
  reaches("unix:/run/a:b.sock", { unixPath: "/run/a:b.sock" });
  for (const unixPath of [
    "/run/../etc/x",
    "/run/./x",
    "/run//x",
    "/run/x/",
    "run/x",
    "",
    "/",
    "@run/x",
    "\0run",
    "/run/x\0",
    `/run/${"x".repeat(5_000)}`,
  ]) {
    refuses("unix:/run/**", { unixPath });
    refuses("unix:/**", { unixPath });
  }
  assert.equal(bareMatches(parseTarget({ unixPath: "/run/docker.sock" })), false);
});

test("what a peer may ask for wrongly is refused, not thrown", () => {
  for (const port of [-1, 65_536, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
    refuses("10.0.0.1:*", { host: "10.0.0.1", port });
  refuses("10.0.0.1:*", { host: "10.0.0.1", port: 0 });
  for (const address of ["", "x", "127.1", "10.0.0.1/8"])
    refuses("*:80", { host: "a.example", port: 80, address });
  for (const host of ["", "a b", "a..b", "%61.example"])
    refuses("*:80", { host, port: 80, address: "8.8.8.8" });
});

test("parseAddressRule() quotes what it was given and says what it expected", () => {
  const fails = (text: string, message: RegExp, lowest: 0 | 1 = 1): void => {
    assert.throws(
      () => parseAddressRule(text, lowest),
      { name: "SyntaxError", code: "SCOPE_INVALID", message },
      text,
    );
  };
  for (const text of [
    "",
    "a",
    "5432",
    "::1:80",
    "fe80::/10:80",
    "a:b:80",
    "[::1]",
    "[::1]80",
    "unix",
  ])
    fails(text, /expected "host:port" \("\[::1\]:5432" for IPv6\) or "unix:\/path"$/);
  for (const text of [
    ":80",
    "a b:80",
    "a..b:80",
    "**:80",
    "a.**:80",
    "-\u00ad*é.x:80",
    "a/8:80",
    `${"a*".repeat(200)}:80`,
  ])
    fails(text, /expected as host/);
  for (const text of ["10.0.*:80", "*.1:80", "1*:80", "0x7f.1:80"])
    fails(text, /write a block, "10\.0\.0\.0\/8"$/);
  for (const text of ["127.1:80", "10.0.0.0/8/8:80", "1.2.3.4.5:80"]) fails(text, /expected a/);
  fails("10.0.0.1/8:80", /"10\.0\.0\.1\/8:80".*write 10\.0\.0\.0\/8$/);
  fails("[10.0.0.1]:80", /IPv6 address or block in brackets$/);
  fails("[a.example]:80", /IPv6 address or block in brackets$/);
  fails("[::1%lo]:80", /expected an IP address/);
  for (const ports of [
    "",
    "0",
    "65536",
    "080",
    "-80",
    "80-",
    "90-80",
    "80-65536",
    "1-2-3",
    "**",
    "http",
    " 80",
  ])
    fails(`a:${ports}`, /expected as port "\*", 1 to 65535/);
  for (const path of ["", "run/x", "/", "/run//x", "/run/../x", "/run/", "/run/\0"])
    fails(`unix:${path}`, /absolute path/);
  fails("unix:/run/***", /three/);
  assert.equal(parseAddressRule("localhost:0", 0).kind, "host");
});

// The specification once more, by other means: addresses and blocks are strings of bits, names are
// regular expressions, and "within" is "starts with".

interface Pattern {
  readonly text: string;
  readonly any?: boolean;
  readonly name?: RegExp;
  readonly blocks?: readonly string[];
  readonly low: number;
  readonly high: number;
}

function bitsOf(address: string): string {
  const hex = (part: string, width: number): string =>
    Number.parseInt(part || "0", 16)
      .toString(2)
      .padStart(width, "0");
  if (!address.includes(":")) {
    return `4${address
      .split(".")
      .map((part) => Number(part).toString(2).padStart(8, "0"))
      .join("")}`;
  }
  const url = new URL(`http://[${address}]`).hostname.slice(1, -1); // normal form
  const [head = "", tail] = url.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups =
    tail === undefined
      ? left
      : [...left, ...Array.from({ length: 8 - left.length - right.length }, () => "0"), ...right];
  const bits = groups.map((group) => hex(group, 16)).join("");
  const mapped = "0".repeat(80) + "1".repeat(16);
  return bits.startsWith(mapped) ? `4${bits.slice(96)}` : `6${bits}`;
}

function blockBits(block: string): string {
  const [address = "", prefix] = block.split("/");
  return prefix === undefined ? bitsOf(address) : bitsOf(address).slice(0, 1 + Number(prefix));
}

const SPECIAL4 = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/4",
  "255.255.255.255",
  "169.254.169.254",
  "169.254.170.2",
  "169.254.170.23",
  "169.254.0.23",
  "169.254.42.42",
  "100.100.100.200",
  "168.63.129.16",
  "192.0.0.192",
].map(blockBits);
const SPECIAL6 = [
  "::",
  "::1",
  "fe80::/10",
  "ff00::/8",
  "fd00:ec2::254",
  "fd00:ec2::23",
  "fd20:ce::254",
  "fd00:42::42",
  "fe80::a9fe:a9fe",
  "64:ff9b:1::/48",
].map(blockBits);
const CARRIED = ["::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "2002::/16"]
  .map(blockBits)
  .flatMap((prefix) => SPECIAL4.map((block) => prefix + block.slice(1)));

function naive(pattern: Pattern, host: string, address: string, port: number): boolean {
  if (port < pattern.low || port > pattern.high) return false;
  const bits = bitsOf(address);
  const special = [...SPECIAL4, ...SPECIAL6, ...CARRIED]
    .filter((block) => bits.startsWith(block))
    .toSorted((a, b) => b.length - a.length)[0];
  if (pattern.blocks !== undefined)
    return pattern.blocks.some(
      (block) => bits.startsWith(block) && (special === undefined || block.startsWith(special)),
    );
  if (special !== undefined) return false;
  return pattern.any === true || pattern.name!.test(host);
}

const addressText = fc.oneof(
  fc.constantFrom(
    "127.0.0.1",
    "127.3.2.1",
    "::1",
    "::",
    "0.0.0.0",
    "10.0.0.1",
    "10.128.0.1",
    "169.254.169.254",
    "169.254.9.9",
    "224.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "100.100.100.201",
    "93.184.216.34",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "2002:7f00:1::",
    "2002:a00:1::",
    "64:ff9b:1::1",
    "::10.0.0.1",
    "::ffff:0:7f00:1",
    "2606:4700::1111",
  ),
  fc.ipV4(),
  fc.ipV6(),
);

const blockText = fc.tuple(addressText, fc.nat(128)).map(([address, length]) => {
  const v4 = !address.includes(":");
  const bits = bitsOf(address);
  if (!v4 && bits.startsWith("4")) return "::/0";
  const prefix = v4 ? length % 33 : length;
  const kept = bits.slice(1, 1 + prefix).padEnd(v4 ? 32 : 128, "0");
  const words = kept.match(v4 ? /.{8}/g : /.{16}/g)!.map((word) => Number.parseInt(word, 2));
  return `${v4 ? words.join(".") : words.map((word) => word.toString(16)).join(":")}/${prefix}`;
});

const hostName = fc
  .array(fc.constantFrom("a", "b", "example", "com", "x-1"), { minLength: 1, maxLength: 4 })
  .map((labels) => labels.join("."));

const namePattern = fc
  .array(fc.constantFrom("a", "b", "example", "com", "*", "x-*", "*b"), {
    minLength: 1,
    maxLength: 4,
  })
  .map((labels) => labels.join("."))
  .filter((text) => !/^[*.]+$/.test(text));

const rule: fc.Arbitrary<Pattern> = fc
  .tuple(
    fc.oneof(
      fc.constant({ text: "*", any: true }),
      fc.constant({ text: "localhost", blocks: ["127.0.0.0/8", "::1"].map(blockBits) }),
      namePattern.map((text) => ({
        text,
        name: new RegExp(`^${text.replaceAll(".", "\\.").replaceAll("*", ".*")}$`),
      })),
      fc.oneof(addressText, blockText).map((text) => ({
        text: text.includes(":") ? `[${text}]` : text,
        blocks: [blockBits(text)],
      })),
    ),
    fc.oneof(
      fc.constant({ text: "*", low: 1, high: 65_535 }),
      fc.integer({ min: 1, max: 5 }).map((port) => ({ text: String(port), low: port, high: port })),
      fc.constant({ text: "2-4", low: 2, high: 4 }),
    ),
  )
  .map(([host, ports]) => ({ ...host, ...ports, text: `${host.text}:${ports.text}` }));

test("ruleMatches() is what the naive specification says", () => {
  let hits = 0;
  fc.assert(
    fc.property(
      rule,
      hostName,
      addressText,
      fc.integer({ min: 1, max: 6 }),
      (pattern, host, address, port) => {
        const expected = naive(pattern, host, address, port);
        assert.equal(matches(pattern.text, host, port, address), expected);
        hits += expected ? 1 : 0;
      },
    ),
    { numRuns: 10_000 },
  );
  // Else both sides would agree for lack of a match.
  assert.ok(hits > 500, `${hits} matches`);
});

test("parseAddressRule() throws nothing but its own error, parseTarget() nothing at all", () => {
  const text = fc
    .array(
      fc.constantFrom(
        "*",
        ":",
        "[",
        "]",
        "/",
        ".",
        "-",
        "1",
        "255",
        "a",
        "é",
        "unix:",
        "::",
        "%",
        "\0",
      ),
      { maxLength: 12 },
    )
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(fc.oneof(text, fc.string({ unit: "binary" })), (input) => {
      try {
        parseAddressRule(input);
      } catch (error) {
        assert.equal((error as { code?: string }).code, "SCOPE_INVALID");
      }
      parseTarget({ host: input, port: 1 });
      parseTarget({ host: "a", port: 1, address: input });
      parseTarget({ unixPath: input });
    }),
    { numRuns: 5_000 },
  );
});

test("a name that is resolved elsewhere is covered by a pattern of names only", () => {
  const resource = { host: "db.example.com", port: 5432, elsewhere: true } as const;
  reaches("db.example.com:5432", resource);
  reaches("*.example.com:5000-6000", resource);
  reaches("*.example.com:*", { ...resource, host: "DB.Example.Com." });
  for (const pattern of ["*:5432", "10.0.0.0/8:5432", "0.0.0.0/0:*", "*.example.com:80", "a*:*"]) {
    refuses(pattern, resource);
  }
  // What is loopback here is not that of whoever resolves it.
  refuses("localhost:80", { host: "localhost", port: 80, elsewhere: true });
  assert.equal(bareMatches(parseTarget(resource)), false);
});

test("an address is one wherever it is resolved", () => {
  reaches("10.0.0.0/8:80", { host: "10.0.0.1", port: 80, elsewhere: true });
  refuses("*:80", { host: "::ffff:127.0.0.1", port: 80, elsewhere: true });
  reaches("127.0.0.1:80", { host: "127.0.0.1", port: 80, elsewhere: true });
});
