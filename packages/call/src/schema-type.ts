/**
 * From a JSON Schema to the text of a TypeScript type: what a value that fits the schema looks like.
 *
 * The schema may be a stranger's. Names and descriptions reach the text only as quoted strings and escaped
 * comments, references only inside the schema, and both depth and length have an end.
 *
 * Pure: no I/O.
 *
 * @module
 */

/** Levels of a schema that are looked at; below it everything is `unknown`. */
const MAX_DEPTH = 64;

/** Most characters that one schema becomes. */
export const MAX_TYPE_TEXT: number = 2 ** 20;

/** A type, and those that it refers to by name. */
export interface SchemaType {
  /** The type itself. */
  readonly type: string;
  /** `type NAME = …;` for each that is referred to, in the order of their first use. */
  readonly declarations: readonly string[];
}

type Schema = Readonly<Record<string, unknown>>;

/**
 * The type of what fits `schema` (JSON Schema 2020-12; draft 7's `definitions` too).
 *
 * What TypeScript cannot say (lengths, formats, patterns) is left out; what is not understood is `unknown`.
 *
 * @param name what types that it refers to are called after: an identifier.
 * @throws {RangeError} if the text is longer than {@linkcode MAX_TYPE_TEXT}.
 */
export function typeOfSchema(schema: unknown, name: string): SchemaType {
  const names = new Map<string, string>();
  const declarations: string[] = [];
  let length = 0;

  const type = typeOf(schema, 0);
  // A schema that refers to itself as a whole has a name then.
  const own = names.get("#");
  return { type: own ?? type, declarations };

  function typeOf(value: unknown, depth: number): string {
    const text = unchecked(value, depth);
    length += text.length;
    if (length > MAX_TYPE_TEXT * 4) {
      throw new RangeError(
        `cannot write the type of ${name}: expected at most ${MAX_TYPE_TEXT} characters`,
      );
    }
    return text;
  }

  function unchecked(value: unknown, depth: number): string {
    if (value === false) return "never";
    if (!isObject(value) || depth > MAX_DEPTH) return "unknown";
    const { $ref, enum: values, anyOf, oneOf, allOf } = value;
    if (typeof $ref === "string") return reference($ref, depth);
    if ("const" in value) return literal(value["const"]);
    if (Array.isArray(values)) return union(values.map(literal));
    const parts: string[] = [];
    for (const some of [anyOf, oneOf]) {
      if (Array.isArray(some)) parts.push(union(some.map((each) => typeOf(each, depth + 1))));
    }
    if (Array.isArray(allOf)) parts.push(...allOf.map((each) => typeOf(each, depth + 1)));
    const plain = plainType(value, depth);
    if (plain !== "unknown" || parts.length === 0) parts.push(plain);
    return intersection(parts);
  }

  function plainType(value: Schema, depth: number): string {
    const { type: kind } = value;
    const kinds =
      typeof kind === "string" ? [kind] : Array.isArray(kind) ? kind : guessedKinds(value);
    if (kinds.length === 0) return "not" in value && isEmpty(value["not"]) ? "never" : "unknown";
    const nullable = value["nullable"] === true ? ["null"] : [];
    return union([...kinds.map((each) => typeOfKind(each, value, depth)), ...nullable]);
  }

  function typeOfKind(kind: unknown, value: Schema, depth: number): string {
    switch (kind) {
      case "string":
      case "boolean":
      case "null":
        return kind;
      case "number":
      case "integer":
        return "number";
      case "array":
        return arrayType(value, depth);
      case "object":
        return objectType(value, depth);
      default:
        return "unknown";
    }
  }

  function arrayType(value: Schema, depth: number): string {
    const { prefixItems, items } = value;
    // Draft 7 says a tuple as a list of `items`, and what follows as `additionalItems`.
    const first = Array.isArray(prefixItems)
      ? prefixItems
      : Array.isArray(items)
        ? items
        : undefined;
    const rest = Array.isArray(items) ? value["additionalItems"] : items;
    if (first === undefined)
      return `${grouped(rest === undefined ? "unknown" : typeOf(rest, depth + 1))}[]`;
    const least = typeof value["minItems"] === "number" ? value["minItems"] : 0;
    const entries = first.map((each, index) => {
      const entry = typeOf(each, depth + 1);
      return index < least ? entry : `${grouped(entry)}?`;
    });
    // Zod says of a tuple only what its entries are: all of them are there.
    const whole =
      value["minItems"] === undefined ? first.map((each) => typeOf(each, depth + 1)) : entries;
    if (isObject(rest)) whole.push(`...${grouped(typeOf(rest, depth + 1))}[]`);
    return `[${whole.join(", ")}]`;
  }

  function objectType(value: Schema, depth: number): string {
    const properties = isObject(value["properties"]) ? value["properties"] : {};
    const required = new Set(Array.isArray(value["required"]) ? value["required"] : []);
    const members = Object.entries(properties).map(([key, each]) => {
      const type = typeOf(each, depth + 1);
      const optional = required.has(key) ? "" : "?";
      const maybe = optional === "" ? "" : " | undefined";
      return `${comment(each)}${propertyName(key)}${optional}: ${type}${maybe};`;
    });
    const { additionalProperties: others, propertyNames } = value;
    const open = others === true || isObject(others);
    if (members.length === 0) {
      if (others === false) return "Record<string, never>";
      const key = isObject(propertyNames) ? keyType(propertyNames, depth) : "string";
      const record = `Record<${key}, ${open ? typeOf(others, depth + 1) : "unknown"}>`;
      return key === "string" ? record : `Partial<${record}>`;
    }
    const known = braced(members);
    return open ? `${known} & Record<string, unknown>` : known;
  }

  function keyType(schema: Schema, depth: number): string {
    const type = typeOf(schema, depth + 1);
    return type.startsWith(`"`) ? type : "string";
  }

  function reference(pointer: string, depth: number): string {
    const known = names.get(pointer);
    if (known !== undefined) return known;
    const target = resolve(schema, pointer);
    if (target === undefined) return "unknown";
    const last = pointer.split("/").at(-1) ?? "";
    const label = pointer === "#" ? name : `${name}_${last.replaceAll(/[^A-Za-z0-9_]/g, "_")}`;
    const taken = new Set(names.values());
    let own = label;
    for (let count = 2; taken.has(own); count += 1) own = `${label}_${count}`;
    // Before its type is written, which may refer to it.
    names.set(pointer, own);
    const at = declarations.push("") - 1;
    declarations[at] = `type ${own} = ${typeOf(target, depth + 1)};`;
    return own;
  }
}

/** Members of an object type: in one line where that is short, else in one each. */
function braced(members: readonly string[]): string {
  const line = `{ ${members.join(" ")} }`;
  if (line.length <= MAX_LINE && !line.includes("\n")) return line;
  return `{\n${indented(members.join("\n"))}\n}`;
}

/** Each line two characters further in. Strings and comments have no ends of lines in them. */
export function indented(text: string): string {
  return text.replaceAll(/^/gm, "  ");
}

/** Characters of an object type that stays in one line. */
const MAX_LINE = 60;

/** A comment of its description on the line before something, or nothing. */
export function comment(schema: unknown): string {
  const text = isObject(schema) ? schema["description"] : undefined;
  if (typeof text !== "string" || text === "") return "";
  // Nothing in it may end the comment, or look like a line of its own.
  const safe = text.slice(0, 1_000).replaceAll(/\s+/g, " ").trim().replaceAll("*/", "*\\/");
  return `/** ${printable(safe)} */\n`;
}

/** As it is if it is an identifier, quoted if not. */
export function propertyName(key: string): string {
  // `__proto__: T` would be a property all the same, but readers trip over it.
  return /^[A-Za-z_$][\w$]*$/.test(key) && key !== "__proto__" ? key : quoted(key);
}

/** A string literal, of ASCII characters alone. */
export function quoted(text: string): string {
  return printable(JSON.stringify(text));
}

/** Controls and what is not ASCII as `\u…`: some of them end lines, or turn the direction of text. */
function printable(text: string): string {
  return text.replaceAll(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function literal(value: unknown): string {
  if (typeof value === "string") return quoted(value);
  // JSON has `1e999`, and TypeScript no type for it.
  if (value === Infinity || value === -Infinity) return "number";
  if (typeof value === "number" || typeof value === "boolean" || value === null)
    return String(value);
  return "unknown";
}

/** What a schema without a type is about. */
function guessedKinds(value: Schema): readonly string[] {
  if ("properties" in value || "additionalProperties" in value) return ["object"];
  return "items" in value || "prefixItems" in value ? ["array"] : [];
}

function union(types: readonly string[]): string {
  const all = [...new Set(types)];
  if (all.includes("unknown")) return "unknown";
  const some = all.filter((type) => type !== "never");
  return some.length === 0 ? "never" : some.join(" | ");
}

function intersection(types: readonly string[]): string {
  const all = [...new Set(types)].filter((type) => type !== "unknown");
  if (all.length === 0) return "unknown";
  return all.length === 1 ? all[0]! : all.map(grouped).join(" & ");
}

/** In parentheses, if what follows could take a part of it only. */
function grouped(type: string): string {
  return /^[\w$]+(\[\])*$|^"[^"]*"$/.test(type) ? type : `(${type})`;
}

/** RFC 6901, inside `schema` alone. */
function resolve(schema: unknown, pointer: string): unknown {
  if (pointer !== "#" && !pointer.startsWith("#/")) return undefined;
  let at: unknown = schema;
  for (const part of pointer.split("/").slice(1)) {
    const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (!isObject(at) || !Object.hasOwn(at, key)) return undefined;
    at = at[key];
  }
  return at;
}

function isObject(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEmpty(value: unknown): boolean {
  return isObject(value) && Object.keys(value).length === 0;
}
