/**
 * A flow on a connection that has only one stream: a `Duplex` whose half-close and reset travel as
 * records (wire/record.ts), because the end of a TCP connection proves nothing.
 *
 * What is written goes out with its headers in one buffer (framed-slabs.ts), what comes in is handed on as
 * views.
 *
 * @module
 */

import { Socket } from "node:net";
import { Duplex } from "node:stream";
import { CloseCode, closeCodeOf } from "@alknet/core/close-code";
import { StreamReset } from "@alknet/core/connection";
import { pack } from "./framed-slabs.ts";
import { MAX_QUEUED } from "./max-queued.ts";
import { FlowCut } from "./reset.ts";
import { endRecord, RecordDecoder, resetRecord } from "./wire/record.ts";

/** A flow that takes bytes at once. */
export interface FramedFlow extends Duplex {
  /**
   * Write `bytes`, which are the caller's again when this returns.
   *
   * @returns false: enough for now, until "drain".
   */
  writeNow(bytes: Buffer): boolean;
}

/**
 * Wrap `stream`, which this owns from now on: it ends when the flow has ended in both directions, and
 * breaks when the flow does. Nothing is read from it before the flow is read.
 *
 * Reads fail with `StreamReset` after the peer's reset, and with {@linkcode FlowCut} when the stream
 * stops without an end record.
 */
export function framed(stream: Duplex): FramedFlow {
  let reading = false;
  let wantsDrain: (() => void) | undefined;
  // A socket has done with what was written when it says so; other streams may hand it on.
  const releases = stream instanceof Socket;

  const decoder = new RecordDecoder({
    data(bytes) {
      if (!flow.push(bytes)) stream.pause();
    },
    end() {
      flow.push(null);
    },
    reset(code) {
      flow.destroy(new StreamReset(code));
    },
  });

  const flow = new Duplex({
    allowHalfOpen: true,
    read() {
      if (reading) {
        stream.resume();
        return;
      }
      reading = true;
      stream.on("data", (chunk: Buffer) => {
        // Reading on after the end is how a reset behind it is noticed, and that the peer has gone.
        try {
          decoder.push(chunk);
        } catch (error) {
          flow.destroy(error as Error);
        }
      });
      stream.resume();
    },
    write(chunk: Buffer, _encoding, done) {
      settle(writeRecords([chunk]), done);
    },
    writev(chunks, done) {
      settle(writeRecords((chunks as { chunk: Buffer }[]).map(({ chunk }) => chunk)), done);
    },
    final(done) {
      stream.write(endRecord);
      done();
    },
    destroy(error, done) {
      if (error === null && decoder.ended && flow.writableFinished) {
        stream.end();
      } else if (stream.writable && stream.writableLength === 0 && !(error instanceof FlowCut)) {
        const code = error === null ? CloseCode.INTERNAL : closeCodeOf(error);
        stream.end(resetRecord(code), () => stream.destroy());
      } else {
        // The reset would have to queue behind data that the peer does not take. A cut says the same.
        stream.destroy();
      }
      done(error);
    },
  });

  /** True: there is room for more. */
  function writeRecords(chunks: readonly Buffer[]): boolean {
    let length = 0;
    for (const chunk of chunks) length += chunk.length;
    if (length === 0) return true;
    const { records, release } = pack(chunks, length);
    const room =
      release === undefined || !releases
        ? stream.write(records)
        : stream.write(records, (error) => {
            if (error === null || error === undefined) release();
          });
    // The mark of `join`.
    return room || stream.writableLength < MAX_QUEUED;
  }

  function settle(room: boolean, done: () => void): void {
    if (room) done();
    else wantsDrain = done;
  }

  function writeNow(bytes: Buffer): boolean {
    if (flow.destroyed) return false;
    // What waits in the flow goes first.
    if (flow.writableLength > 0) return flow.write(Buffer.from(bytes));
    if (writeRecords([bytes])) return true;
    wantsDrain = () => flow.emit("drain");
    return false;
  }

  stream.on("drain", () => {
    const done = wantsDrain;
    wantsDrain = undefined;
    done?.();
  });
  stream.on("error", (error) => flow.destroy(error));
  stream.on("end", cutUnlessEnded);
  stream.on("close", cutUnlessEnded);

  function cutUnlessEnded(): void {
    if (!decoder.ended || (stream.closed && !flow.writableFinished)) {
      flow.destroy(new FlowCut("flow cut: its connection ended without an end record"));
    }
  }
  return Object.assign(flow, { writeNow });
}
