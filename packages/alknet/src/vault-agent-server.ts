/**
 * The agent's side of `vault.sock`: one request, one answer, and the connection ends.
 *
 * @module
 */

import type { Socket } from "node:net";
import { NAMED_KEY } from "@alknet/vault/derivation-path";
import type { NamedKey } from "@alknet/vault/vault-file-body";
import { secretBytes, wipe } from "@alknet/vault/wipe";
import { CommandError } from "./command-error.ts";
import { createFrameReader, encodeFrame, type Frame } from "./vault-agent-frame.ts";
import type { VaultAgentOperations } from "./vault-agent-operations.ts";
import { sealedFrame, sealedOf } from "./vault-agent-sealed.ts";

/** Time for a request to come, and for its answer to be taken, each time that nothing moves; in milliseconds. */
const DEADLINE = 5_000;

/** Answer the one request of a client. */
export function serveVaultClient(client: Socket, vault: VaultAgentOperations): void {
  const reader = createFrameReader();
  client.setTimeout(DEADLINE, () => client.destroy());
  client.once("end", () => client.destroy());
  client.once("close", () => reader.wipe());
  client.on("data", (chunk: Buffer) => {
    try {
      const request = reader.push(chunk);
      if (request === undefined) return;
      client.removeAllListeners("data").resume();
      // argon2id takes what it takes.
      client.setTimeout(0);
      void answer(client, request, vault);
    } catch (error) {
      send(client, errorFrame(error));
    }
  });
}

/** Never rejects. */
async function answer(client: Socket, request: Frame, vault: VaultAgentOperations): Promise<void> {
  let given: Frame;
  try {
    const { request: name } = request.header;
    if (typeof name !== "string" || !Object.hasOwn(ANSWERS, name)) {
      throw invalid(`expected one of: ${Object.keys(ANSWERS).join(", ")}`);
    }
    const { header = {}, bytes = NONE } = await ANSWERS[name]!(vault, request);
    given = { header, bytes };
  } catch (error) {
    given = errorFrame(error);
  } finally {
    wipe(request.bytes);
  }
  send(client, given);
}

function send(client: Socket, answer: Frame): void {
  let frame: Uint8Array;
  try {
    frame = encodeFrame(answer);
  } catch (error) {
    frame = encodeFrame(errorFrame(error));
  }
  wipe(answer.bytes);
  // Gone while it was answered: there is no other end to wait for.
  if (client.destroyed) return wipe(frame);
  client.setTimeout(DEADLINE);
  client.once("close", () => wipe(frame));
  client.removeAllListeners("end");
  client.end(frame);
}

const NONE = new Uint8Array();

function errorFrame(error: unknown): Frame {
  const { code, message, hint } = error as { code?: unknown; message?: unknown; hint?: unknown };
  const told = {
    code: typeof code === "string" ? code : "INTERNAL",
    message: String(message),
    hint: typeof hint === "string" ? hint : undefined,
  };
  return { header: { error: told }, bytes: NONE };
}

type Answer = (vault: VaultAgentOperations, request: Frame) => Promise<Partial<Frame>>;

const ANSWERS: Readonly<Record<string, Answer>> = {
  async status(vault) {
    return { header: { ...(await vault.status()) } };
  },
  async unlock(vault, { header, bytes }) {
    await vault.unlock(
      header["with"] === "unlockKey" ? { unlockKey: bytes } : { passphrase: bytes },
    );
    return {};
  },
  async lock(vault) {
    await vault.lock();
    return {};
  },
  async setLockAfter(vault, { header: { lockAfter } }) {
    if (lockAfter !== undefined && !(typeof lockAfter === "number" && lockAfter > 0)) {
      throw invalid("lockAfter must be milliseconds");
    }
    await vault.setLockAfter(lockAfter);
    return {};
  },
  async publicKey(vault, { header }) {
    return { bytes: await vault.publicKey(text(header, "path")) };
  },
  async ageRecipient(vault, { header }) {
    return { header: { recipient: await vault.ageRecipient(text(header, "name")) } };
  },
  async encrypt(vault, { header, bytes }) {
    const { version } = header;
    if (version !== undefined && typeof version !== "number") throw invalid("version: a number");
    return sealedFrame(await vault.encrypt(bytes, { version, context: contextOf(header) }));
  },
  async decrypt(vault, request) {
    const context = contextOf(request.header);
    return { bytes: await vault.decrypt(sealedOf(request), { context }) };
  },
  async rotate(vault, request) {
    const { toVersion } = request.header;
    if (typeof toVersion !== "number") throw invalid("toVersion must be a number");
    const context = contextOf(request.header);
    return sealedFrame(await vault.rotate(sealedOf(request), toVersion, { context }));
  },
  async names(vault) {
    return { header: { names: await vault.names() } };
  },
  async addName(vault, { header }) {
    const { confirm } = header;
    if (typeof confirm !== "boolean") throw invalid("confirm must be true or false");
    await vault.addName({ ...nameOf(header), confirm });
    return {};
  },
  async removeName(vault, { header }) {
    return { header: { removed: await vault.removeName(nameOf(header)) } };
  },
  async nodeKeys(vault) {
    const { identity, sshHost } = await vault.nodeKeys();
    const bytes = secretBytes(64);
    bytes.set(identity);
    bytes.set(sshHost, 32);
    wipe(identity, sshHost);
    return { bytes };
  },
};

function nameOf(header: Frame["header"]): Pick<NamedKey, "kind" | "name"> {
  const { kind } = header;
  const name = text(header, "name");
  if (kind !== "ssh" && kind !== "age" && kind !== "pkarr") throw invalid("no such kind of key");
  if (!NAMED_KEY.test(name)) throw invalid("no name of a key");
  return { kind, name };
}

function contextOf(header: Frame["header"]): string | undefined {
  return header["context"] === undefined ? undefined : text(header, "context");
}

function text(header: Frame["header"], name: string): string {
  const value = header[name];
  if (typeof value === "string") return value;
  throw invalid(`${name} must be text`);
}

function invalid(expected: string): CommandError {
  return new CommandError(`cannot answer: ${expected}`, { code: "REQUEST_INVALID" });
}
