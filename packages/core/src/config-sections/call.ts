/**
 * `[call]`: who may call.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { type ConfigCall, DEFAULT_CALL } from "../config.ts";
import { flag, section } from "./forms.ts";
import { type ConfigPart, part } from "./part.ts";

export const call: ConfigPart<ConfigCall> = part(
  section("Who may call operations of this node; which of them is in their scopes.", {
    strangers: flag(
      "`true`: so may who proves a key that is not known, what asks for no right.",
      DEFAULT_CALL.strangers,
    ),
  }),
  ({ strangers }) => Object.freeze({ strangers }),
);
