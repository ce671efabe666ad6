/**
 * The QUIC engine, loaded as this module is: the exports of `native/quic`.
 *
 * @module
 */

import { loadNative } from "./load-native.ts";

/** @throws {NativeMissingError} from the import itself, where no engine can be loaded. */
export const native: Readonly<Record<string, unknown>> = loadNative();
