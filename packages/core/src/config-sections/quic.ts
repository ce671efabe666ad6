/**
 * `[quic]`: how the node sends.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { type ConfigQuic, CONGESTION, DEFAULT_QUIC } from "../config.ts";
import { section } from "./forms.ts";
import { type ConfigPart, part } from "./part.ts";

export const quic: ConfigPart<ConfigQuic> = part(
  section("How this node sends over QUIC, its commands included.", {
    congestion: z._default(z.enum([...CONGESTION]), DEFAULT_QUIC.congestion).check(
      z.meta({
        description:
          "How the rate of a connection is found: `bbr` by what the path delivers, whatever is lost on the way; `cubic` and `newreno` by losses, as most TCP does.",
      }),
    ),
  }),
  ({ congestion }) => Object.freeze({ congestion }),
);
