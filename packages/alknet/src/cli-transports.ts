/**
 * The options that choose what a dial goes over.
 *
 * @module
 */

import { Option } from "commander";

export interface TransportFlags {
  readonly tcp: boolean;
  readonly quic: boolean;
}

export const overTcp = (): Option =>
  new Option("--tcp", "over TCP only").default(false).conflicts("quic");
export const overQuic = (): Option => new Option("--quic", "over QUIC only").default(false);

/** `undefined`: whatever gets through. */
export function transportsOf({
  tcp,
  quic,
}: TransportFlags): readonly ("quic" | "tcp")[] | undefined {
  if (tcp) return ["tcp"];
  return quic ? ["quic"] : undefined;
}
