/**
 * A parsed `alknet.toml` held against its schema: the configuration that it says, or what is wrong with it.
 *
 * The schema says every key, with its form, default and description (`config-sections/`). It gives the validation, the
 * JSON Schema for editors, the page of the documentation and, by `z.output`, the type of what was written. What
 * programs use is `Config`, in config.ts, which knows nothing of these files: zod takes 30 to 100 ms to import, and
 * where there is no configuration nothing of it is needed.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { dirname, resolve } from "node:path";
import * as z from "zod/mini";
import type { Config } from "./config.ts";
import { configDocument } from "./config-document.ts";
import { NOT_A_TABLE } from "./config-sections/forms.ts";
import type { FileAt } from "./config-sections/part.ts";
import type { TomlPath } from "./toml-positions.ts";

/** What zod found, in terms that do not depend on it. */
export type SchemaIssue =
  | { readonly kind: "unknown key"; readonly path: TomlPath }
  | { readonly kind: "missing"; readonly path: TomlPath }
  /** Of another form than the schema there says. */
  | { readonly kind: "form"; readonly path: TomlPath }
  /** One of our own parsers refused it, and says why. */
  | { readonly kind: "text"; readonly path: TomlPath; readonly message: string };

/** What the schema makes of a parsed file. */
export type SchemaOutcome =
  | {
      readonly outcome: {
        /** The file with its defaults. */
        readonly complete: object;
        /**
         * What programs use; `path` is where the file is.
         *
         * @throws {PeerError} if its peers or tokens clash.
         */
        readonly config: (path: string) => Config;
      };
      readonly issues?: undefined;
    }
  | { readonly outcome: undefined; readonly issues: readonly SchemaIssue[] };

/** Hold a parsed TOML file against the schema. */
export function readSchema(root: object): SchemaOutcome {
  const { success, data, error } = z.safeParse(configDocument.schema, root);
  if (success) return { outcome: { complete: data, config: (path) => configOf(data, path) } };
  return { outcome: undefined, issues: error.issues.flatMap((it) => issuesOf(it, root, [])) };
}

function configOf(data: z.output<typeof configDocument.schema>, path: string): Config {
  const fileAt: FileAt = (file) => (file === undefined ? undefined : resolve(dirname(path), file));
  return Object.freeze({ path, ...configDocument.read(data, fileAt) });
}

function issuesOf(issue: z.core.$ZodIssue, root: object, above: TomlPath): SchemaIssue[] {
  const path = [...above, ...(issue.path as (string | number)[])];
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({ kind: "unknown key", path: [...path, key] }));
    case "custom":
      return issue.message === NOT_A_TABLE
        ? [{ kind: "form", path }]
        : [{ kind: "text", path, message: issue.message }];
    case "invalid_key": {
      const own = issue.issues.find(({ code }) => code === "custom");
      return [
        own === undefined
          ? { kind: "unknown key", path }
          : { kind: "text", path, message: own.message },
      ];
    }
    case "invalid_union": {
      // All unions here are a text or a list of texts: the one that it was going to be tells more.
      const value = valueAt(root, path);
      const branch = issue.errors[Array.isArray(value) ? 1 : 0];
      if (branch === undefined || (!Array.isArray(value) && typeof value !== "string")) {
        return [{ kind: "form", path }];
      }
      return branch.flatMap((each) => issuesOf(each, root, path));
    }
    case "invalid_element":
    case "invalid_format":
    case "invalid_type":
    case "invalid_value":
    case "not_multiple_of":
    case "too_big":
    case "too_small":
      return [{ kind: valueAt(root, path) === undefined ? "missing" : "form", path }];
  }
}

/** What stands at `path` of a parsed file. */
export function valueAt(root: unknown, path: TomlPath): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string | number, unknown>)[key];
  }
  return value;
}
