/**
 * What a check of `alknet doctor` found.
 *
 * @module
 */

export interface Finding {
  /** What was looked at, in a word or two. */
  readonly check: string;
  /** `warning`: works, and could work better. */
  readonly state: "ok" | "warning" | "problem";
  readonly text: string;
  /** What mends it: a command, or lines to paste. */
  readonly fix?: string | undefined;
}
