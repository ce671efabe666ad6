/**
 * The errors that end a flow before its time, and the numbers they travel as.
 *
 * @module
 */

/**
 * The TCP connection behind a flow was reset, or broke. It travels as code 0: neither node nor peer is at
 * fault, an application pulled the plug.
 */
export class FlowReset extends Error {
  override readonly name = "FlowReset";
  readonly code = "FLOW_RESET";
  /** Number on the wire (see `CloseCode`). */
  readonly resetCode: number = 0;
}

/** A flow stopped without an end record: the connection beneath it was cut, or somebody forged its end. */
export class FlowCut extends Error {
  override readonly name = "FlowCut";
  readonly code = "FLOW_CUT";
}
