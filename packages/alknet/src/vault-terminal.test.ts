import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { run, testHome } from "./testing.ts";
import { startOnTerminal, type TerminalProgram } from "./testing-terminal.ts";
import { vaultHome } from "./testing-vault.ts";

const PASSPHRASE = "correct horse battery";
const OWN_SCREEN = "\u001b[?1049h";
const SCREEN_LEFT = "\u001b[?1049l";

/** Answer the questions for a new passphrase. */
async function choosePassphrase(terminal: TerminalProgram): Promise<void> {
  await terminal.until("New passphrase of the vault: ");
  terminal.type(PASSPHRASE);
  await terminal.until("The same again: ");
  terminal.type(PASSPHRASE);
}

/** Read the words off the screen that shows them. */
async function readWords(terminal: TerminalProgram): Promise<string[]> {
  await terminal.until(OWN_SCREEN);
  const shown = await terminal.until("Enter when that is done: ");
  return [...shown.matchAll(/(\d+) {2}([a-z]+)/g)].map(([, , word]) => word!);
}

/** Answer as many questions for words as there are, with `wordAt`. */
async function answerWords(terminal: TerminalProgram, wordAt: (place: number) => string) {
  const places: number[] = [];
  await terminal.until(OWN_SCREEN);
  for (let asked = 0; asked < 3; asked++) {
    await terminal.until("Word ");
    const place = Number(await terminal.until(": "));
    places.push(place);
    const word = wordAt(place);
    terminal.type(word);
    // A wrong one ends it.
    if (word === "wrong") break;
  }
  await terminal.until(SCREEN_LEFT);
  return places;
}

test("alknet vault create shows the words on a screen that is gone, and asks three of them back", async () => {
  using home = testHome();
  await using terminal = startOnTerminal(home, ["vault", "create", "--words", "12"]);
  await choosePassphrase(terminal);
  const words = await readWords(terminal);
  assert.equal(words.length, 12);
  assert.ok(!existsSync(home.home.vault), "nothing is made before the words are safe");
  terminal.press("\r");
  await terminal.until(SCREEN_LEFT);
  await answerWords(terminal, () => "wrong");
  // They are shown once more.
  assert.deepEqual(await readWords(terminal), words);
  terminal.press("\r");
  const places = await answerWords(terminal, (place) => ` ${words[place - 1]!.toUpperCase()} `);
  assert.equal(new Set(places).size, 3);
  await terminal.until("fingerprint");
  assert.equal(await terminal.exited, 0, terminal.screen());
  assert.ok(!terminal.screen().includes(PASSPHRASE), "it is not echoed");
  // What is outside of those screens has neither the words as they were shown nor as they were typed.
  const parts = terminal.screen().split(OWN_SCREEN);
  const rest = parts.map((part) => part.slice(part.indexOf(SCREEN_LEFT) + 1)).join("");
  for (const [index, word] of words.entries()) {
    assert.ok(!rest.includes(`${index + 1}  ${word}`) && !rest.includes(` ${word.toUpperCase()} `));
  }

  const input = `${PASSPHRASE}\n`;
  const args = ["vault", "show-words", "--force", "--passphrase-stdin"];
  assert.equal((await run(home, args, { input })).stdout, `${words.join(" ")}\n`);
});

test("alknet vault create makes nothing if the words are not known, or it is interrupted", async () => {
  using home = testHome();
  {
    await using terminal = startOnTerminal(home, ["vault", "create"]);
    await choosePassphrase(terminal);
    for (let attempt = 0; attempt < 3; attempt++) {
      assert.equal((await readWords(terminal)).length, 24);
      terminal.press("\r");
      await answerWords(terminal, () => "wrong");
    }
    await terminal.until("the words were not written down: no vault was made");
    assert.equal(await terminal.exited, 1);
  }
  {
    await using terminal = startOnTerminal(home, ["vault", "create"]);
    await choosePassphrase(terminal);
    await readWords(terminal);
    terminal.press("\u0003");
    await terminal.until(SCREEN_LEFT);
    assert.equal(await terminal.exited, 130);
  }
  {
    await using terminal = startOnTerminal(home, ["vault", "create"]);
    await terminal.until("New passphrase of the vault: ");
    terminal.press("half of it\u0003");
    assert.equal(await terminal.exited, 130);
  }
  assert.deepEqual(
    readdirSync(home.folder).filter((name) => name.startsWith("vault")),
    [],
  );
});

test("alknet vault import takes words as they are typed, also over several lines", async () => {
  using home = testHome();
  await using terminal = startOnTerminal(home, ["vault", "import"]);
  await choosePassphrase(terminal);
  await terminal.until("> ");
  terminal.type("abandon abandon abandon abandon abandon abondon");
  await terminal.until("> ");
  terminal.type("abandon abandon abandon abandon abandon about");
  await terminal.until("> ");
  terminal.type("");
  await terminal.until(
    'word 6, "abondon", is not in the BIP39 English list; did you mean "abandon"',
  );
  await terminal.until("> ");
  terminal.type(`${"abandon ".repeat(11)}about`);
  await terminal.until("> ");
  terminal.type("");
  await terminal.until("ed25519:e78c2766a792f09bfccb51493968ac322283e8d021a30063784d806929762ecc");
  assert.equal(await terminal.exited, 0);
});

test("two passphrases that differ are asked for again, and a wrong one three times", async () => {
  using home = testHome();
  const words = `${"abandon ".repeat(11)}about`;
  {
    const file = join(home.folder, "words");
    writeFileSync(file, words);
    // The words come by stdin, the passphrase by the terminal.
    const redirect = `<'${file}'`;
    await using terminal = startOnTerminal(home, ["vault", "import"], { redirect });
    await terminal.until("New passphrase of the vault: ");
    terminal.type(PASSPHRASE);
    await terminal.until("The same again: ");
    terminal.type("something else");
    await terminal.until("They differ");
    await choosePassphrase(terminal);
    assert.equal(await terminal.exited, 0, terminal.screen());
  }
  const file = join(home.folder, "out");
  const redirect = `>'${file}'`;
  await using terminal = startOnTerminal(home, ["vault", "show-words"], { redirect });
  await terminal.until("Passphrase of the vault: ");
  terminal.type("wrong");
  await terminal.until("Passphrase of the vault: ");
  // Corrected as people do.
  terminal.type(`x\u007f\u0015${PASSPHRASE}y\u007f`);
  assert.deepEqual(await readWords(terminal), words.split(" "));
  terminal.press("\r");
  assert.equal(await terminal.exited, 0, terminal.screen());
  assert.equal(readFileSync(file, "utf8"), "", "never to what is no terminal");
});

test("a terminal that cannot be wiped is told so", async () => {
  using home = testHome();
  await using terminal = startOnTerminal(home, ["vault", "create"], { term: "dumb" });
  await choosePassphrase(terminal);
  await terminal.until("Enter when that is done: ");
  terminal.press("\u0003");
  await terminal.until("This terminal cannot be wiped: close it");
  assert.equal(await terminal.exited, 130);
  assert.ok(!terminal.screen().includes("\u001b"));
});

test("who is in the background of a shell asks nobody, and is not stopped by the system", async () => {
  using home = await vaultHome();
  await using terminal = startOnTerminal(home, ["id"], { background: true });
  await terminal.until("alknet: the vault is locked");
  assert.equal(await terminal.exited, 5, terminal.screen());
});

test("a private key is printed once its owner has said yes", async () => {
  using home = testHome();
  const input = `${PASSPHRASE}\n${"abandon ".repeat(11)}about`;
  assert.equal((await run(home, ["vault", "import", "--passphrase-stdin"], { input })).code, 0);
  const args = ["vault", "ssh-key", "--private"];
  {
    await using terminal = startOnTerminal(home, args);
    await terminal.until('Write the private SSH key "default" on this terminal? [y/N] ');
    terminal.type("");
    await terminal.until("nothing was done");
    assert.equal(await terminal.exited, 1);
  }
  const file = join(home.folder, "key");
  await using terminal = startOnTerminal(home, args, { redirect: `>'${file}'` });
  await terminal.until('Write the private SSH key "default" on standard output? [y/N] ');
  terminal.type("yes");
  await terminal.until("Passphrase of the vault: ");
  terminal.type(PASSPHRASE);
  assert.equal(await terminal.exited, 0, terminal.screen());
  assert.match(readFileSync(file, "utf8"), /^-----BEGIN OPENSSH PRIVATE KEY-----\n/);
});
