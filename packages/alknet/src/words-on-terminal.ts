/**
 * The words of a vault: shown on a screen that is gone afterwards, asked back, typed in; printed for a script.
 *
 * @module
 */

import { randomInt } from "node:crypto";
import { secretBytes, wipe } from "@alknet/vault/wipe";
import { CommandError } from "./command-error.ts";
import type { Terminal } from "./terminal.ts";
import type { Tty } from "./tty.ts";

/** Places that are asked back. */
const ASKED = 3;
/** Words in a row, and the width of one with its number, in characters. */
const COLUMNS = 4;
const WIDTH = 16;

const SPACE = 0x20;

/** Show the words, and wait until they are written down. @param phrase words and single spaces. */
export async function showWords(tty: Tty, phrase: Uint8Array, advice: string): Promise<void> {
  await tty.onOwnScreen(async () => {
    tty.write(`${advice}\n\n`);
    const words = wordsOf(phrase);
    for (const [index, word] of words.entries()) {
      tty.write(`${String(index + 1).padStart(4)}  `);
      tty.write(word);
      const last = index % COLUMNS === COLUMNS - 1 || index === words.length - 1;
      tty.write(last ? "\n" : " ".repeat(WIDTH - 6 - word.length));
    }
    wipe(await tty.ask("\nEnter when that is done: "));
  });
}

/**
 * Ask some of the words back.
 *
 * @returns whether they were right.
 */
export async function askWordsBack(tty: Tty, phrase: Uint8Array): Promise<boolean> {
  const words = wordsOf(phrase);
  return await tty.onOwnScreen(async () => {
    for (const place of randomPlaces(words.length)) {
      const answer = await tty.ask(`Word ${place + 1}: `);
      const right = isWord(answer, words[place]!);
      wipe(answer);
      if (!right) return false;
    }
    return true;
  });
}

/**
 * Have the words typed or pasted, in one line or several, up to an empty one. The caller wipes them.
 *
 * @throws {CommandError} `INPUT_TOO_LONG`
 */
export async function readWords(tty: Tty): Promise<Uint8Array> {
  return await tty.onOwnScreen(async () => {
    tty.write("The words, in one line or several; an empty line ends them.\n\n");
    const phrase = secretBytes(MAX_PHRASE);
    let length = 0;
    for (;;) {
      const line = await tty.ask("> ");
      if (line.length === 0) return phrase.subarray(0, length);
      const fits = length + line.length < MAX_PHRASE;
      if (fits) {
        phrase.set(line, length);
        length += line.length;
        phrase[length++] = SPACE;
      }
      wipe(line);
      if (fits) continue;
      wipe(phrase);
      throw new CommandError("those are more than 24 words", { code: "INPUT_TOO_LONG" });
    }
  });
}

/** Print the words on stdout: on a line of their own, or in a JSON document with `rest`. */
export async function printWords(
  { data }: Terminal,
  phrase: Uint8Array,
  rest: object | undefined,
): Promise<void> {
  // Letters and spaces, which JSON has as they are; as a string they could not be wiped.
  if (rest !== undefined) data.write('{"words":"');
  await data.writeBytes(phrase);
  data.write(rest === undefined ? "\n" : `",${JSON.stringify(rest).slice(1)}\n`);
}

/** Longest phrase that is read, in bytes: 24 words of 8 letters, and as much white space again. */
export const MAX_PHRASE = 1_024;

/** Views of each word. */
function wordsOf(phrase: Uint8Array): readonly Uint8Array[] {
  const words: Uint8Array[] = [];
  for (let begin = 0; begin < phrase.length;) {
    const space = phrase.indexOf(SPACE, begin);
    const end = space < 0 ? phrase.length : space;
    words.push(phrase.subarray(begin, end));
    begin = end + 1;
  }
  return words;
}

/** Some places below `count`, each once, in order. */
function randomPlaces(count: number): readonly number[] {
  const places = new Set<number>();
  while (places.size < ASKED) places.add(randomInt(count));
  return [...places].toSorted((a, b) => a - b);
}

/** Whether `answer` is `word`, but for blanks around it and capital letters. */
function isWord(answer: Uint8Array, word: Uint8Array): boolean {
  let begin = 0;
  let end = answer.length;
  while (begin < end && answer[begin] === SPACE) begin++;
  while (end > begin && answer[end - 1] === SPACE) end--;
  // A letter's case is one bit; words of the list are lower-case letters only.
  const typed = answer.subarray(begin, end);
  return typed.length === word.length && typed.every((byte, at) => (byte | 0x20) === word[at]);
}
