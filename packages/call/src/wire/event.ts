/**
 * Events of `alknet/call`: JSON envelopes `{ "type", "id", "payload" }`.
 *
 * @module
 */

/** Who a hub says it speaks for: the identity of its caller. Data for logs and quotas, never authority. */
export interface ForwardedFor {
  readonly id: string;
  readonly scopes: readonly string[];
  readonly resources: Readonly<Record<string, readonly string[]>>;
}
