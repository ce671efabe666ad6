import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { compileScopes } from "@alknet/core/scope";
import * as fc from "fast-check";
import { commandWords, matchCommand, mayRun } from "./command-words.ts";

test("commandWords() undoes quotes as a shell does", () => {
  assert.deepEqual(commandWords("git-upload-pack '/srv/my repo.git'"), [
    "git-upload-pack",
    "/srv/my repo.git",
  ]);
  assert.deepEqual(commandWords(`a\t"b c"'d'e  \\*  ""`), ["a", "b cde", "*", ""]);
  assert.deepEqual(commandWords(`"a\\b\\"c" 'd\\e' '$x;*'`), ['a\\b"c', "d\\e", "$x;*"]);
  assert.deepEqual(commandWords('"a\\\nb" "c\\\\\nd"'), ["ab", "c\\\nd"]);
  assert.deepEqual(commandWords("a~b {x} A=b"), ["a~b", "{x}", "A=b"]);
});

test("commandWords() refuses what a shell would act on, and what does not end", () => {
  const refused = [
    ...["a;b", "a&b", "a|b", "a<b", "a>b", "(a)", "a\nb", "a *", "a ?", "a [b]", "a #b", "~/a"],
    ...["a $b", 'a "$b"', "a `b`", 'a "`b`"', "a \\$b", 'a "\\$b"', "$(a)"],
    ...["a 'b", 'a "b', "a \\", "a \\\nb", "", "  ", "a\0b"],
  ];
  for (const command of refused) {
    assert.throws(() => commandWords(command), { code: "COMMAND_INVALID" }, command);
  }
});

test("commandWords() reads what was quoted, whatever it is", () => {
  const word = fc.string().map((text) => text.replaceAll("\0", ""));
  fc.assert(
    fc.property(fc.array(word, { minLength: 1 }), (words) => {
      const quoted = words.map((each) => `'${each.replaceAll("'", "'\\''")}'`).join(" ");
      assert.deepEqual(commandWords(quoted), words);
    }),
  );
});

test("commandWords() reads any text as sh does, or refuses it", () => {
  const char = fc.constantFrom(..."ab'\"\\ \t~;$`*\n=".split(""));
  const text = fc.array(char, { maxLength: 10 }).map((chars) => chars.join(""));
  const accepted: { text: string; words: string[] }[] = [];
  fc.assert(
    fc.property(text, (each) => {
      try {
        accepted.push({ text: each, words: commandWords(each) });
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, "COMMAND_INVALID");
      }
    }),
    { numRuns: 4_000 },
  );
  // All in one shell: it shows each word in brackets, each command on a line.
  const show = String.raw`show() { for word; do printf '[%s]' "$word"; done; echo; }`;
  const script = [show, ...accepted.map((each) => `show ${each.text}`)].join("\n");
  const shown = accepted.map(({ words }) => `${words.map((word) => `[${word}]`).join("")}\n`);
  assert.ok(accepted.length > 50);
  assert.equal(execFileSync("sh", ["-c", script], { encoding: "utf8" }), shown.join(""));
});

test("matchCommand() holds one pattern word against each word, and a last ** against the rest", () => {
  const yes = [
    ["uptime", "uptime"],
    ["git-upload-pack *", "git-upload-pack repo"],
    ["git-upload-pack /srv/**", "git-upload-pack /srv/a/b"],
    ["rsync --server **", "rsync --server"],
    ["rsync --server **", "rsync --server -a . /x"],
    ["**", "anything at all"],
  ] as const;
  const no = [
    ["uptime", "uptime -p"],
    ["git-upload-pack *", "git-upload-pack"],
    ["git-upload-pack *", "git-upload-pack a b"],
    ["git-upload-pack *", "git-upload-pack a/b"],
    ["git-upload-pack *", "git-receive-pack a"],
    ["rsync --server **", "rsync"],
    ["", "uptime"],
  ] as const;
  for (const [pattern, command] of yes) assert.ok(matchCommand(pattern, command.split(" ")));
  for (const [pattern, command] of no) assert.ok(!matchCommand(pattern, command.split(" ")));
  assert.ok(!matchCommand("cat *", ["cat a b"].concat("c")));
  assert.ok(matchCommand("cat *", ["cat", "a b"]));
});

test("mayRun() looks at patterns only, and a malformed one grants nothing", () => {
  assert.ok(mayRun(compileScopes(["ssh:exec:uptime"]), ["uptime"]));
  for (const scope of ["ssh:exec", "ssh:shell", "ssh:*", "*", "ssh:exec:***", "ssh:exec:w"]) {
    assert.ok(!mayRun(compileScopes([scope]), ["uptime"]), scope);
  }
});
