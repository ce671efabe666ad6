/**
 * What can go wrong with a vault, by code. No text contains a secret.
 *
 * @module
 */

export type VaultErrorCode =
  /** The vault is locked: nothing can be derived, opened or sealed. */
  | "VAULT_LOCKED"
  /** `unlock` on a vault that is unlocked. */
  | "ALREADY_UNLOCKED"
  /** Not a BIP39 phrase: number of words, a word, or the checksum. */
  | "MNEMONIC_INVALID"
  /** A path without a key (BIP-32: a chance of 2^-127), or a seed of the wrong length. */
  | "DERIVATION_FAILED"
  /** A wrong key, another context, or changed bytes: which of them cannot be told. */
  | "DECRYPTION_FAILED"
  /** Not the four fields of sealed data. */
  | "ENCRYPTED_DATA_INVALID"
  /** A derivation path that is malformed or not to be used so, or a key version below 2. */
  | "INVALID_PATH"
  /** An operation that this type of key has not. */
  | "UNSUPPORTED_KEY_TYPE"
  /** A derived key that was disposed of. */
  | "KEY_DISPOSED"
  /** `[REDACTED]` where a secret was expected. */
  | "REDACTED_INPUT"
  /** The vault file does not open with this passphrase. */
  | "VAULT_PASSPHRASE_WRONG"
  /** The vault file is not as it was written. */
  | "VAULT_DAMAGED"
  /** The vault file was written by another version. */
  | "VAULT_VERSION_UNKNOWN"
  /** Others can read the vault file. */
  | "VAULT_PERMISSIONS"
  /** There is a vault file already. */
  | "VAULT_EXISTS"
  /** There is no vault file. */
  | "VAULT_MISSING"
  /** The vault file is no regular file, too large, or the system refuses to read, lock or write it. */
  | "VAULT_UNREADABLE"
  /** Another process has been writing the vault file for too long, or too many are unlocking it. */
  | "VAULT_BUSY"
  /** Another vault is in the place of the one that was opened. */
  | "VAULT_CHANGED"
  /** The vault file does not open with this unlock key. */
  | "UNLOCK_KEY_WRONG"
  /** What should be an unlock key is none, cannot be read, or can be read by others. */
  | "UNLOCK_KEY_INVALID";

export interface VaultErrorOptions extends ErrorOptions {
  /** What the person can do about it. */
  hint?: string | undefined;
}

/** Everything this package throws on purpose, but for wrong arguments (`TypeError`, `RangeError`). */
export class VaultError extends Error {
  override readonly name = "VaultError";
  readonly code: VaultErrorCode;
  readonly hint: string | undefined;

  constructor(code: VaultErrorCode, message: string, options: VaultErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.hint = options.hint;
  }
}
