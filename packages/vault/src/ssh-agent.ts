/**
 * An SSH agent whose keys come from elsewhere, such as a vault: the one thing that it does is to sign, and the only
 * things that it signs are logins over SSH and SSHSIG messages.
 *
 * So forwarding its socket hands nobody more than that, and a signature of it cannot be used as that of a TLS peer.
 * What `ssh-add` changes lasts until {@linkcode SshAgent.forget}: keys that it removes are hidden, not gone; a key can
 * be added again only if it is one of ours, with constraints or without; others are refused.
 *
 * ```ts
 * import { createServer } from "node:net";
 * import { createSshAgent } from "@alknet/vault/ssh-agent";
 *
 * const agent = createSshAgent({ keys: () => [] });
 * const server = createServer({ allowHalfOpen: true }, (socket) => agent.serve(socket));
 * ```
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { setTimeout } from "node:timers/promises";
import { ed25519PublicKey } from "./derived-key.ts";
import { sshFingerprint, sshPublicKeyBlob } from "./openssh-key.ts";
import { AgentBindings } from "./ssh-agent-bindings.ts";
import { serveAgentConnection } from "./ssh-agent-connection.ts";
import { createAgentLock } from "./ssh-agent-lock.ts";
import { recogniseSignedData, type SignedData } from "./wire/signed-data.ts";
import {
  type AgentRequest,
  decodeRequest,
  encodeIdentities,
  encodeSignature,
  EXTENSION_FAILURE,
  EXTENSIONS,
  FAILURE,
  SUCCESS,
} from "./wire/ssh-agent.ts";
import type { Constraints } from "./wire/ssh-agent-constraints.ts";

/** An Ed25519 key to sign with. */
export interface AgentKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** What `ssh-add -l` shows. */
  readonly comment: string;
  /** Whether a person is asked before each use. */
  readonly confirm: boolean;
  /** @returns 64 bytes (RFC 8032 §5.1.6). */
  sign(data: Uint8Array): Uint8Array;
}

/** A use of a key that wants to be confirmed. */
export interface AgentUse {
  readonly key: AgentKey;
  /** `SHA256:` and base64, as OpenSSH writes it. */
  readonly fingerprint: string;
  readonly data: SignedData;
}

export interface SshAgentOptions {
  /** The keys that there are now; none while a vault is locked. */
  readonly keys: () => readonly AgentKey[];
  /**
   * Ask a person. `signal` aborts when the client has gone. @default nobody can be asked: refused
   */
  confirm?: ((use: AgentUse, signal: AbortSignal) => Promise<boolean>) | undefined;
  /** Hears of each signature. */
  onsigned?: ((key: AgentKey, data: SignedData) => void) | undefined;
  /** Hears why something was refused, or a client dropped; for a log. */
  onrefused?: ((reason: string) => void) | undefined;
  /** Milliseconds that never go back, for lifetimes of keys. @default performance.now */
  now?: (() => number) | undefined;
  /** @default a timer that keeps no process alive */
  sleep?: ((milliseconds: number) => Promise<void>) | undefined;
}

export interface SshAgent {
  /** Serve a client, until its stream ends. Streams have to be half-open: `allowHalfOpen`. */
  serve(stream: Duplex): void;
  /** Whether `ssh-add -x` has locked it. */
  readonly locked: boolean;
  /** Undo all that clients have changed: the lock, keys that were removed, constraints. */
  forget(): void;
}

/** What clients have done to a key. */
interface Change extends Constraints {
  readonly hidden?: true;
  /** On the clock of `now`; hidden from then on. */
  readonly end?: number | undefined;
}

interface Offered {
  readonly key: AgentKey;
  readonly blob: Buffer;
  readonly change: Change;
}

export function createSshAgent(options: SshAgentOptions): SshAgent {
  const {
    keys,
    confirm,
    onsigned,
    onrefused = () => {},
    now = () => performance.now(),
    sleep = (milliseconds) => setTimeout(milliseconds, undefined, { ref: false }),
  } = options;
  const lock = createAgentLock(sleep);
  /** By {@linkcode Identity.name}: an owner's keys may be other objects tomorrow. */
  const changes = new Map<string, Change>();

  function offered(): Offered[] {
    if (lock.locked) return [];
    return keys()
      .map((key) => {
        const { blob, name } = identityOf(key);
        return { key, blob, change: changes.get(name) ?? {} };
      })
      .filter(({ change }) => change.hidden !== true && !(now() >= (change.end ?? Infinity)));
  }

  /** The key with this blob, if it is there to be used. */
  function find(blob: Uint8Array): Offered | undefined {
    return offered().find((each) => each.blob.equals(blob));
  }

  function refused(reason: string): Uint8Array {
    onrefused(`refused ${reason}`);
    return FAILURE;
  }

  function identities(bindings: AgentBindings): Uint8Array {
    const shown = offered().filter(
      ({ change }) => change.destinations === undefined || bindings.lists(change.destinations),
    );
    return encodeIdentities(shown.map(({ key, blob }) => ({ blob, comment: key.comment })));
  }

  function sign(
    { key: blob, data: bytes }: AgentRequest & { kind: "sign" },
    bindings: AgentBindings,
    signal: AbortSignal,
  ): Uint8Array | Promise<Uint8Array> {
    const found = find(blob);
    if (found === undefined) return refused("a signature by a key that is not offered");
    const { key, change } = found;
    const data = recogniseSignedData(bytes, found.blob);
    if (data === undefined) {
      return refused(
        `a signature by "${key.comment}" over what is neither an SSH login nor an SSHSIG message`,
      );
    }
    if (change.destinations !== undefined && !bindings.signs(change.destinations, data)) {
      return refused(`a signature by "${key.comment}", which is restricted to other destinations`);
    }
    const signed = (using: AgentKey): Uint8Array => {
      const signature = encodeSignature(using.sign(bytes));
      onsigned?.(using, data);
      return signature;
    };
    if (!key.confirm && change.confirm !== true) return signed(key);
    return confirmed({ key, fingerprint: sshFingerprint(key.publicKey), data }, signal).then(
      (yes) => {
        // While a person thought about it, the vault may have been locked.
        const still = find(blob);
        if (yes && still !== undefined) return signed(still.key);
        return refused(`a signature by "${key.comment}": it was not confirmed`);
      },
    );
  }

  async function confirmed(use: AgentUse, signal: AbortSignal): Promise<boolean> {
    if (confirm === undefined || signal.aborted) return false;
    return confirm(use, signal);
  }

  function change(blob: Uint8Array, how: Change): Uint8Array {
    const key = keys().find((each) => identityOf(each).blob.equals(blob));
    if (key === undefined) return refused("a change of a key that is not of the vault");
    changes.set(identityOf(key).name, how);
    return SUCCESS;
  }

  function add(request: AgentRequest & { kind: "add" }): Uint8Array {
    const { publicKey, privateKey, constraints } = request;
    if (constraints === undefined) return refused("a key with a constraint that is not known");
    // Who has not the key itself might lift its constraints.
    if (Buffer.compare(ed25519PublicKey(privateKey), publicKey) !== 0) {
      return refused("a private key that does not belong to its public key");
    }
    const { lifetime } = constraints;
    const end = lifetime === undefined ? undefined : now() + lifetime * 1_000;
    return change(sshPublicKeyBlob(publicKey), { ...constraints, end });
  }

  function removeAll(): Uint8Array {
    for (const key of keys()) change(identityOf(key).blob, { hidden: true });
    return SUCCESS;
  }

  /** Never throws but for messages that are malformed. */
  function answer(
    message: Uint8Array,
    bindings: AgentBindings,
    signal: AbortSignal,
  ): Uint8Array | Promise<Uint8Array> {
    const request = decodeRequest(message);
    switch (request.kind) {
      case "identities":
        return identities(bindings);
      case "sign":
        return sign(request, bindings, signal);
      case "session-bind":
        return bindings.bind(request)
          ? SUCCESS
          : (refused("a binding to a session that its host has not signed"), EXTENSION_FAILURE);
      case "query":
        return EXTENSIONS;
      case "unknown":
        return FAILURE;
      case "add":
      case "remove":
      case "remove-all":
      case "lock":
      case "unlock":
        // Who only was forwarded the agent may use it, and not change it for its owner.
        if (bindings.remote) return refused(`"${request.kind}" over a forwarded connection`);
        return administer(request);
    }
  }

  function administer(
    request: Extract<AgentRequest, { kind: "add" | "remove" | "remove-all" | "lock" | "unlock" }>,
  ): Uint8Array | Promise<Uint8Array> {
    const done = (success: boolean): Uint8Array => (success ? SUCCESS : FAILURE);
    if (request.kind === "unlock") return lock.unlock(request.passphrase).then(done);
    if (lock.locked) return refused(`"${request.kind}" while locked by ssh-add -x`);
    switch (request.kind) {
      case "lock":
        return lock.lock(request.passphrase).then(done);
      case "add":
        return add(request);
      case "remove":
        return find(request.key) === undefined ? FAILURE : change(request.key, { hidden: true });
      case "remove-all":
        return removeAll();
    }
  }

  return {
    serve(stream) {
      const bindings = new AgentBindings();
      serveAgentConnection(
        stream,
        (message, signal) => answer(message, bindings, signal),
        ({ message }) => onrefused(`dropped a client: ${message}`),
      );
    },
    get locked() {
      return lock.locked;
    },
    forget() {
      lock.clear();
      changes.clear();
    },
  };
}

/** How a key is called on the wire, and in here. */
interface Identity {
  readonly blob: Buffer;
  /** The blob in base64. */
  readonly name: string;
}

/** Kept, for with many keys all of them would be made for each signature. */
const identityOfKey = new WeakMap<AgentKey, Identity>();

function identityOf(key: AgentKey): Identity {
  let identity = identityOfKey.get(key);
  if (identity === undefined) {
    const blob = Buffer.from(sshPublicKeyBlob(key.publicKey));
    identity = { blob, name: blob.toString("base64") };
    identityOfKey.set(key, identity);
  }
  return identity;
}
