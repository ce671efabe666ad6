/**
 * What can go wrong with a store.
 *
 * @module
 */

export type StoreErrorCode =
  /** There is no entry of that name. */
  | "STORE_NOT_FOUND"
  /** The entry is there already. */
  | "STORE_EXISTS"
  /** Somebody else has the database locked, for longer than we wait. */
  | "STORE_BUSY"
  /** No room on the disk. Nothing was changed. */
  | "STORE_FULL"
  /** It may be read, and not written. */
  | "STORE_READ_ONLY"
  /** The database is damaged, or is none. */
  | "STORE_CORRUPT"
  /** It was written by a newer version of this program. */
  | "STORE_NEWER"
  /** It cannot be reached. */
  | "STORE_UNAVAILABLE"
  /** This store was closed. */
  | "STORE_CLOSED";

export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: StoreErrorCode;
  /** A command, or what else to do. */
  readonly hint: string | undefined;

  constructor(
    code: StoreErrorCode,
    text: string,
    options: ErrorOptions & { readonly hint?: string | undefined } = {},
  ) {
    super(text, options);
    this.code = code;
    this.hint = options.hint;
  }
}
