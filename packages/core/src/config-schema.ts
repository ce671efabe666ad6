/**
 * The schema of `alknet.toml`: every key of it, with its form, default and description.
 *
 * It gives the validation, the JSON Schema for editors, the page of the documentation and, by `z.infer`, the
 * type of the document. What programs use is `Config`, in config.ts, which knows nothing of this file: zod takes
 * 30 to 100 ms to import, and where there is no configuration nothing of it is needed.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import { dirname, resolve } from "node:path";
import * as z from "zod/mini";
import { type ApiKeyEntry, parseTokenHash, parseTokenPrefix, TOKEN_PREFIX } from "./api-key.ts";
import {
  type Config,
  CONGESTION,
  DEFAULT_CALL,
  DEFAULT_HANDLERS,
  DEFAULT_LISTEN,
  DEFAULT_LOCK_AFTER,
  DEFAULT_LOG_LEVEL,
  DEFAULT_QUIC,
  DEFAULT_SSH,
  DEFAULT_SSH_PORT,
  DEFAULT_TIMES,
  DEFAULT_TUNNEL,
  DEFAULT_VAULT,
  HANDLERS,
} from "./config.ts";
import { DURATION_PATTERN, formatDuration, parseDuration } from "./duration.ts";
import { parseFingerprint } from "./fingerprint.ts";
import { parseHostPort } from "./host.ts";
import { parseBlock } from "./ip-address.ts";
import { DEFAULT_CAPS, DEFAULT_PENALTIES } from "./limits.ts";
import { LOCK_AFTER_PATTERN, LOCK_AFTER_RANGE, parseLockAfter } from "./lock-after.ts";
import { LOG_LEVELS } from "./log.ts";
import { parseLoginName, USERS } from "./login-name.ts";
import { DEFAULT_PORT, isPeerName, MAX_PER_PEER, type PeerEntry } from "./peers.ts";
import { parseScope } from "./scope.ts";
import { isRoleName, NO_ROLES, parseScopeEntry } from "./scope-entry.ts";
import { staticIdentities } from "./static-identities.ts";
import type { TomlPath } from "./toml-positions.ts";

/** A JSON Schema, of the part of draft 2020-12 that {@linkcode configJsonSchema} uses. */
export interface JsonSchema {
  readonly $schema?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: "object" | "array" | "string" | "integer" | "boolean";
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: false | JsonSchema;
  readonly propertyNames?: JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly format?: string;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
}

/** What zod found, in terms that do not depend on it. */
export type SchemaIssue =
  | { readonly kind: "unknown key"; readonly path: TomlPath }
  | { readonly kind: "missing"; readonly path: TomlPath }
  /** Of another form than the schema there says. */
  | { readonly kind: "form"; readonly path: TomlPath }
  /** One of our own parsers refused it, and says why. */
  | { readonly kind: "text"; readonly path: TomlPath; readonly message: string };

type Described = {
  readonly description: string;
  readonly examples?: readonly unknown[];
  readonly pattern?: string;
};

/** Text that `parse` accepts. It is parsed again where it is used; here only whether it can be. */
function text(described: Described, parse?: (text: string) => unknown) {
  const schema = z.string().check(z.meta({ ...described }));
  return parse === undefined ? schema : schema.check(parses(parse));
}

function parses(parse: (text: string) => unknown) {
  return (context: { readonly value: string; readonly issues: unknown[] }): void => {
    try {
      parse(context.value);
    } catch (error) {
      const { message } = error as Error;
      context.issues.push({ code: "custom", message, input: context.value });
    }
  };
}

/** A list, or its one entry by itself. */
function oneOrMore<Item extends z.ZodMiniType>(item: Item, described: Described, most: number) {
  return z.union([item, z.array(item).check(z.maxLength(most))]).check(z.meta({ ...described }));
}

function flag(description: string, value: boolean) {
  return z._default(z.boolean(), value).check(z.meta({ description }));
}

function count(description: string, value: number, most: number) {
  return z._default(z.int().check(z.gte(1), z.lte(most)), value).check(z.meta({ description }));
}

/** A duration, default and bounds in milliseconds. */
function duration(description: string, value: number, [least, most]: readonly [number, number]) {
  const range = `${formatDuration(least)} to ${formatDuration(most)}`;
  const within = (written: string): void => {
    const milliseconds = parseDuration(written);
    if (milliseconds >= least && milliseconds <= most) return;
    throw new RangeError(`cannot use ${JSON.stringify(written)}: expected ${range}`);
  };
  return z
    ._default(
      z.string().check(parses(within), z.meta({ pattern: DURATION_PATTERN })),
      formatDuration(value),
    )
    .check(z.meta({ description: `${description} ${sentence(range)}` }));
}

function sentence(words: string): string {
  return `${words[0]!.toUpperCase()}${words.slice(1)}.`;
}

const NOT_A_TABLE = "expected a table";

/** A date is an object too, and zod would take it for an empty table. */
const notDate = z.custom<object>((value) => !(value instanceof Date), NOT_A_TABLE);

function table<Shape extends z.core.$ZodLooseShape>(description: string, shape: Shape) {
  return z.pipe(notDate, z.strictObject(shape)).check(z.meta({ description }));
}

/** A table that need not be there: its keys all have defaults, or none. */
function section<Shape extends z.core.$ZodLooseShape>(description: string, shape: Shape) {
  const whole = z.strictObject(shape);
  return z
    .prefault(z.pipe(notDate, whole), {} as z.input<typeof whole> & object)
    .check(z.meta({ description }));
}

function named<Value extends z.ZodMiniType>(
  description: string,
  name: { readonly pattern: string; readonly parse: (text: string) => unknown },
  value: Value,
) {
  const key = z.string().check(z.meta({ pattern: name.pattern }), parses(name.parse));
  return z.prefault(z.record(key, value), {}).check(z.meta({ description }));
}

const NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
const NAME_EXPECTED = 'expected 1 to 64 letters, digits, ".", "_", "-", a letter or digit first';

function parseNodeName(name: string): void {
  if (isPeerName(name)) return;
  throw new SyntaxError(`cannot use name ${quoted(name)}: ${NAME_EXPECTED}`);
}

function parsePeerName(name: string): void {
  if (!isPeerName(name)) throw new SyntaxError(`cannot use peer ${quoted(name)}: ${NAME_EXPECTED}`);
  if (name.toLowerCase() === "owner") {
    throw new SyntaxError(`cannot use peer ${quoted(name)}: the name is that of this node's owner`);
  }
  if (name.toLowerCase().startsWith(TOKEN_PREFIX)) {
    const why = `names that begin with "${TOKEN_PREFIX}" are those of tokens`;
    throw new SyntaxError(`cannot use peer ${quoted(name)}: ${why}`);
  }
}

function parseRoleName(name: string): void {
  if (isRoleName(name)) return;
  throw new SyntaxError(`cannot use role ${quoted(name)}: ${NAME_EXPECTED}`);
}

function parsePath(path: string): void {
  if (path !== "" && !path.includes("\0")) return;
  throw new SyntaxError(`cannot use path ${quoted(path)}: expected the path of a file`);
}

function parseEnvPattern(pattern: string): void {
  if (/^[A-Za-z_*][A-Za-z0-9_*]{0,127}$/.test(pattern)) return;
  throw new SyntaxError(
    `cannot use variable ${quoted(pattern)}: expected a name such as "LANG", or "LC_*"`,
  );
}

/** All but its password is for who connects to judge: what can be said here is whether it is the kind of thing. */
function parseStoreUrl(url: string): void {
  if (!/^postgres(ql)?:\/\/[^/]/.test(url) && !/^postgres(ql)?:\/\/\/[^/]/.test(url)) {
    throw new SyntaxError("cannot use url: expected postgres://user@host:port/database");
  }
  // Whoever may read this file, or is shown it, need not know the password.
  if (/^[^/]*\/\/[^/?]*:[^/?]*@/.test(url) || /[?&]password=/i.test(url)) {
    throw new SyntaxError(
      'cannot use a url with a password: expected it in a file, named by password_file = "…"',
    );
  }
}

/** As that of the store: what can be said here is whether it is the kind of thing. */
function parseProxyUrl(url: string): void {
  if (!/^(socks5h?|http):\/\/[^/]/i.test(url)) {
    throw new SyntaxError("cannot use proxy: expected socks5://host:port or http://host:port");
  }
  if (/^[^/]*\/\/[^/?]*:[^/?]*@/.test(url)) {
    throw new SyntaxError(
      'cannot use a proxy with a password: expected it in a file, named by proxy_password_file = "…"',
    );
  }
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}

const FINGERPRINT_PATTERN = "^(ed25519|SHA256):[0-9a-f]{64}$";
const HASH_PATTERN = "^sha256:[0-9a-f]{64}$";

const fingerprint = text(
  {
    description: "Key of the peer, as `alknet id` prints it over there.",
    pattern: FINGERPRINT_PATTERN,
  },
  parseFingerprint,
);

const scopes = oneOrMore(
  text({ description: "A scope or `@role`, for ever or `until` a time in UTC." }, parseScopeEntry),
  {
    description:
      "What it may do: scopes (`service:action[:resource]`) and roles (`@NAME`), each for ever or with ` until 2026-12-31T18:00:00Z` after it. Without any it is known, and may do nothing.",
    examples: [["tunnel:dial:localhost:5432", "@developer until 2026-12-31T18:00:00Z"]],
  },
  MAX_PER_PEER,
);

const peer = table("A peer: its keys, and what whoever holds one may do.", {
  fingerprint: z.optional(fingerprint),
  fingerprints: z.optional(
    z.array(fingerprint).check(
      z.maxLength(MAX_PER_PEER),
      z.meta({
        description: "Keys of the peer, any of which is enough; in the place of `fingerprint`.",
      }),
    ),
  ),
  scopes: z.optional(scopes),
  enabled: flag("`false`: the peer is known, and let in by nothing.", true),
  addresses: z.optional(
    oneOrMore(
      text({ description: "`host`, `host:port` or `[address]:port`." }, (address) =>
        parseHostPort(address, DEFAULT_PORT),
      ),
      {
        description: `Where to dial it, as \`host\`, \`host:port\` or \`[address]:port\`. The port is ${DEFAULT_PORT} unless it is given.`,
        examples: [["laptop.example", "[2001:db8::1]:443"]],
      },
      MAX_PER_PEER,
    ),
  ),
  display_name: z.optional(
    z.string().check(z.maxLength(128), z.meta({ description: "What people call it." })),
  ),
  user: z.optional(
    oneOrMore(
      text({ description: "A login name of this machine." }, parseLoginName),
      {
        description:
          "Account that it logs in to by SSH, the first one unless it asks for another. Needed where the node runs as root, and never root; elsewhere only the node's own account can be given.",
        examples: [["alice", "deploy"]],
      },
      MAX_PER_PEER,
    ),
  ),
  token_hash: z.optional(
    text(
      {
        description:
          "Hash of a bearer token that is as good as its key, where there is no client certificate: `sha256:` and 64 hex digits.",
        pattern: HASH_PATTERN,
      },
      parseTokenHash,
    ),
  ),
  resources: z.optional(
    z
      .record(z.string(), oneOrMore(z.string(), { description: "Names." }, MAX_PER_PEER))
      .check(z.meta({ description: "Named lists that services read; what they mean is theirs." })),
  ),
});

/** RFC 3339 in UTC or with an offset; or TOML's own date-time with one. */
const moment = z
  .custom<string | Date>(
    (value) => isMoment(value),
    "expected a time with its zone: 2026-12-31T18:00:00Z",
  )
  .check(
    z.meta({
      description: "From when on it is no good, with its zone. Without it: never.",
      type: "string",
      format: "date-time",
      examples: ["2026-12-31T18:00:00Z"],
    }),
  );

function isMoment(value: unknown): boolean {
  return momentOf(value as string | Date) !== undefined;
}

/** Seconds since 1970 of what `expires_at` accepts; `undefined` for all else. */
function momentOf(value: string | Date): number | undefined {
  // What TOML calls local has no zone, and prints none.
  const written = value instanceof Date ? isoOf(value) : value;
  if (typeof written !== "string") return undefined;
  const shape =
    /^[0-9]{4}-[0-9]{2}-([0-9]{2})[Tt ][0-9:]{8}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$/;
  const day = shape.exec(written)?.[1];
  if (day === undefined) return undefined;
  const time = Date.parse(written.replace(" ", "T").toUpperCase());
  // 2026-02-30 would be a day in March.
  const midnight = Date.parse(`${written.slice(0, 10)}T00:00:00Z`);
  if (!(time >= 0) || new Date(midnight).getUTCDate() !== Number(day)) return undefined;
  return Math.floor(time / 1_000);
}

function isoOf(date: Date): string | undefined {
  try {
    return date.toISOString();
  } catch {
    // A date that is none.
    return undefined;
  }
}

const apiKey = table("A token that is an identity by itself, for programs that hold no key.", {
  prefix: text(
    {
      description: "First 8 characters of the token; they name the key, and are no secret.",
      pattern: "^alk_[A-Za-z0-9_-]{4}$",
    },
    parseTokenPrefix,
  ),
  hash: text(
    { description: "`sha256:` and the SHA-256 of the whole token in hex.", pattern: HASH_PATTERN },
    parseTokenHash,
  ),
  scopes: z.optional(scopes),
  description: z.optional(
    z.string().check(z.maxLength(256), z.meta({ description: "What it is for." })),
  ),
  expires_at: z.optional(moment),
});

const caps = DEFAULT_CAPS;
const PENALTY_RANGE = [0, 86_400_000] as const;

const limits = section(
  "Who may hold how much of this node. A source is an IPv4 address or an IPv6 /64; a stranger is who has no key that is known.",
  {
    exempt: z
      ._default(
        z
          .array(text({ description: "`10.0.0.0/8`, `2001:db8::/32`" }, parseBlock))
          .check(z.maxLength(4_096)),
        [],
      )
      .check(
        z.meta({
          description: "Address blocks that no limit per source and no penalty holds for.",
          examples: [["10.0.0.0/8"]],
        }),
      ),
    connections: count(
      "Connections at once. An eighth is kept for peers.",
      caps.connections,
      1_000_000,
    ),
    connections_per_peer: count("Connections of one peer.", caps.connectionsPerPeer, 1_000_000),
    strangers_per_source: count(
      "Connections of one source on `alknet/*`, without a known key.",
      caps.strangersPerBlock,
      1_000_000,
    ),
    web_per_source: count(
      "Connections of one source on ALPNs that ask for no key, such as `h2`.",
      caps.webPerBlock,
      1_000_000,
    ),
    handshakes: count("Handshakes under way at once.", caps.pending, 1_000_000),
    handshakes_per_source: count(
      "Handshakes of one source. When full, its oldest makes room for the newcomer.",
      caps.pendingPerBlock,
      1_000_000,
    ),
    handshakes_per_known_source: count(
      "The same for a source that has a connection of a peer.",
      caps.pendingPerTrustedBlock,
      1_000_000,
    ),
    retry_above: count(
      "With so many handshakes under way, QUIC sources have to prove their address first.",
      caps.retry,
      1_000_000,
    ),
    sources: count(
      "Sources that are remembered. Must exceed `handshakes` and `connections` together.",
      caps.blocks,
      16_777_216,
    ),
    drain: duration(
      "How long a node that stops lets what goes on finish.",
      DEFAULT_TIMES.drain,
      [0, 600_000],
    ),
    handshake_timeout: duration(
      "For a whole handshake.",
      DEFAULT_TIMES.handshakeTimeout,
      [100, 600_000],
    ),
    idle_timeout: duration(
      "How long a QUIC connection may be without a stream.",
      DEFAULT_TIMES.idleTimeout,
      [1_000, 86_400_000],
    ),
    penalties: section(
      "How long a source that misbehaves is kept out. Penalties add up; each mistake adds its own.",
      {
        auth: duration(
          "A proof of a key that does not hold.",
          DEFAULT_PENALTIES.auth,
          PENALTY_RANGE,
        ),
        unknown_key: duration(
          "A key that nobody knows, where one is needed.",
          DEFAULT_PENALTIES["unknown-key"],
          PENALTY_RANGE,
        ),
        timeout: duration(
          "A handshake that is not done in time.",
          DEFAULT_PENALTIES.timeout,
          PENALTY_RANGE,
        ),
        malformed: duration(
          "A handshake that breaks the protocol.",
          DEFAULT_PENALTIES.malformed,
          PENALTY_RANGE,
        ),
        minimum: duration(
          "So much has to add up before anything happens.",
          DEFAULT_PENALTIES.minimum,
          PENALTY_RANGE,
        ),
        maximum: duration("They never add up to more.", DEFAULT_PENALTIES.maximum, PENALTY_RANGE),
      },
    ),
  },
);

const quic = section("How this node sends over QUIC, its commands included.", {
  congestion: z._default(z.enum([...CONGESTION]), DEFAULT_QUIC.congestion).check(
    z.meta({
      description:
        "How the rate of a connection is found: `bbr` by what the path delivers, whatever is lost on the way; `cubic` and `newreno` by losses, as most TCP does.",
    }),
  ),
});

const call = section("Who may call operations of this node; which of them is in their scopes.", {
  strangers: flag(
    "`true`: so may who proves a key that is not known, what asks for no right.",
    DEFAULT_CALL.strangers,
  ),
});

const tunnel = section(
  "How this node connects and listens for peers, in `alknet/tunnel` and in SSH; where to is in their scopes.",
  {
    flows_per_peer: count(
      "Flows of one peer at once, over all its connections.",
      DEFAULT_TUNNEL.flowsPerPeer,
      1_000_000,
    ),
    opening_per_peer: count(
      "How many of these may be on their way to a target at a time; the others wait.",
      DEFAULT_TUNNEL.openingPerPeer,
      65_536,
    ),
    deadline: duration(
      "Time for the request to come, and again for the target to answer.",
      DEFAULT_TUNNEL.deadline,
      [100, 600_000],
    ),
    listeners_per_peer: count(
      "Listeners that one peer may have this node open at once.",
      DEFAULT_TUNNEL.listenersPerPeer,
      65_536,
    ),
    proxy: z.optional(
      text(
        {
          description:
            "Proxy that all TCP which peers ask for goes through, and never around it: `socks5://[user@]host[:port]` or `http://…`. It resolves names, so that peers need a scope that names the host.",
          examples: ["socks5://alknet@proxy.example:1080"],
        },
        parseProxyUrl,
      ),
    ),
    proxy_password_file: z.optional(
      text(
        {
          description:
            "File with the password for `proxy`, and nothing else, from this file's folder on if it does not begin with `/`.",
          examples: ["/etc/alknet/proxy-password"],
        },
        parsePath,
      ),
    ),
  },
).check(({ value, issues }) => {
  if (value.proxy !== undefined || value.proxy_password_file === undefined) return;
  const message = "cannot use proxy_password_file: expected proxy beside it";
  issues.push({ code: "custom", message, input: value, path: ["proxy_password_file"] });
});

const ssh = section("SSH: its own port, if it is to have one, and what is allowed to all.", {
  listen: z.optional(
    oneOrMore(
      text({ description: "`address:port`" }, (it) => parseHostPort(it, DEFAULT_SSH_PORT)),
      {
        description: `Where to serve SSH to clients that do not go through Alknet, by their SSH keys: \`ssh -p ${DEFAULT_SSH_PORT}\`. Without it: nowhere, and peers come by Alknet's port alone. The port is ${DEFAULT_SSH_PORT} unless it is given.`,
        examples: ["127.0.0.1:2222", ["127.0.0.1:2222", "[::1]:2222"]],
      },
      64,
    ),
  ),
  host_key: z.optional(
    text(
      {
        description:
          "File with the host key, Ed25519 as OpenSSH keeps it and not encrypted, from this file's folder on if it does not begin with `/`. Without it: the vault's if the node's identity is, else `ssh_host_ed25519_key` in the data folder.",
        examples: ["/etc/ssh/ssh_host_ed25519_key"],
      },
      parsePath,
    ),
  ),
  accept_env: z
    ._default(
      z.array(text({ description: "`LANG`, `LC_*`" }, parseEnvPattern)).check(z.maxLength(256)),
      [...DEFAULT_SSH.acceptEnv],
    )
    .check(z.meta({ description: "Variables that a client may set." })),
  record: z.optional(
    text(
      {
        description:
          "Folder for recordings of all sessions on a terminal (asciicast v2), from this file's folder on if it does not begin with `/`. Without it: nothing is recorded.",
        examples: ["/var/lib/alknet/sessions"],
      },
      parsePath,
    ),
  ),
  attempts: count("Tries to log in on one connection.", DEFAULT_SSH.limits.attempts, 1_000),
  auth_deadline: duration(
    "Time until somebody has to be logged in.",
    DEFAULT_SSH.limits.authDeadline,
    [100, 600_000],
  ),
  channels: count("Channels of one connection at once.", DEFAULT_SSH.limits.channels, 65_536),
  sessions_per_peer: count(
    "Programs of one peer at once, over all its connections.",
    DEFAULT_SSH.limits.sessionsPerPeer,
    65_536,
  ),
});

const vault = section("The vault, if there is one: when it locks, and what opens it.", {
  lock_after: z
    ._default(
      z.string().check(parses(parseLockAfter), z.meta({ pattern: LOCK_AFTER_PATTERN })),
      formatDuration(DEFAULT_LOCK_AFTER),
    )
    .check(
      z.meta({
        description: `Time without use after which the vault locks itself. ${sentence(LOCK_AFTER_RANGE)}`,
      }),
    ),
  keyring: flag(
    "`true`: a key in the system's keyring opens the vault: `alknet vault unlock-key add --keyring`.",
    DEFAULT_VAULT.keyring,
  ),
  key_file: z.optional(
    text(
      {
        description:
          "File with a key that opens the vault, from this file's folder on if it does not begin with `/`: `alknet vault unlock-key add --file FILE` makes it.",
        examples: ["/etc/alknet/vault.key"],
      },
      parsePath,
    ),
  ),
}).check(({ value, issues }) => {
  if (!value.keyring || value.key_file === undefined) return;
  const message = "cannot use key_file beside keyring: expected one of them";
  issues.push({ code: "custom", message, input: value, path: ["key_file"] });
});

const ROLE_EXAMPLES = [["tunnel:dial:db.internal:5432", "git:read"]];

const document = z.pipe(
  notDate,
  z.strictObject({
    name: z.optional(
      text(
        { description: "What this node calls itself, in its tickets.", pattern: NAME_PATTERN },
        parseNodeName,
      ),
    ),
    listen: z
      ._default(
        z.union([
          text({ description: "`address:port`" }, (address) =>
            parseHostPort(address, DEFAULT_PORT),
          ),
          z
            .array(text({ description: "`address:port`" }, (it) => parseHostPort(it, DEFAULT_PORT)))
            .check(z.minLength(1), z.maxLength(64)),
        ]),
        [...DEFAULT_LISTEN],
      )
      .check(
        z.meta({
          description: `Where to listen, UDP and TCP alike. \`[::]\` is every address, of IPv4 too. The port is ${DEFAULT_PORT} unless it is given; 0 is any that is free.`,
          examples: [["[::]:7433", "[::]:443"]],
        }),
      ),
    identity: z.optional(
      text(
        {
          description:
            "File with this node's key, from this file's folder on if it does not begin with `/`. Without it: the key of the vault if there is one, else `identity.key` in the data folder.",
          examples: ["/etc/alknet/identity.key"],
        },
        parsePath,
      ),
    ),
    handlers: z
      ._default(z.array(z.enum(HANDLERS)).check(z.maxLength(64)), [...DEFAULT_HANDLERS])
      .check(z.meta({ description: "Services that this node offers." })),
    limits,
    quic,
    roles: named(
      "Names for lists of scopes: `NAME = [scopes]`. A peer or token has them by `@NAME`.",
      { pattern: NAME_PATTERN, parse: parseRoleName },
      oneOrMore(
        text({ description: "A scope." }, parseScope),
        {
          description: "Scopes of the role; no roles, and for ever.",
          examples: ROLE_EXAMPLES,
        },
        MAX_PER_PEER,
      ),
    ),
    peers: named(
      "Who is let in: a table `[peers.NAME]` each.",
      { pattern: NAME_PATTERN, parse: parsePeerName },
      peer,
    ),
    api_keys: z
      .prefault(z.array(apiKey).check(z.maxLength(100_000)), [])
      .check(z.meta({ description: "Tokens for programs: a table `[[api_keys]]` each." })),
    call,
    tunnel,
    ssh,
    log: section("What is logged.", {
      level: z
        ._default(z.enum([...LOG_LEVELS]), DEFAULT_LOG_LEVEL)
        .check(z.meta({ description: "The least that is logged." })),
    }),
    store: section("Where peers and tokens are kept that are added while the node runs.", {
      path: z.optional(
        text(
          {
            description:
              "The database, from this file's folder on if it does not begin with `/`. Without it: `alknet.db` in the data folder.",
            examples: ["/var/lib/alknet/alknet.db"],
          },
          parsePath,
        ),
      ),
      url: z.optional(
        text(
          {
            description:
              "A PostgreSQL server in place of a file, for several nodes that share one store. Another machine has to speak TLS, with a certificate for its name.",
            examples: ["postgres://alknet@db.example/alknet"],
          },
          parseStoreUrl,
        ),
      ),
      password_file: z.optional(
        text(
          {
            description:
              "File with the password for `url`, and nothing else, from this file's folder on if it does not begin with `/`. It is read for each connection.",
            examples: ["/etc/alknet/store-password"],
          },
          parsePath,
        ),
      ),
    }).check(({ value: { path, url, password_file: passwordFile }, issues, value }) => {
      const clash = (key: string, message: string): void =>
        void issues.push({ code: "custom", message, input: value, path: [key] });
      if (path !== undefined && url !== undefined) {
        clash("url", "cannot use url beside path: expected a server, or a file");
      }
      if (url === undefined && passwordFile !== undefined) {
        clash("password_file", "cannot use password_file: expected url beside it");
      }
    }),
    vault,
  }),
);

/** The file as it is written, defaults filled in. Not exported: its type cannot be written down but by the schema. */
type ConfigDocument = z.output<typeof document>;

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
  const { success, data, error } = z.safeParse(document, root);
  if (success) return { outcome: { complete: data, config: (path) => toConfig(data, path) } };
  return { outcome: undefined, issues: error.issues.flatMap((it) => issuesOf(it, root, [])) };
}

function toConfig(document: ConfigDocument, path: string): Config {
  const { name, listen, identity, handlers, limits, quic, call, tunnel, ssh } = document;
  const { log, store, vault } = document;
  const { penalties } = limits;
  const roles = new Map(
    Object.entries(document.roles).map(([role, scopes]) => [role, listOf(scopes)]),
  );
  const fileAt = (file: string | undefined): string | undefined =>
    file === undefined ? undefined : resolve(dirname(path), file);
  // What makes identities of them has the last word on whether they hold together.
  using identities = staticIdentities(Object.entries(document.peers).map(toPeer), {
    apiKeys: document.api_keys.map(toApiKey),
    roles,
  });
  return Object.freeze({
    path,
    name,
    listen: Object.freeze(listOf(listen).map((text) => parseHostPort(text, DEFAULT_PORT))),
    identity: fileAt(identity),
    handlers: Object.freeze([...new Set(handlers)]),
    limits: Object.freeze({
      exempt: Object.freeze(limits.exempt),
      caps: Object.freeze({
        pending: limits.handshakes,
        pendingPerBlock: limits.handshakes_per_source,
        pendingPerTrustedBlock: limits.handshakes_per_known_source,
        retry: limits.retry_above,
        connections: limits.connections,
        connectionsPerPeer: limits.connections_per_peer,
        strangersPerBlock: limits.strangers_per_source,
        webPerBlock: limits.web_per_source,
        blocks: limits.sources,
      }),
      penalties: Object.freeze({
        auth: parseDuration(penalties.auth),
        "unknown-key": parseDuration(penalties.unknown_key),
        timeout: parseDuration(penalties.timeout),
        malformed: parseDuration(penalties.malformed),
        minimum: parseDuration(penalties.minimum),
        maximum: parseDuration(penalties.maximum),
      }),
      drain: parseDuration(limits.drain),
      handshakeTimeout: parseDuration(limits.handshake_timeout),
      idleTimeout: parseDuration(limits.idle_timeout),
    }),
    quic: Object.freeze({ congestion: quic.congestion }),
    roles: roles.size === 0 ? NO_ROLES : roles,
    peers: identities.peers,
    apiKeys: Object.freeze(identities.apiKeys),
    call: Object.freeze({ strangers: call.strangers }),
    tunnel: Object.freeze({
      flowsPerPeer: tunnel.flows_per_peer,
      openingPerPeer: tunnel.opening_per_peer,
      deadline: parseDuration(tunnel.deadline),
      listenersPerPeer: tunnel.listeners_per_peer,
      proxy: tunnel.proxy,
      proxyPasswordFile: fileAt(tunnel.proxy_password_file),
    }),
    ssh: Object.freeze({
      listen: Object.freeze(
        listOf(ssh.listen ?? []).map((text) => parseHostPort(text, DEFAULT_SSH_PORT)),
      ),
      hostKey: fileAt(ssh.host_key),
      acceptEnv: Object.freeze(ssh.accept_env),
      record: fileAt(ssh.record),
      limits: Object.freeze({
        attempts: ssh.attempts,
        authDeadline: parseDuration(ssh.auth_deadline),
        channels: ssh.channels,
        sessionsPerPeer: ssh.sessions_per_peer,
      }),
    }),
    log: Object.freeze({ level: log.level }),
    store: Object.freeze({
      path: fileAt(store.path),
      url: store.url,
      passwordFile: fileAt(store.password_file),
    }),
    vault: Object.freeze({
      lockAfter: parseLockAfter(vault.lock_after),
      keyring: vault.keyring,
      keyFile: fileAt(vault.key_file),
    }),
  });
}

function toPeer([peerId, table]: [string, ConfigDocument["peers"][string]]): PeerEntry {
  const { fingerprint, fingerprints = [], scopes = [], addresses = [], resources = {} } = table;
  const { display_name: displayName, token_hash: tokenHash, user } = table;
  return {
    peerId,
    fingerprints: fingerprint === undefined ? fingerprints : [fingerprint],
    addresses: listOf(addresses),
    scopes: listOf(scopes),
    enabled: table.enabled,
    resources: {
      ...Object.fromEntries(
        Object.entries(resources).map(([name, values]) => [name, listOf(values)]),
      ),
      ...(user === undefined ? {} : { [USERS]: listOf(user) }),
    },
    ...(displayName === undefined ? {} : { displayName }),
    ...(tokenHash === undefined ? {} : { tokenHash }),
  };
}

function toApiKey(table: ConfigDocument["api_keys"][number]): ApiKeyEntry {
  const { prefix, hash, scopes = [], description, expires_at: end } = table;
  return {
    prefix,
    hash,
    scopes: listOf(scopes),
    ...(description === undefined ? {} : { description }),
    ...(end === undefined ? {} : { expiresAt: momentOf(end) }),
  };
}

function listOf(value: string | readonly string[]): readonly string[] {
  return typeof value === "string" ? [value] : value;
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

let jsonSchema: JsonSchema | undefined;

/** The schema as JSON Schema, draft 2020-12, with descriptions and defaults. */
export function configJsonSchema(): JsonSchema {
  return (jsonSchema ??= {
    title: "alknet.toml",
    ...(z.toJSONSchema(document, {
      target: "draft-2020-12",
      unrepresentable: "any",
      // Of the output: the way in leads through checks that JSON Schema cannot express.
      io: "output",
      override: ({ zodSchema, jsonSchema: made }) => {
        const { def } = zodSchema._zod;
        if (def.type !== "object") return;
        // There is a default for all others; `output` means the file after they were filled in.
        const { shape } = def as z.core.$ZodObjectDef;
        const required = Object.keys(shape).filter((key) => shape[key]!._zod.optin === undefined);
        if (required.length > 0) made.required = required;
        else delete made.required;
      },
    }) as JsonSchema),
  });
}

/** What the schema says of the place at `path`; `undefined` where nothing may stand. */
export function schemaAt(path: TomlPath): JsonSchema | undefined {
  let schema: JsonSchema | undefined = configJsonSchema();
  for (const key of path) {
    if (schema === undefined) return undefined;
    const list: JsonSchema | undefined =
      schema.items ?? schema.anyOf?.find(({ items }) => items)?.items;
    if (typeof key === "number") schema = list;
    else if (schema.properties !== undefined && Object.hasOwn(schema.properties, key)) {
      schema = schema.properties[key];
    } else schema = schema.additionalProperties || undefined;
  }
  return schema;
}
