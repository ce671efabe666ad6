/**
 * A flow on a connection that has only one stream: a `Duplex` whose half-close and reset travel as
 * records (wire/record.ts), because the end of a TCP connection proves nothing.
 *
 * Data is not copied on either way: what is written goes out with its header in one vectored write, what
 * comes in is handed on as views.
 *
 * @module
 */

import { Duplex } from "node:stream";
import { CloseCode, closeCodeOf } from "@alknet/core/close-code";
import { StreamReset } from "@alknet/core/connection";
import { MAX_QUEUED } from "./join.ts";
import { FlowCut } from "./reset.ts";
import { dataHeader, endRecord, MAX_DATA, RecordDecoder, resetRecord } from "./wire/record.ts";

/**
 * Wrap `stream`, which this owns from now on: it ends when the flow has ended in both directions, and
 * breaks when the flow does. Nothing is read from it before the flow is read.
 *
 * Reads fail with `StreamReset` after the peer's reset, and with {@linkcode FlowCut} when the stream
 * stops without an end record.
 */
export function framed(stream: Duplex): Duplex {
  let reading = false;
  let wantsDrain: (() => void) | undefined;

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
      stream.cork();
      const room = writeRecords(stream, chunk);
      stream.uncork();
      settle(room, done);
    },
    writev(chunks, done) {
      stream.cork();
      let room = true;
      for (const { chunk } of chunks as { chunk: Buffer }[]) room = writeRecords(stream, chunk);
      stream.uncork();
      settle(room, done);
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

  function settle(room: boolean, done: () => void): void {
    // The mark of `join`: see there.
    if (room || stream.writableLength < MAX_QUEUED) done();
    else wantsDrain = done;
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
  return flow;
}

/** Write `bytes` as records; true: there is room for more. */
function writeRecords(stream: Duplex, bytes: Buffer): boolean {
  if (bytes.length <= MAX_DATA) {
    if (bytes.length === 0) return true;
    stream.write(dataHeader(bytes.length));
    return stream.write(bytes);
  }
  let room = true;
  for (let at = 0; at < bytes.length; at += MAX_DATA) {
    room = writeRecords(stream, bytes.subarray(at, at + MAX_DATA));
  }
  return room;
}
