/**
 * A QR code for a terminal.
 *
 * @module
 */

import { encode } from "uqr";

/** White around the code, in modules: two are enough for today's readers, the standard has four. */
const BORDER = 2;

/** Widest code that is drawn, in columns: one that wraps is no code. */
const WIDEST = 80;

/** Black on white, whatever colours the terminal has: many readers want no other. */
const COLOURS = "\u001b[38;5;16;48;5;231m";
const RESET = "\u001b[0m";

/**
 * Draw `text`, two rows of modules to a line, each line with an end.
 *
 * @returns `undefined` if it would be wider than 80 columns.
 */
export function qrCode(text: string): string | undefined {
  let dark: readonly (readonly boolean[])[];
  try {
    dark = encode(text, { ecc: "L", border: BORDER }).data;
  } catch {
    // Longer than any code can be.
    return undefined;
  }
  if (dark.length > WIDEST) return undefined;
  let lines = "";
  for (let row = 0; row < dark.length; row += 2) {
    const upper = dark[row]!;
    const lower = dark[row + 1] ?? [];
    const blocks = upper.map((top, at) => BLOCKS[(top ? 2 : 0) + (lower[at] === true ? 1 : 0)]!);
    lines += `${COLOURS}${blocks.join("")}${RESET}\n`;
  }
  return lines;
}

/** By whether the upper and the lower module are dark. */
const BLOCKS = [" ", "▄", "▀", "█"] as const;
