/**
 * After `lock()` and a collection, a program's memory has neither its words nor its seed nor what came from it.
 *
 * Secrets are looked for in the forms that they take on their way: as they are, as HMAC pads them, as SHA-2 loads
 * them, as OpenSSL's numbers have them, expanded for Ed25519, as hexadecimal and base64. A secret counts as found if
 * sixteen bytes in a row are.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { suite, test } from "node:test";
import {
  encryptionKeyPath,
  ETHEREUM_PATH,
  IDENTITY_PATH,
  SSH_HOST_PATH,
  sshKeyPath,
} from "@alknet/vault/derivation-path";
import { HDKey as Bip32 } from "@scure/bip32";
import { generateMnemonic, mnemonicToEntropy, mnemonicToSeedSync } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import { HDKey as Slip10 } from "micro-key-producer/slip10.js";
import { scanBytes, scanMemory } from "./memory-scan.ts";
import { follow } from "./program.ts";

/** How much of a secret has to be in one place to be found, in bytes. */
const PIECE = 16;
const PATHS = [IDENTITY_PATH, SSH_HOST_PATH, sshKeyPath("work"), encryptionKeyPath(3)];

/** Where the words come from. */
type Mode = "new" | "given";

type Needles = ReadonlyMap<string, Uint8Array>;

suite("a vault's memory", () => {
  // Once, so that little is written over what was left; and often, so that code was compiled and memory used again.
  test("lock() leaves nothing of a new phrase", () => afterLock("new", 1));
  test("lock() leaves nothing of a phrase and a passphrase", () => afterLock("given", 300));
});

async function afterLock(mode: Mode, rounds: number): Promise<void> {
  await using run = start(mode, rounds);
  const found = (needles: Needles) => [
    ...new Set(scanMemory(run.program.pid, needles).map(({ needle }) => needle)),
  ];
  await run.program.waitFor(/^unlocked/m);
  const secrets = needlesOf(...run.secrets());
  const before = found(secrets);
  for (const name of ["seed", `ed25519 key ${encryptionKeyPath(3)}`]) {
    assert.ok(before.includes(`${name}, as it is, byte 0`), `unlocked, so it has the ${name}`);
  }
  run.next();
  await run.program.waitFor(/^locked/m);
  assert.deepEqual(found(run.planted).toSorted(), ["planted", "planted text"]);
  assert.deepEqual(found(secrets), []);
  run.next();
  await run.program.waitFor(/^written/m);
  const snapshot = readFileSync(run.snapshot);
  assert.deepEqual(scanBytes(snapshot, run.planted), ["planted text"]);
  assert.deepEqual(scanBytes(snapshot, secrets), []);
}

function start(mode: Mode, rounds: number) {
  const folder = mkdtempSync(join(tmpdir(), "alknet-vault-memory-"));
  const [secrets, snapshot] = [join(folder, "secrets"), join(folder, "program.heapsnapshot")];
  const planted = randomBytes(16);
  const passphrase = mode === "given" ? randomBytes(16).toString("hex") : "";
  const given = mode === "given" ? generateMnemonic(wordlist, 128) : "";
  writeFileSync(secrets, Buffer.concat([planted, Buffer.from(passphrase + given)]));
  const program = new URL("vault-memory-program.ts", import.meta.url).pathname;
  const flags = ["--conditions=@alknet/source", "--expose-gc"];
  const args = [...flags, program, mode, String(rounds), secrets, snapshot];
  const child = spawn(process.execPath, args, { stdio: "pipe" });
  return {
    program: follow(child, "the program"),
    planted: new Map([
      ["planted", planted],
      ["planted text", Buffer.from(planted.toString("hex"))],
    ]),
    snapshot,
    secrets: (): [string, string] => [
      readFileSync(secrets, "latin1").slice(planted.length + passphrase.length),
      passphrase,
    ],
    next: () => child.stdin.write("\n"),
    async [Symbol.asyncDispose]() {
      await this.program.stop("SIGKILL");
      rmSync(folder, { recursive: true });
    },
  };
}

/** All that must be gone, in pieces, in every form. */
function needlesOf(phrase: string, passphrase: string): Needles {
  const seed = mnemonicToSeedSync(phrase, passphrase);
  const secrets = new Map<string, Uint8Array>([
    ["seed", seed],
    ["entropy", mnemonicToEntropy(phrase, wordlist)],
    ["phrase", Buffer.from(phrase)],
    ["passphrase", Buffer.from(passphrase)],
  ]);
  for (const path of PATHS) addChain(secrets, "ed25519", Slip10.fromMasterSeed(seed), path);
  addChain(secrets, "secp256k1", Bip32.fromMasterSeed(seed), ETHEREUM_PATH);
  for (const [name, secret] of [...secrets]) {
    if (name.startsWith("ed25519 key")) secrets.set(`expanded ${name}`, expanded(secret));
  }
  return new Map([...secrets].flatMap(([name, secret]) => [...forms(name, secret)]));
}

/** The keys and chain codes on the way to a path: from each of them those below it follow. */
function addChain(
  secrets: Map<string, Uint8Array>,
  curve: string,
  master: Slip10 | Bip32,
  path: string,
) {
  const segments = path.split("/");
  for (let depth = 1; depth <= segments.length; depth += 1) {
    const at = segments.slice(0, depth).join("/");
    const { privateKey, chainCode } = master.derive(at);
    secrets.set(`${curve} key ${at}`, privateKey!);
    secrets.set(`${curve} chain code ${at}`, chainCode!);
  }
}

/** The scalar and the prefix that Ed25519 signs with (RFC 8032 §5.1.5). */
function expanded(privateKey: Uint8Array): Uint8Array {
  const bytes = createHash("sha512").update(privateKey).digest();
  bytes[0]! &= 0xf8;
  bytes[31] = (bytes[31]! & 0x7f) | 0x40;
  return bytes;
}

function* forms(name: string, secret: Uint8Array): Generator<[string, Uint8Array]> {
  const bytes = Buffer.from(secret);
  const padded = Buffer.alloc(Math.ceil(bytes.length / 8) * 8);
  padded.set(bytes);
  const texts = { hex: bytes.toString("hex"), base64: bytes.toString("base64") };
  const all: Record<string, Uint8Array> = {
    "as it is": bytes,
    "HMAC's inner pad": bytes.map((byte) => byte ^ 0x36),
    "HMAC's outer pad": bytes.map((byte) => byte ^ 0x5c),
    reversed: bytes.toReversed(),
    "words of 32 bits": Buffer.from(padded).swap32(),
    "words of 64 bits": Buffer.from(padded).swap64(),
    hex: Buffer.from(texts.hex),
    base64: Buffer.from(texts.base64),
    "UTF-16": Buffer.from(bytes.toString("latin1"), "utf16le"),
  };
  for (const [form, whole] of Object.entries(all)) {
    // Eight letters in UTF-16 are one word, as it may stand anywhere.
    const piece = form === "UTF-16" ? 2 * PIECE : PIECE;
    for (let at = 0; at + piece <= whole.length; at += piece) {
      yield [`${name}, ${form}, byte ${at}`, whole.subarray(at, at + piece)];
    }
  }
}
