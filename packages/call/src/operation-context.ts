/**
 * The context of a call: what its handler is given, and what ends with it.
 *
 * Calls form a tree. A call that is cancelled or over takes those with it that it has started, unless they were
 * started to continue: those finish, and neither start anything more.
 *
 * @module
 */

import { AccessDenied, AccessRevoked, type Grant, type Identity } from "@alknet/core/access";
import type { Clock } from "@alknet/core/clock";
import type { Logger } from "@alknet/core/log";
import { randomUUID } from "node:crypto";
import { type Admission, admitChecked, forbidden, type Subject } from "./access-control.ts";
import { CallError, remoteError } from "./call-error.ts";
import type {
  AbortPolicy,
  Capabilities,
  OperationContext,
  OperationEnv,
  Rights,
} from "./operation.ts";
import type { OwnershipProvider } from "./ownership.ts";
import type { PeerLayers } from "./peer-layers.ts";
import type { Registration } from "./registry.ts";
import type { IncomingCall } from "./session.ts";
import type { ForwardedFor } from "./wire/event.ts";

/** The one way of a call through a node, as its contexts see it. */
export interface Spine {
  readonly ownership: OwnershipProvider | undefined;
  readonly peers: PeerLayers | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What `name` is to a handler that composes. */
  find(name: string, call: IncomingCall): Registration | undefined;
  /** Validate, and run the handler. Returns the output, a promise of it, or a stream; throws `CallError`. */
  execute(context: CallContext, input: unknown): unknown;
  /** What the handler of a call that is running can call. */
  env(context: CallContext): OperationEnv;
}

/** What a call ends those with that it had started and that still run. */
function callIsOver(): DOMException {
  return new DOMException("the call that started this one is over", "AbortError");
}

export class CallContext implements OperationContext {
  readonly id: string;
  readonly registration: Registration;
  readonly spine: Spine;
  /** At the root of the composition. */
  readonly call: IncomingCall;
  readonly parent: CallContext | undefined;
  /** What was checked at the gate. */
  readonly subject: Subject;
  readonly policy: AbortPolicy;
  readonly originator: Identity | undefined;
  /** Called when a composed call is cancelled. */
  oncancel: ((reason: Error) => void) | undefined;
  /** What was thrown on the caller's behalf, and goes to it as it is. */
  refusal: CallError | undefined;
  /** Its handler was called. */
  started = false;
  /** It may start nothing any more, and finishes what it has. */
  #orphaned = false;
  #ended = false;
  #reason: Error | undefined;
  #controller: AbortController | undefined;
  #children: Set<CallContext> | undefined;
  readonly #admission: Admission | undefined;
  #held: Set<Grant> | undefined;
  #rights: Rights | undefined;
  #env: OperationEnv | undefined;
  #metadata: Map<string, unknown> | undefined;
  #logger: Logger | undefined;
  #stopDeadline: (() => void) | undefined;

  constructor(
    spine: Spine,
    registration: Registration,
    call: IncomingCall,
    subject: Subject,
    admission: Admission | undefined,
    parent?: CallContext,
    policy?: AbortPolicy,
  ) {
    this.spine = spine;
    this.registration = registration;
    this.call = call;
    this.subject = subject;
    this.#admission = admission;
    this.parent = parent;
    this.id = parent === undefined ? call.id : randomUUID();
    this.policy = policy ?? parent?.policy ?? "abort-dependents";
    this.originator = parent === undefined ? subject.peer : parent.originator;
  }

  get parentId(): string | undefined {
    return this.parent?.id;
  }

  get operation(): string {
    return this.registration.operation.name;
  }

  get internal(): boolean {
    return this.parent !== undefined;
  }

  get caller(): Identity | undefined {
    return this.subject.peer;
  }

  get forwardedFor(): ForwardedFor | undefined {
    return this.internal ? undefined : this.call.forwardedFor;
  }

  get lastEventId(): string | undefined {
    return this.internal ? undefined : this.call.lastEventId;
  }

  get capabilities(): Capabilities {
    return this.parent?.capabilities ?? this.registration.operation.capabilities ?? NO_CAPABILITIES;
  }

  get metadata(): Map<string, unknown> {
    return (this.#metadata ??= new Map());
  }

  get deadline(): number | undefined {
    return this.call.deadline;
  }

  get rights(): Rights {
    return (this.#rights ??= callRights(this));
  }

  get env(): OperationEnv {
    return (this.#env ??= this.spine.env(this));
  }

  get logger(): Logger {
    return (this.#logger ??= callLogger(this.spine.logger, this));
  }

  /** A function of the registration's, so that it can be taken out of the context. */
  get error(): OperationContext["error"] {
    return this.registration.error;
  }

  get signal(): AbortSignal {
    if (this.parent === undefined) return this.call.signal;
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Why nothing can be started from it any more; `undefined` while something can. */
  get closed(): Error | undefined {
    if (this.#reason !== undefined) return this.#reason;
    if (this.#orphaned || this.#ended) return callIsOver();
    return this.parent === undefined && this.call.aborted ? callIsOver() : undefined;
  }

  /** Nobody waits for its output any more. */
  get cancelled(): boolean {
    return this.parent === undefined ? this.call.aborted : this.#reason !== undefined;
  }

  /** An error that the caller is to see as it is. */
  refuse(error: CallError): CallError {
    return (this.refusal = error);
  }

  /** A call that its handler makes, with its authority. */
  child(
    registration: Registration,
    admission: Admission | undefined,
    policy: AbortPolicy | undefined,
  ): CallContext {
    const { spine, call } = this;
    const { authority } = this.registration;
    const child = new CallContext(spine, registration, call, authority, admission, this, policy);
    if (this.#children === undefined) {
      this.#children = new Set();
      if (this.parent === undefined) call.onabort((reason) => this.#leaveChildren(reason));
    }
    this.#children.add(child);
    return child;
  }

  /** End a composed call now, and what it has started with it. */
  cancel(reason: Error): void {
    if (this.#ended || this.#reason !== undefined) return;
    this.#reason = reason;
    this.#stopDeadline?.();
    this.#leaveParent();
    this.oncancel?.(reason);
    this.#controller?.abort(reason);
    this.#leaveChildren(reason);
  }

  /** Its handler has settled: give back what it stood on. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stopDeadline?.();
    this.#admission?.[Symbol.dispose]();
    for (const grant of this.#held ?? []) grant[Symbol.dispose]();
    this.#leaveParent();
    if (this.#children !== undefined) this.#leaveChildren(callIsOver());
  }

  /**
   * Take the right to what the handler will see, where it is not what the caller has shown.
   *
   * @throws {CallError} `FORBIDDEN`
   */
  admitChecked(shown: unknown, checked: unknown): void {
    const { subject, spine, registration } = this;
    try {
      const right = admitChecked(registration.access, subject, shown, checked, spine.ownership);
      if (right !== undefined) this.hold(heldByCall(right, this));
    } catch (error) {
      throw error instanceof CallError ? this.refuse(error) : error;
    }
  }

  /** Hold a right until the call is over. */
  hold(grant: Grant): void {
    (this.#held ??= new Set()).add(grant);
  }

  release(grant: Grant): void {
    this.#held?.delete(grant);
  }

  /** End the call with `FORBIDDEN` when a right is gone that it stands on. */
  followRights(): void {
    this.#admission?.follow((error) => this.fail(error));
  }

  fail(error: CallError): void {
    if (this.parent === undefined) this.call.fail(error);
    else this.cancel(error);
  }

  #leaveParent(): void {
    if (this.parent !== undefined) this.parent.#children?.delete(this);
  }

  #leaveChildren(reason: Error): void {
    for (const child of this.#children ?? []) {
      if (child.policy === "continue-running") child.#continueAlone();
      else child.cancel(reason);
    }
  }

  #continueAlone(): void {
    if (this.#orphaned) return;
    if (!this.started) return this.cancel(callIsOver());
    this.#orphan();
    const { deadline } = this;
    if (deadline === undefined) return;
    // One for the whole tree, which nobody above it watches any more.
    const { clock } = this.spine;
    const due = clock.timeout(Math.max(0, Math.ceil(deadline - clock.now())));
    const ondue = (): void => this.cancel(remoteError("TIMEOUT", "request timed out"));
    this.#stopDeadline = () => due.removeEventListener("abort", ondue);
    due.addEventListener("abort", ondue, { once: true });
  }

  #orphan(): void {
    this.#orphaned = true;
    for (const child of this.#children ?? []) {
      if (child.started) child.#orphan();
      else child.cancel(callIsOver());
    }
  }
}

const NO_CAPABILITIES: Capabilities = Object.freeze({});

/** Rights of the caller, taken for as long as the call lasts at most. */
function callRights(context: CallContext): Rights {
  const { subject } = context;
  const take = (grant: () => Grant): Grant => {
    try {
      const held = heldByCall(grant(), context);
      context.hold(held);
      return held;
    } catch (error) {
      if (!(error instanceof AccessDenied || error instanceof AccessRevoked)) throw error;
      const text =
        error instanceof AccessDenied ? `missing required scope: ${error.missing}` : error.message;
      throw context.refuse(forbidden(text, error));
    }
  };
  return {
    grant: (action, resource) => take(() => subject.grant(action, resource)),
    hold: (right, stands) => take(() => subject.hold(right, stands)),
    allows: (action, resource) => subject.allows(action, resource),
  };
}

function heldByCall(inner: Grant, context: CallContext): Grant {
  let listener: ((reason: AccessRevoked) => void) | undefined;
  inner.followRevocation((reason) => {
    context.release(held);
    listener?.(reason);
    context.fail(forbidden(reason.message, reason));
  });
  const held: Grant = {
    action: inner.action,
    get signal() {
      return inner.signal;
    },
    followRevocation: (follow) => {
      listener = follow;
    },
    [Symbol.dispose]() {
      context.release(held);
      inner[Symbol.dispose]();
    },
  };
  return held;
}

/** Says with each line which call it is about. */
function callLogger(logger: Logger, context: CallContext): Logger {
  const call = { call: context.id, operation: context.operation, caller: context.caller?.id };
  return {
    debug: (fields, message) => logger.debug({ ...call, ...fields }, message),
    info: (fields, message) => logger.info({ ...call, ...fields }, message),
    warn: (fields, message) => logger.warn({ ...call, ...fields }, message),
    error: (fields, message) => logger.error({ ...call, ...fields }, message),
  };
}
