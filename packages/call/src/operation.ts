/**
 * An operation: a name that a peer can call, what goes in and comes out, who may, and what answers.
 *
 * ```ts
 * import { z } from "zod";
 * import { operation } from "@alknet/call/operation";
 *
 * const list = operation({
 *   name: "fs/list",
 *   type: "query",
 *   input: z.object({ path: z.string() }),
 *   output: z.array(z.string()),
 *   errors: {
 *     FILE_NOT_FOUND: { description: "no such folder", details: z.object({ path: z.string() }) },
 *   },
 *   handler({ path }, context) {
 *     if (path !== "/") throw context.error("FILE_NOT_FOUND", { path });
 *     return ["a", "b"];
 *   },
 * });
 * ```
 *
 * All types come from the schemas. A schema has two sides: what goes into it, and what it makes of that. The
 * caller gives what goes into `input`, the handler gets what it made; the handler returns what goes into
 * `output`, the caller gets what that made.
 *
 * @module
 */

import type { AuthContext, Identity } from "@alknet/core/access";
import type { Logger } from "@alknet/core/log";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { CallError } from "./call-error.ts";
import type { EventItem } from "./output-stream.ts";
import type { ForwardedFor } from "./wire/event.ts";

/** `query` may be repeated without harm, `mutation` may not, `subscription` answers with many items. */
export type OperationType = "query" | "mutation" | "subscription";

/** Any Standard Schema: of zod, valibot, arktype. It has to have a JSON Schema too; see `json-schema.ts`. */
export type Schema = StandardSchemaV1;

/** An error that callers can tell from others by its code. */
export interface ErrorDeclaration {
  /** For people; it is the message where the handler gives none. */
  readonly description: string;
  /** What the error carries. @default nothing */
  readonly details?: Schema | undefined;
  /** What it is over HTTP. */
  readonly httpStatus?: number | undefined;
}

/** Errors by code, in SCREAMING_SNAKE_CASE. Those of the machinery (`NOT_FOUND`, …) are taken. */
export type ErrorDeclarations = Readonly<Record<string, ErrorDeclaration>>;

/** Who may call. All that is named here has to hold. */
export interface AccessRule {
  /** All of them, `service:action[:resource]`. */
  readonly scopes?: readonly string[] | undefined;
  /** At least one of them. */
  readonly anyScope?: readonly string[] | undefined;
  /** Of which the caller has one: by ownership, or else by the list of that name in its `resources`. */
  readonly resourceType?: string | undefined;
  /** What is done to it, for the provider of ownership and in messages. */
  readonly resourceAction?: string | undefined;
  /** Where the input names it: `$.containerId`, `$/spec/id`. Without it, having any of the type is enough. */
  readonly resourceId?: `$${string}` | undefined;
}

/** `anyone`: whoever is connected, without any right. */
export type Access = "anyone" | AccessRule;

/** What the handler may itself call, and with whose rights: its own, never its caller's. */
export interface Composition {
  /**
   * Operations within reach, by name, by glob of a name, or those of one peer. All else is `NOT_FOUND`. To be
   * named here is to be allowed what asks for no more than `call:invoke`.
   */
  readonly operations: readonly (string | AnyOperation | PeerPin)[];
  /** Rights that it calls them with. @default none */
  readonly scopes?: readonly string[] | undefined;
  readonly resources?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** An operation of one peer and of no other. */
export interface PeerPin {
  readonly peer: string;
  /** Name, or glob of a name. */
  readonly operation: string;
}

/** What a handler was given to work with: keys of services it uses, for one. Never leaves the process. */
export type Capabilities = Readonly<Record<string, unknown>>;

/** What an operation is, but for its handler. */
export interface OperationSpec<
  Name extends string = string,
  Type extends OperationType = OperationType,
  Input extends Schema = Schema,
  Output extends Schema = Schema,
  Errors extends ErrorDeclarations = ErrorDeclarations,
> {
  /** `service/operation`, or deeper; without a leading slash. */
  readonly name: Name;
  readonly type: Type;
  readonly description?: string | undefined;
  /** `internal`: for composition only. On the wire it does not exist. @default "external" */
  readonly visibility?: "external" | "internal" | undefined;
  readonly input: Input;
  /** Of a subscription: of each item. */
  readonly output: Output;
  readonly errors?: Errors | undefined;
  /** @default the scope `call:invoke:<name>` */
  readonly access?: Access | undefined;
  /** A subscription whose items have ids, and that can go on after one of them; see `withEventId`. @default false */
  readonly resumable?: boolean | undefined;
  /** @default nothing is within reach */
  readonly composes?: Composition | undefined;
  readonly capabilities?: Capabilities | undefined;
}

/** An operation with its handler, as {@linkcode operation} makes it. Frozen. */
export interface Operation<
  Name extends string = string,
  Type extends OperationType = OperationType,
  Input extends Schema = Schema,
  Output extends Schema = Schema,
  Errors extends ErrorDeclarations = ErrorDeclarations,
> extends OperationSpec<Name, Type, Input, Output, Errors> {
  readonly errors: Errors;
  readonly handler: Handler<Type, Input, Output, Errors>;
}

/** Any operation, whatever its types. */
export interface AnyOperation extends OperationSpec {
  readonly errors: ErrorDeclarations;
  readonly handler: (input: never, context: never) => unknown;
}

/** A query or mutation returns its output, or a promise of it; a subscription is an async generator. */
export type Handler<
  Type extends OperationType,
  Input extends Schema,
  Output extends Schema,
  Errors extends ErrorDeclarations,
> = (
  input: StandardSchemaV1.InferOutput<Input>,
  context: OperationContext<Errors>,
) => HandlerResult<Type, StandardSchemaV1.InferInput<Output>>;

type HandlerResult<Type extends OperationType, Output> = Type extends "subscription"
  ? AsyncIterable<Output | EventItem<Output>>
  : Output | Promise<Output>;

/** What a caller gives. */
export type InputOf<O extends AnyOperation> = StandardSchemaV1.InferInput<O["input"]>;

/** What a caller gets; of a subscription, each time. */
export type OutputOf<O extends AnyOperation> = StandardSchemaV1.InferOutput<O["output"]>;

/** The declared errors as a caller sees them: a union over their codes. */
export type ErrorsOf<O extends AnyOperation> = {
  [Code in keyof O["errors"] & string]: {
    readonly code: Code;
    readonly details: O["errors"][Code] extends { readonly details: infer Details extends Schema }
      ? StandardSchemaV1.InferOutput<Details>
      : undefined;
  };
}[keyof O["errors"] & string];

/** What a handler knows of its call, and what it can do beyond returning. */
export interface OperationContext<Errors extends ErrorDeclarations = ErrorDeclarations> {
  /** Of a call from the wire the caller's id, else a random UUID. */
  readonly id: string;
  /** The call that this one is part of. */
  readonly parentId: string | undefined;
  /** Name of the operation. */
  readonly operation: string;
  /** Whether another handler has called, and not a peer. */
  readonly internal: boolean;
  /**
   * Whose rights this call was checked against: the peer, or the composing handler's own authority.
   * `undefined`: nobody we know.
   */
  readonly caller: Identity | undefined;
  /** What the caller may do: take a right and hold it while the call lasts. If it is revoked, the call ends. */
  readonly rights: Rights;
  /** The peer at the root of it all, however deep the composition. For logs and quotas, never for rights. */
  readonly originator: Identity | undefined;
  /** For whom the calling peer says it is acting. Its word only: for logs and quotas, never for rights. */
  readonly forwardedFor: ForwardedFor | undefined;
  /** Those of the operation at the root of the composition. */
  readonly capabilities: Capabilities;
  /** Notes of this call, for middleware. Empty at its beginning, and not given to what it calls. */
  readonly metadata: Map<string, unknown>;
  /** When the call and all it has started is over, on the registry's clock, in milliseconds. */
  readonly deadline: number | undefined;
  /** Aborts when the call is cancelled, its deadline has passed, or its right is gone. Made on first use. */
  readonly signal: AbortSignal;
  /** Operations within reach; see {@linkcode Composition}. */
  readonly env: OperationEnv;
  readonly logger: Logger;
  /** The last item that a subscriber saw before, if the operation is resumable. */
  readonly lastEventId: string | undefined;
  /** A declared error, to be thrown: `throw context.error("FILE_NOT_FOUND", { path })`. */
  readonly error: <Code extends keyof Errors & string>(
    code: Code,
    ...details: ErrorArguments<Errors[Code]>
  ) => CallError;
}

/** `details` where they are declared, and a message. */
type ErrorArguments<Declaration extends ErrorDeclaration> = Declaration extends {
  readonly details: infer Details extends Schema;
}
  ? [details: StandardSchemaV1.InferInput<Details>, message?: string]
  : [details?: undefined, message?: string];

/** A caller's rights. What is granted through here is held until the call is over, or disposed of before. */
export type Rights = Pick<AuthContext, "grant" | "hold" | "allows">;

/** What becomes of a call when the one that started it is cancelled or over. */
export type AbortPolicy =
  /** It is cancelled too. */
  | "abort-dependents"
  /** It finishes, and so does what it has started by then; neither starts anything more. */
  | "continue-running";

export interface InvokeOptions {
  /** @default the caller's own policy; at the root "abort-dependents" */
  readonly policy?: AbortPolicy | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The operations within reach of a handler: of its session, of the peers in the order in which they came,
 * then the node's own. The first that has the name answers. Subscriptions are `INVALID_OPERATION_TYPE`.
 *
 * All that calls rejects with {@linkcode CallError}, or with the signal's reason.
 */
export interface OperationEnv {
  invoke<O extends AnyOperation>(
    operation: O,
    input: InputOf<O>,
    options?: InvokeOptions,
  ): Promise<OutputOf<O>>;
  invoke(operation: string, input: unknown, options?: InvokeOptions): Promise<unknown>;
  /** As `invoke`, of this peer and of no other. */
  invokePeer<O extends AnyOperation>(
    peer: string,
    operation: O,
    input: InputOf<O>,
    options?: InvokeOptions,
  ): Promise<OutputOf<O>>;
  invokePeer(
    peer: string,
    operation: string,
    input: unknown,
    options?: InvokeOptions,
  ): Promise<unknown>;
  contains(operation: string): boolean;
  peerContains(peer: string, operation: string): boolean;
  peerIds(): string[];
  /** Names, of which those within reach. */
  peerOperations(peer: string): string[];
}

/** Checked with the definition, to fail where the mistake is. */
const NAME = /^[A-Za-z0-9][\w.-]*(?:\/[A-Za-z0-9][\w.-]*)+$/;

/** Longest name of an operation, in characters. */
export const MAX_NAME: number = 256;

/**
 * Define an operation.
 *
 * @throws {TypeError} if its name is not `service/operation`.
 */
export function operation<
  const Name extends string,
  const Type extends OperationType,
  Input extends Schema,
  Output extends Schema,
  // eslint-disable-next-line typescript/no-empty-object-type
  Errors extends ErrorDeclarations = {},
>(
  definition: OperationSpec<Name, Type, Input, Output, Errors> & {
    readonly handler: Handler<Type, Input, Output, Errors>;
  },
): Operation<Name, Type, Input, Output, Errors> {
  const { name } = definition;
  if (!isOperationName(name)) {
    throw new TypeError(
      `cannot define operation ${JSON.stringify(name)}: expected "service/operation", ` +
        `letters, digits, "_", "." and "-", without a slash in front`,
    );
  }
  return Object.freeze({ ...definition, errors: definition.errors ?? ({} as Errors) });
}

/** Whether `text` can be an operation's name: two or more segments, without a slash in front. */
export function isOperationName(text: string): boolean {
  return text.length <= MAX_NAME && NAME.test(text);
}
