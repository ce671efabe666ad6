/**
 * Who may operate a node: the owner on its own socket, and peers with one of two scopes.
 *
 * @module
 */

/** To look: whoever may change it may see it. */
export const LOOK = { anyScope: ["node:status", "node:admin"] } as const;

/** To change it. Among what can be changed are rights: who may do this, may do everything. */
export const CHANGE = { scopes: ["node:admin"] } as const;
