/**
 * `node/config/show`, `check`, `reload`: the file of the configuration, and what of it is in use.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { operation } from "@alknet/call/operation";
import { configEntries } from "@alknet/core/config-entries";
import { loadConfig, readConfigText } from "@alknet/core/config-file";
import { ConfigInvalid, formatTomlPath } from "@alknet/core/config-problem";
import * as z from "zod";
import { configFault as faultOf } from "../config-reload.ts";
import { list } from "./lists.ts";
import { CHANGE, LOOK } from "./node-access.ts";
import { cut } from "./node-effect.ts";
import type { NodeSources } from "./node-sources.ts";
import { configFault } from "./status-document.ts";

const CONFIG_ERRORS = {
  CONFIG_INVALID: { description: "the file cannot be used", details: configFault },
} as const;

const counts = z.object({ added: z.number(), removed: z.number(), changed: z.number() });

export function nodeConfig({ configuration }: NodeSources) {
  const { path } = configuration.config;
  return [
    operation({
      name: "node/config/show",
      type: "query",
      description: "What stands in the file, and what of it is a default. Hashes are cut short.",
      access: LOOK,
      input: z.strictObject({}),
      output: z.object({
        path: z.string(),
        exists: z.boolean(),
        values: list(
          z.object({ key: z.string(), value: z.unknown(), from: z.enum(["file", "default"]) }),
        ),
      }),
      errors: CONFIG_ERRORS,
      handler(_, context) {
        const text = readConfigText(path);
        try {
          const values = configEntries(text ?? "", path).map((entry) => ({
            key: formatTomlPath(entry.path),
            value: entry.value,
            from: entry.from,
          }));
          return { path, exists: text !== undefined, values };
        } catch (error) {
          if (!(error instanceof ConfigInvalid)) throw error;
          throw context.error("CONFIG_INVALID", faultOf(error), error.message);
        }
      },
    }),
    operation({
      name: "node/config/check",
      type: "query",
      description: "Whether the file can be used, and what is wrong with it.",
      access: LOOK,
      input: z.strictObject({}),
      output: z.object({
        path: z.string(),
        exists: z.boolean(),
        valid: z.boolean(),
        error: configFault.optional(),
      }),
      async handler() {
        const exists = existsSync(path);
        const error = await loadConfig(path).then(
          () => undefined,
          (reason: unknown) => reason as Error,
        );
        if (error === undefined) return { path, exists, valid: true };
        return { path, exists, valid: false, error: faultOf(error) };
      },
    }),
    operation({
      name: "node/config/reload",
      type: "mutation",
      description: "Read the file now, and put it in place; what cannot be used changes nothing.",
      access: CHANGE,
      input: z.strictObject({}),
      output: z.object({
        changes: z.object({
          peers: counts,
          apiKeys: counts,
          roles: counts,
          settings: list(z.string()).describe("other keys that apply at once"),
        }),
        cut,
        restart: list(z.string()).describe("keys whose new values need a restart"),
      }),
      errors: CONFIG_ERRORS,
      async handler(_, context) {
        try {
          return await configuration.reload();
        } catch (error) {
          const reason = error as Error;
          throw context.error("CONFIG_INVALID", faultOf(reason), reason.message);
        }
      },
    }),
  ] as const;
}
