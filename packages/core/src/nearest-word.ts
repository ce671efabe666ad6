/**
 * The word that was probably meant.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

/** Longest part of a word that is compared. */
const MAX_COMPARED = 40;

/** The one of `words` that is nearest to `word`, if any is near enough: a third of it may be wrong. */
export function nearestWord(word: string, words: readonly string[]): string | undefined {
  const typed = word.toLowerCase().slice(0, MAX_COMPARED);
  let nearest: string | undefined;
  let least = Infinity;
  for (const each of words) {
    const distance = editDistance(typed, each.toLowerCase().slice(0, MAX_COMPARED));
    if (distance > Math.max(1, Math.floor(each.length / 3)) || distance >= least) continue;
    nearest = each;
    least = distance;
  }
  return nearest;
}

/** Levenshtein's distance, with neighbours swapped counted once. */
export function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(
        rows[i - 1]![j]! + 1,
        row[j - 1]! + 1,
        rows[i - 1]![j - 1]! + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
