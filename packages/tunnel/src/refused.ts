/**
 * A flow that was asked for and not opened.
 *
 * @module
 */

import type { Refusal } from "./wire/open.ts";

/** The far side did not open the flow. On the far side itself: what it answers. */
export class FlowRefused extends Error {
  override readonly name = "FlowRefused";
  readonly code = "FLOW_REFUSED";
  readonly refusal: Refusal;
  /** Letting go of a stream that was refused is no fault of anybody: `OK`. */
  readonly resetCode: number = 0;

  constructor(refusal: Refusal, text: string, options?: ErrorOptions) {
    super(text, options);
    this.refusal = refusal;
  }
}
