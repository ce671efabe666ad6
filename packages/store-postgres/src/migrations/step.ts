/**
 * A step of a migration.
 *
 * @module
 */

/** Statements from one version to the next, for a table's quoted name; `index` makes quoted names of indexes. */
export type Step = (table: string, index: (name: string) => string) => readonly string[];
