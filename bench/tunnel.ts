/**
 * `tunnel`: one forwarded TCP flow over QUIC, beside `ssh -L` with its default cipher.
 *
 * @module
 */

import type { Bench } from "./harness.ts";
import { tunnelBench } from "./tunnel-ends.ts";

export const bench: Bench = tunnelBench({ name: "tunnel", transport: "quic", goal: 1.2 });
