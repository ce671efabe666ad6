/**
 * Which words somebody may have meant.
 *
 * @module
 */

/** At most three words of `words` that are near `typed`, the nearest first: begun alike, or two slips away at most. */
export function nearWords(typed: string, words: readonly string[]): readonly string[] {
  return words
    .map((word) => ({
      word,
      slips: typed.length > 2 && word.startsWith(typed) ? 1 : distance(typed, word),
    }))
    .filter(({ slips }) => slips <= 2)
    .toSorted((one, other) => one.slips - other.slips)
    .slice(0, 3)
    .map(({ word }) => word);
}

/** Slips of typing: a letter too many, too few, wrong, or two swapped (optimal string alignment). */
function distance(one: string, other: string): number {
  let before: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let row = 1; row <= one.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const same = one[row - 1] === other[column - 1];
      const swapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      current.push(
        Math.min(
          last[column]! + 1,
          current[column - 1]! + 1,
          last[column - 1]! + (same ? 0 : 1),
          swapped ? before[column - 2]! + 1 : Infinity,
        ),
      );
    }
    before = last;
    last = current;
  }
  return last[other.length]!;
}
