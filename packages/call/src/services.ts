/**
 * `services/…`: what a node answers about its operations. Nobody sees more than they could call.
 *
 * @module
 */

import type { StandardSchemaV1 } from "@standard-schema/spec";
import * as z from "zod";
import { type CompiledAccess, mayCall, type Subject } from "./access-control.ts";
import { remoteError } from "./call-error.ts";
import { inputJsonSchema, type JsonSchema, outputJsonSchema } from "./json-schema.ts";
import {
  type Operation,
  operation,
  type OperationContext,
  type OperationType,
} from "./operation.ts";
import type { OwnershipProvider } from "./ownership.ts";
import type { PeerLayers } from "./peer-layers.ts";
import { layerOf, type OperationLayer, type Registration } from "./registry.ts";

/** An operation in a list. */
export interface ListedOperation {
  name: string;
  /** The first segment of the name. */
  namespace: string;
  op_type: OperationType;
}

/** What `services/schema` answers. */
export interface DescribedOperation extends ListedOperation {
  description?: string | undefined;
  visibility: "external" | "internal";
  input_schema: JsonSchema;
  output_schema: JsonSchema;
  error_schemas: DescribedError[];
  access_control: {
    required_scopes: string[];
    required_scopes_any: string[] | null;
    resource_type: string | null;
    resource_action: string | null;
  };
  resource_id_path: string | null;
  /** Ours: whether a subscription can be resumed. */
  resumable: boolean;
}

export interface DescribedError {
  code: string;
  description: string;
  schema: JsonSchema;
  http_status: number | null;
}

/** What `services/list-peers` answers; the node's own operations are those of `local`. */
export interface ListedPeers {
  peers: { peer_id: string; operations: ListedOperation[] }[];
}

/** The operations of every node, with their types: `client<ServiceOperations>(session).services.list()`. */
export type ServiceOperations = readonly [
  Service<"services/list", object, { operations: ListedOperation[] }>,
  Service<"services/schema", { name: string }, DescribedOperation>,
  Service<"services/list-peers", object, ListedPeers>,
];

type Service<Name extends string, Input, Output> = Operation<
  Name,
  "query",
  StandardSchemaV1<Input>,
  StandardSchemaV1<Output>,
  Record<never, never>
>;

/** Longest schema that is taken of another node, in characters of JSON. */
export const MAX_SCHEMA: number = 65_536;

/** Most errors of an operation that are taken of another node. */
const MAX_ERRORS = 64;

/** Most operations of a node that are read from its list. */
export const MAX_LISTED: number = 10_000;

const TYPES = ["query", "mutation", "subscription"] as const;
const text = z.string().max(4_096);
const listed = z.object({ name: z.string().max(256), namespace: text, op_type: z.enum(TYPES) });
const list = z.object({ operations: z.array(listed).max(MAX_LISTED) });
const peerList = z.object({ peers: z.array(list.extend({ peer_id: z.string().max(256) })) });
const json = z.record(z.string(), z.unknown());
/** A schema of another node: kept for as long as that is connected, and shown to others. */
const foreignJson = json.refine(isOfSize, `expected a schema of at most ${MAX_SCHEMA} characters`);
const describedError = z.object({
  code: z.string().max(64),
  description: text.default(""),
  schema: json.default({}),
  http_status: z.number().nullable().default(null),
});
const described = listed.extend({
  description: text.optional(),
  visibility: z.enum(["external", "internal"]).default("external"),
  input_schema: json,
  output_schema: json,
  error_schemas: z.array(describedError).default([]),
  access_control: z.object({
    required_scopes: z.array(text),
    required_scopes_any: z.array(text).nullable(),
    resource_type: text.nullable(),
    resource_action: text.nullable(),
  }),
  resource_id_path: text.nullable().default(null),
  resumable: z.boolean().default(false),
});
const describedElsewhere = described.omit({ access_control: true, visibility: true }).extend({
  input_schema: foreignJson,
  output_schema: foreignJson,
  error_schemas: z
    .array(describedError.extend({ schema: foreignJson.default({}) }))
    .max(MAX_ERRORS)
    .default([]),
});

function isOfSize(schema: object): boolean {
  try {
    return JSON.stringify(schema).length <= MAX_SCHEMA;
  } catch {
    // Deeper than can be written is more than that.
    return false;
  }
}

/**
 * Read what another node's `services/list` answers.
 *
 * @throws {z.ZodError} if it is not that.
 */
export function parseOperationList(answer: unknown): ListedOperation[] {
  return list.parse(answer).operations;
}

/** Read what another node's `services/schema` answers, who may call it apart. @throws {z.ZodError} */
export function parseDescribedOperation(
  answer: unknown,
): Omit<DescribedOperation, "access_control" | "visibility"> {
  return describedElsewhere.parse(answer);
}

export interface ServiceSources {
  readonly registry: OperationLayer;
  readonly peers: PeerLayers | undefined;
  readonly ownership: OwnershipProvider | undefined;
}

/** The operations themselves. All are queries that ask for no right, and answer by the caller's. */
export function serviceOperations({ registry, peers, ownership }: ServiceSources): OperationLayer {
  const shown = ({ internal, access }: Registration, subject: Subject): boolean =>
    !internal && mayCall(access, subject, ownership);

  const shownOf = (layer: OperationLayer, subject: Subject): ListedOperation[] =>
    [...layer.registrations()].filter((it) => shown(it, subject)).map(listedOf);

  const query = { type: "query", access: "anyone", input: z.object({}) } as const;
  const services: OperationLayer = layerOf(
    [
      operation({
        ...query,
        name: "services/list",
        description: "The operations of this node that you may call.",
        output: list,
        handler: (_, context) => ({
          operations: [registry, services].flatMap((layer) => shownOf(layer, subjectOf(context))),
        }),
      }),
      operation({
        ...query,
        name: "services/schema",
        description: "One operation: its schemas, its errors, and what it asks of who calls it.",
        input: z.object({ name: z.string() }),
        output: described,
        errors: {},
        handler({ name }, context) {
          const bare = name.startsWith("/") ? name.slice(1) : name;
          const found = registry.find(bare) ?? services.find(bare) ?? peers?.findExposed(bare);
          if (found !== undefined && shown(found, subjectOf(context))) return describe(found);
          // As if it were called: what may not be called does not exist.
          throw remoteError("NOT_FOUND", `operation not found: ${bare.slice(0, 256)}`);
        },
      }),
      operation({
        ...query,
        name: "services/list-peers",
        description: "The operations of this node and of its peers that you may call here.",
        output: peerList,
        handler(_, context) {
          const subject = subjectOf(context);
          const own = { peer_id: "local", operations: shownOf(registry, subject) };
          const others = (peers?.ids() ?? []).map((peer_id) => {
            const layer = peers?.at(peer_id);
            return { peer_id, operations: layer === undefined ? [] : shownOf(layer, subject) };
          });
          // Of whom there is nothing to call there is nothing to know.
          return { peers: [own, ...others.filter(({ operations }) => operations.length > 0)] };
        },
      }),
    ],
    "services",
  );
  return services;
}

function subjectOf({ caller, rights }: OperationContext): Subject {
  return { ...rights, peer: caller };
}

function listedOf({ operation: { name, type } }: Registration): ListedOperation {
  return { name, namespace: name.slice(0, name.indexOf("/")), op_type: type };
}

function describe(registration: Registration): z.input<typeof described> {
  const { operation, access } = registration;
  return {
    ...listedOf(registration),
    description: operation.description,
    visibility: operation.visibility ?? "external",
    input_schema: inputJsonSchema(operation.input),
    output_schema: outputJsonSchema(operation.output),
    error_schemas: Object.entries(operation.errors).map(
      ([code, { description, details, httpStatus }]) => ({
        code,
        description,
        schema: details === undefined ? {} : outputJsonSchema(details),
        http_status: httpStatus ?? null,
      }),
    ),
    ...describeAccess(access),
    resumable: operation.resumable === true,
  };
}

function describeAccess({ scopes, anyScope, resource }: CompiledAccess) {
  return {
    access_control: {
      required_scopes: scopes.map(({ text }) => text),
      required_scopes_any: anyScope.length === 0 ? null : anyScope.map(({ text }) => text),
      resource_type: resource?.type ?? null,
      resource_action: resource?.action ?? null,
    },
    resource_id_path: resource?.path === undefined ? null : `$.${resource.path.join(".")}`,
  };
}
