/**
 * The types of a client: from operations, or from what a node has described, to functions.
 *
 * @module
 */

import type { CallError, CallErrorCode } from "./call-error.ts";
import type { CallOptions, SubscribeOptions, Subscription } from "./caller.ts";
import type { AnyOperation, ErrorsOf, InputOf, OperationType, OutputOf } from "./operation.ts";

/** One operation, as `alknet call types` writes it down. */
export interface OperationTypes {
  type: OperationType;
  input: unknown;
  output: unknown;
  /** Details by code. */
  errors: object;
}

/**
 * What a client can be made of: a registry, a list of operations, or a map of {@linkcode OperationTypes} by
 * name.
 */
export type Described = object;

/**
 * The client of `T`: a tree of functions, one level for each segment of a name.
 *
 * `fs/list` is `node.fs.list(input, options)`; `docker/container/exec` is `node.docker.container.exec(…)`.
 */
export type Client<T extends Described> = Branch<TypesOf<T>>;

/** Types by name. */
export type TypesOf<T extends Described> = T extends { readonly operations: infer Operations }
  ? Operations extends readonly AnyOperation[]
    ? TypesOfList<Operations>
    : T
  : T extends readonly AnyOperation[]
    ? TypesOfList<T>
    : T;

type TypesOfList<Operations extends readonly AnyOperation[]> = {
  [O in Operations[number] as O["name"]]: {
    type: O["type"];
    input: InputOf<O>;
    output: AsJson<OutputOf<O>>;
    errors: { [E in ErrorsOf<O> as E["code"]]: AsJson<E["details"]> };
  };
};

/** What is left of a value once it has travelled as JSON: of a `Date` its text. */
export type AsJson<T> = unknown extends T
  ? T
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends { toJSON(...args: never[]): infer Json }
      ? AsJson<Json>
      : T extends object
        ? { [Key in keyof T]: AsJson<T[Key]> }
        : never;

/** `a/b` and `a/c` share the branch `a`. */
type Branch<Types> = Together<
  {
    [Name in keyof Types & string]: Path<Name, Method<Types[Name]>>;
  }[keyof Types & string]
>;

type Path<Name extends string, Leaf> = Name extends `${infer First}/${infer Rest}`
  ? { readonly [Segment in First]: Path<Rest, Leaf> }
  : { readonly [Segment in Name]: Leaf };

type Together<Union> = (Union extends unknown ? (each: Union) => void : never) extends (
  all: infer Intersection,
) => void
  ? Intersection
  : never;

/** A function of a client. */
export type Method<T> = T extends {
  type: infer Type;
  input: infer Input;
  output: infer Output;
  errors: infer Errors;
}
  ? Type extends "subscription"
    ? SubscribeMethod<Input, Output, Errors>
    : CallMethod<Input, Output, Errors>
  : never;

/** Call a query or a mutation. */
export interface CallMethod<Input, Output, Errors> extends ErrorGuard<Errors> {
  /** Rejects with {@linkcode CallError}, or with the signal's reason. */
  (...args: Arguments<Input, CallOptions>): Promise<Output>;
  /** The same, with the error as a value; rejects only with the signal's reason. */
  try(...args: Arguments<Input, CallOptions>): Promise<Result<Output, Errors>>;
}

/** Follow a subscription; leaving the loop ends it on the far side too. */
export interface SubscribeMethod<Input, Output, Errors> extends ErrorGuard<Errors> {
  (...args: Arguments<Input, SubscribeOptions>): Subscription<Output>;
}

export interface ErrorGuard<Errors> {
  /** Whether `error` is this declared error of the operation; then its details have a type. */
  isError<Code extends keyof Errors & string>(
    error: unknown,
    code: Code,
  ): error is DeclaredError<Code, Errors[Code]>;
}

/** What `try` gives. */
export type Result<Output, Errors> =
  | { readonly ok: true; readonly output: Output; readonly error?: never }
  | { readonly ok: false; readonly error: AnyError<Errors>; readonly output?: never };

/** One of the declared errors, or of those that every call can end with. */
export type AnyError<Errors> =
  | { [Code in keyof Errors & string]: DeclaredError<Code, Errors[Code]> }[keyof Errors & string]
  | (CallError & { readonly code: CallErrorCode });

export type DeclaredError<Code extends string, Details> = CallError & {
  readonly code: Code;
  readonly details: Details;
};

/** The input may be left out where `{}` would do. */
// eslint-disable-next-line typescript/no-empty-object-type
type Arguments<Input, Options> = {} extends Input
  ? [input?: Input, options?: Options]
  : [input: Input, options?: Options];
