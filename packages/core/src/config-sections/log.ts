/**
 * `[log]`: what is logged.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import { type Config, DEFAULT_LOG_LEVEL } from "../config.ts";
import { LOG_LEVELS } from "../log.ts";
import { section } from "./forms.ts";
import { type ConfigPart, part } from "./part.ts";

export const log: ConfigPart<Config["log"]> = part(
  section("What is logged.", {
    level: z
      ._default(z.enum([...LOG_LEVELS]), DEFAULT_LOG_LEVEL)
      .check(z.meta({ description: "The least that is logged." })),
  }),
  ({ level }) => Object.freeze({ level }),
);
