/**
 * What a client's function returns: a promise to who awaits it, a subscription to who iterates it.
 *
 * The names of operations are types to a client and no values, so it cannot know which of the two an operation
 * is; but its code does, and says so at once: `await` asks for `then`, `for await` and `await using` for their
 * symbols, all before anything else can run. Only of an invocation that is put aside untouched the far node has
 * to be asked.
 *
 * @module
 */

import type { Caller, CallOptions, SubscribeOptions, Subscription } from "./caller.ts";

/** Where invocations go. */
export interface InvocationTarget {
  readonly caller: Caller;
  /** What the far node says that an operation is; `undefined` if it says nothing. Never rejects. */
  readonly typeOf: (operation: string, options: CallOptions | undefined) => Promise<unknown>;
}

/** Types of operations that are kept. */
const MAX_TYPES = 1_024;

/** `typeOf` of an {@linkcode InvocationTarget}: asks once for each name. */
export function askedTypes(caller: Caller): InvocationTarget["typeOf"] {
  const types = new Map<string, Promise<unknown>>();

  async function ask(name: string, authToken: string | undefined): Promise<unknown> {
    try {
      const schema = await caller.call("services/schema", { name }, { authToken });
      return (schema as { op_type?: unknown } | null)?.op_type;
    } catch {
      // Whatever is wrong shows again when it is called.
      types.delete(name);
      return undefined;
    }
  }

  return (name, options) => {
    let type = types.get(name);
    if (type === undefined) {
      if (types.size === MAX_TYPES) types.clear();
      types.set(name, (type = ask(name, options?.authToken)));
    }
    return type;
  };
}

export class Invocation implements PromiseLike<unknown>, Subscription<unknown> {
  readonly #target: InvocationTarget;
  readonly #operation: string;
  readonly #input: unknown;
  readonly #options: SubscribeOptions | undefined;
  #call: Promise<unknown> | undefined;
  #subscription: Subscription<unknown> | undefined;
  /** Resolves once it has begun as the one or the other. */
  #found: Promise<void> | undefined;

  constructor(
    target: InvocationTarget,
    operation: string,
    input: unknown,
    options: SubscribeOptions | undefined,
  ) {
    this.#target = target;
    this.#operation = operation;
    this.#input = input;
    this.#options = options;
    queueMicrotask(() => {
      if (this.#call === undefined && this.#subscription === undefined) this.#found = this.#find();
    });
  }

  /** A getter, since `await` reads it at once and calls it a turn later. */
  // oxlint-disable-next-line unicorn/no-thenable -- being awaited is what it is for
  get then(): Promise<unknown>["then"] {
    const call = this.#asCall();
    return call.then.bind(call);
  }

  get catch(): Promise<unknown>["catch"] {
    const call = this.#asCall();
    return call.catch.bind(call);
  }

  get finally(): Promise<unknown>["finally"] {
    const call = this.#asCall();
    return call.finally.bind(call);
  }

  get lastEventId(): string | undefined {
    return this.#asSubscription()?.lastEventId;
  }

  next(): Promise<IteratorResult<unknown>> {
    return this.#withSubscription((subscription) => subscription.next());
  }

  return(): Promise<IteratorResult<unknown>> {
    return this.#withSubscription(
      async (subscription) => (await subscription.return?.()) ?? { done: true, value: undefined },
    );
  }

  get [Symbol.asyncIterator](): () => this {
    this.#asSubscription();
    return () => this;
  }

  get [Symbol.asyncDispose](): () => Promise<void> {
    this.#asSubscription();
    return async () => {
      await this.return();
    };
  }

  get [Symbol.toStringTag](): string {
    return `Invocation of ${this.#operation}`;
  }

  #asCall(): Promise<unknown> {
    if (this.#call !== undefined) return this.#call;
    if (this.#found !== undefined) return this.#found.then(() => this.#call ?? this.#misused());
    if (this.#subscription !== undefined) return this.#misused();
    return this.#beginCall();
  }

  /** `undefined` while the far node is being asked. */
  #asSubscription(): Subscription<unknown> | undefined {
    if (this.#subscription !== undefined || this.#found !== undefined) return this.#subscription;
    if (this.#call === undefined) return this.#beginSubscription();
    throw new TypeError(`cannot iterate ${this.#operation}: it is awaited already`);
  }

  async #withSubscription<T>(
    work: (subscription: Subscription<unknown>) => Promise<T>,
  ): Promise<T> {
    // Before anything is awaited: to be read is to be a subscription.
    let subscription = this.#asSubscription();
    if (subscription === undefined) {
      await this.#found;
      subscription = this.#subscription;
    }
    if (subscription !== undefined) return await work(subscription);
    throw new TypeError(`cannot iterate ${this.#operation}: it is not a subscription`);
  }

  #beginCall(): Promise<unknown> {
    return (this.#call = this.#target.caller.call(this.#operation, this.#input, this.#options));
  }

  #beginSubscription(): Subscription<unknown> {
    return (this.#subscription = this.#target.caller.subscribe(
      this.#operation,
      this.#input,
      this.#options,
    ));
  }

  #misused(): Promise<never> {
    return Promise.reject(new TypeError(`cannot await ${this.#operation}: it is a subscription`));
  }

  /** Never rejects. */
  async #find(): Promise<void> {
    const type = await this.#target.typeOf(this.#operation, this.#options);
    if (type === "subscription") this.#beginSubscription();
    // Nobody may ever look at it; who does gets the same rejection.
    else this.#beginCall().catch(() => {});
  }
}
