/**
 * Operations that are written while a session of a sandbox lasts, by an agent for one: never on the wire, and
 * with the rights that the sandbox was made with.
 *
 * @module
 */

import type { AnyOperation, Composition } from "./operation.ts";
import {
  DuplicateOperation,
  type OperationLayer,
  register,
  type Registration,
} from "./registry.ts";

export interface SessionLayer extends OperationLayer {
  /**
   * Add an operation. What it composes is the sandbox's, whatever it says itself.
   *
   * @throws as `createRegistry`.
   */
  add(operation: AnyOperation): void;
  /** @returns whether it was there. */
  remove(name: string): boolean;
}

/** @param composes what operations of the session may call, and with which rights. @default nothing */
export function createSessionLayer(composes: Composition = { operations: [] }): SessionLayer {
  const byName = new Map<string, Registration>();
  return {
    find: (name) => byName.get(name),
    registrations: () => byName.values(),
    add(operation) {
      if (byName.has(operation.name)) throw new DuplicateOperation(operation.name);
      byName.set(operation.name, register({ ...operation, composes }, "session"));
    },
    remove: (name) => byName.delete(name),
  };
}
