/**
 * `tunnel-tcp`: one forwarded TCP flow over TCP+TLS, beside `ssh -L` with AES-128-GCM.
 *
 * @module
 */

import type { Bench } from "./harness.ts";
import { tunnelBench } from "./tunnel-ends.ts";

export const bench: Bench = tunnelBench({
  name: "tunnel-tcp",
  transport: "tcp",
  cipher: "aes128-gcm@openssh.com",
  goal: 1,
});
