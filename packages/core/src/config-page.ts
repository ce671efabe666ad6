/**
 * The schema of `alknet.toml` as a page for people, and as a file to begin with.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { RESTART_KEYS } from "./config-changes.ts";
import { configJsonSchema, type JsonSchema } from "./config-json-schema.ts";

/** A file that shows all there is, for the page and for tests. */
export const EXAMPLE_CONFIG: string = `name = "den"
listen = ["[::]:7433", "[::]:443"]
handlers = ["ping", "register", "tunnel"]

[roles]
developer = ["tunnel:dial:db.internal:5432", "tunnel:dial:localhost:8000-8999"]

[peers.laptop]
fingerprint = "ed25519:0000000000000000000000000000000000000000000000000000000000000000"
scopes = ["@developer", "tunnel:dial:localhost:22 until 2126-12-31T18:00:00Z"]
addresses = ["laptop.example", "[2001:db8::1]:443"]

[peers.phone]
fingerprints = [
  "ed25519:1111111111111111111111111111111111111111111111111111111111111111",
  "ed25519:2222222222222222222222222222222222222222222222222222222222222222",
]
enabled = false

[[api_keys]]
prefix = "alk_q7dk"
hash = "sha256:3333333333333333333333333333333333333333333333333333333333333333"
scopes = ["call:invoke"]
description = "the build"
expires_at = 2126-12-31T18:00:00Z

[limits]
exempt = ["10.0.0.0/8"]
connections_per_peer = 256
drain = "10s"
penalties = { unknown_key = "5s", maximum = "1h" }

[tunnel]
flows_per_peer = 512

[log]
level = "debug"
`;

/** A key, where it stands. */
interface Entry {
  /** As it is written with all its tables: `peers.NAME.scopes`. */
  readonly key: string;
  readonly schema: JsonSchema;
  readonly required: boolean;
}

/** A table, and the keys that stand in it. */
interface Section {
  /** `[limits]`, `[peers.NAME]`, `[[api_keys]]`; `undefined`: before the first table. */
  readonly title: string | undefined;
  readonly description: string;
  readonly entries: readonly Entry[];
}

/** `docs/configuration.md`. */
export function configPage(): string {
  return [
    "# Configuration",
    "",
    "<!-- Made from the schema by `npm run config-page`; a change here is lost. -->",
    "",
    "`alknet.toml` in the node's folder; `alknet config path` says where that is. Every key may be left out, and",
    "one that is not known is an error. A running node reads the file again when it is saved, on SIGHUP and by",
    "`alknet config reload`: what follows applies at once, but for what is marked **needs a restart**. A right that an edit",
    "takes away ends what it allowed. A file with a mistake changes nothing; `alknet status` shows the mistake.",
    "",
    "- `alknet config check` says what is wrong with the file, with line, column and what was probably meant.",
    "- `alknet config show` prints what holds, and of each value whether it is from the file or a default.",
    "- `alknet config show --defaults` prints a file to begin with.",
    "- `alknet config schema` prints this page for editors, as JSON Schema: save it as `alknet.schema.json` beside",
    "  the file, and begin that with `#:schema ./alknet.schema.json`.",
    "",
    "```toml",
    EXAMPLE_CONFIG.trimEnd(),
    "```",
    "",
    'Durations are numbers with units from `d`, `h`, `m`, `s`, `ms`: `"1h30m"`. Where a list of texts is expected, one text',
    "is a list of one.",
    ...sections().flatMap(({ title, description, entries }) => [
      "",
      title === undefined ? "## Before the first table" : `## \`${title}\``,
      ...(description === "" ? [] : ["", description]),
      ...entries.flatMap(describeEntry),
    ]),
    "",
  ].join("\n");
}

/** A file in which every key has its default, or is a comment. It says what an empty one does. */
export function configTemplate(): string {
  const lines = sections().flatMap(({ title, description, entries }) => {
    // Tables of names there may be any number of, so none.
    const example = title !== undefined && /NAME|\[\[/.test(title);
    const head = title === undefined ? [] : ["", example ? `# ${title}` : title];
    const body = entries.flatMap(({ key, schema }) => {
      const name = key.split(".").at(-1)!;
      const value = schema.default ?? schema.examples?.[0];
      const comment = example || schema.default === undefined ? "# " : "";
      const written = value === undefined ? "…" : JSON.stringify(value);
      return [`# ${schema.description ?? ""}`, `${comment}${name} = ${written}`];
    });
    return [
      ...(description === "" ? [] : ["", `# ${description}`]),
      ...head.slice(description === "" ? 0 : 1),
      ...body,
    ];
  });
  return `${lines.join("\n").trim()}\n`;
}

function sections(): readonly Section[] {
  return sectionsOf(configJsonSchema(), [], undefined, "");
}

function sectionsOf(
  schema: JsonSchema,
  path: readonly string[],
  title: string | undefined,
  description: string,
): Section[] {
  const entries: Entry[] = [];
  const below: Section[] = [];
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    const at = [...path, name];
    const key = at.join(".");
    const about = inner.description ?? "";
    if (inner.properties !== undefined) {
      below.push(...sectionsOf(inner, at, `[${key}]`, about));
    } else if (inner.items?.properties !== undefined) {
      below.push(...sectionsOf(inner.items, at, `[[${key}]]`, about));
    } else if (inner.additionalProperties) {
      const value = inner.additionalProperties;
      if (value.properties !== undefined) {
        below.push(...sectionsOf(value, [...at, "NAME"], `[${key}.NAME]`, about));
      } else if (path.length === 0) {
        const entry = { key: `${key}.NAME`, schema: value, required: false };
        below.push({ title: `[${key}]`, description: about, entries: [entry] });
      } else entries.push({ key, schema: inner, required: false });
    } else {
      entries.push({ key, schema: inner, required: schema.required?.includes(name) === true });
    }
  }
  return [{ title, description, entries }, ...below];
}

function describeEntry({ key, schema, required }: Entry): string[] {
  const { description = "", default: value, examples } = schema;
  const facts = [
    formOf(schema),
    ...(required ? ["has to be there"] : []),
    ...(value === undefined ? [] : [`default \`${JSON.stringify(value)}\``]),
    ...(examples === undefined ? [] : [`such as \`${JSON.stringify(examples[0])}\``]),
    ...(RESTART_KEYS.includes(key) ? ["**needs a restart**"] : []),
  ];
  const name = key.split(".").at(-1)!;
  return ["", `### \`${name}\``, "", description, "", `${sentenceOf(facts)}.`];
}

/** What may stand there, in words. */
function formOf({
  type,
  anyOf,
  items,
  enum: values,
  minimum,
  maximum,
  maxLength,
  ...rest
}: JsonSchema): string {
  if (anyOf !== undefined) return "text, or a list of texts";
  if (values !== undefined) return `one of ${list(values)}`;
  switch (type) {
    case "array":
      return items?.enum === undefined ? "list of texts" : `list of ${list(items.enum)}`;
    case "integer":
      return `whole number, ${minimum} to ${maximum}`;
    case "boolean":
      return "`true` or `false`";
    case "object":
      return "table of lists of texts";
    case "string":
    case undefined:
      if (rest.format === "date-time") return "date and time with its zone";
      if (rest.pattern?.includes("ms") === true) return "duration";
      return maxLength === undefined ? "text" : `text of at most ${maxLength} characters`;
  }
  return type satisfies never;
}

function list(values: readonly string[]): string {
  return values.map((each) => `\`${JSON.stringify(each)}\``).join(", ");
}

function sentenceOf(facts: readonly string[]): string {
  const text = facts.join("; ");
  return `${text[0]!.toUpperCase()}${text.slice(1)}`;
}
