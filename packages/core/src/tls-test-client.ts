/**
 * A TLS 1.3 client made by hand, for tests: it shows any certificate with any signature, as no TLS library
 * would let us, and tells what it saw.
 *
 * X25519, TLS_AES_128_GCM_SHA256, nothing else (RFC 8446). It does not verify the server.
 *
 * @module
 */

import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  randomBytes,
} from "node:crypto";
import net from "node:net";

export interface HandMadeOptions {
  readonly port: number;
  readonly host?: string | undefined;
  readonly alpn: readonly string[];
  readonly serverName?: string | undefined;
  /** Leaf to show, DER or what passes for it. @default none */
  readonly certificate?: Uint8Array | undefined;
  /** Signs what CertificateVerify is over; `scheme` as in RFC 8446 §4.2.3. */
  readonly sign?: ((content: Buffer) => { scheme: number; signature: Uint8Array }) | undefined;
  /** Sent once the handshake is done on this side. */
  readonly send?: Uint8Array | undefined;
}

export interface HandMadeResult {
  /** What the server chose. */
  readonly alpn: string | undefined;
  /** Whether it asked for a certificate. */
  readonly certificateRequested: boolean;
  /** Fatal alert that it ended with; `close_notify` (0) is no alert. */
  readonly alert: number | undefined;
  /** NewSessionTicket messages. */
  readonly tickets: number;
  readonly data: Buffer;
  /** It said close_notify. */
  readonly closed: boolean;
}

const CONTENT = { changeCipherSpec: 20, alert: 21, handshake: 22, data: 23 } as const;

/** Connect, do the handshake, and read until the server ends. */
export async function handMadeClient(options: HandMadeOptions): Promise<HandMadeResult> {
  const socket = net.connect({ port: options.port, host: options.host ?? "127.0.0.1" });
  socket.setNoDelay(true);
  const client = new Client(options, (bytes) => socket.write(bytes));
  let failure: NodeJS.ErrnoException | undefined;
  const over = new Promise<void>((resolve) => {
    socket.on("error", (error) => (failure = error));
    socket.once("close", () => resolve());
  });
  socket.once("connect", () => client.start());
  socket.on("data", (bytes: Buffer) => {
    client.receive(bytes);
    if (client.over) socket.end();
  });
  await over;
  if (failure !== undefined && failure.code !== "ECONNRESET" && failure.code !== "EPIPE") {
    throw failure;
  }
  return client.result();
}

class Client {
  readonly #options: HandMadeOptions;
  readonly #send: (bytes: Buffer) => void;
  readonly #key = generateKeyPairSync("x25519");
  readonly #transcript: Buffer[] = [];
  #received: Buffer = Buffer.alloc(0);
  #messages: Buffer = Buffer.alloc(0);
  #handshakeSecret: Buffer | undefined;
  #clientSecret: Buffer | undefined;
  #reader: Keys | undefined;
  #writer: Keys | undefined;
  #requestContext: Buffer | undefined;
  #done = false;
  #alpn: string | undefined;
  #alert: number | undefined;
  #tickets = 0;
  #closed = false;
  #data: Buffer[] = [];

  constructor(options: HandMadeOptions, send: (bytes: Buffer) => void) {
    this.#options = options;
    this.#send = send;
  }

  get over(): boolean {
    return this.#closed || this.#alert !== undefined;
  }

  result(): HandMadeResult {
    return {
      alpn: this.#alpn,
      certificateRequested: this.#requestContext !== undefined,
      alert: this.#alert,
      tickets: this.#tickets,
      data: Buffer.concat(this.#data),
      closed: this.#closed,
    };
  }

  start(): void {
    const { alpn, serverName } = this.#options;
    const raw = this.#key.publicKey.export({ format: "der", type: "spki" }).subarray(-32);
    const extensions = [
      extension(43, vector8(u16(0x0304))),
      extension(10, vector16(u16(0x001d))),
      extension(13, vector16(u16(0x0807), u16(0x0403), u16(0x0804))),
      extension(51, vector16(u16(0x001d), vector16(raw))),
      // Without it a server sends no tickets.
      extension(45, vector8(Buffer.from([1]))),
    ];
    if (alpn.length > 0) {
      extensions.push(
        extension(16, vector16(...alpn.map((name) => vector8(Buffer.from(name, "latin1"))))),
      );
    }
    if (serverName !== undefined) {
      extensions.push(
        extension(0, vector16(Buffer.from([0]), vector16(Buffer.from(serverName, "latin1")))),
      );
    }
    const hello = message(
      1,
      u16(0x0303),
      randomBytes(32),
      vector8(Buffer.alloc(0)),
      vector16(u16(0x1301)),
      vector8(Buffer.from([0])),
      vector16(...extensions),
    );
    this.#transcript.push(hello);
    this.#send(record(CONTENT.handshake, hello));
  }

  receive(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    for (;;) {
      if (this.#received.length < 5) return;
      const length = this.#received.readUInt16BE(3);
      if (this.#received.length < 5 + length) return;
      const header = this.#received.subarray(0, 5);
      const body = this.#received.subarray(5, 5 + length);
      this.#received = this.#received.subarray(5 + length);
      let type = header[0]!;
      let content: Buffer = body;
      if (type === CONTENT.changeCipherSpec) continue;
      if (type === CONTENT.data && this.#reader !== undefined) {
        const plain = this.#reader.open(header, body);
        let end = plain.length - 1;
        while (plain[end] === 0) end--;
        type = plain[end]!;
        content = plain.subarray(0, end);
      }
      if (type === CONTENT.alert) {
        if (content[1] === 0) this.#closed = true;
        else this.#alert = content[1];
      } else if (type === CONTENT.data) {
        this.#data.push(content);
      } else if (type === CONTENT.handshake) {
        this.#messages = Buffer.concat([this.#messages, content]);
        this.#readMessages();
      }
    }
  }

  #readMessages(): void {
    while (this.#messages.length >= 4) {
      const length = this.#messages.readUIntBE(1, 3);
      if (this.#messages.length < 4 + length) return;
      const whole = this.#messages.subarray(0, 4 + length);
      this.#messages = this.#messages.subarray(4 + length);
      this.#message(whole[0]!, whole.subarray(4), whole);
    }
  }

  #message(type: number, body: Buffer, whole: Buffer): void {
    if (this.#done) {
      if (type === 4) this.#tickets++;
      return;
    }
    this.#transcript.push(whole);
    if (type === 2) this.#serverHello(body);
    else if (type === 8) this.#encryptedExtensions(body);
    else if (type === 13) this.#requestContext = body.subarray(1, 1 + body[0]!);
    else if (type === 20) this.#finish();
  }

  #serverHello(body: Buffer): void {
    let at = 2 + 32;
    at += 1 + body[at]! + 2 + 1 + 2;
    let share: Buffer | undefined;
    while (at < body.length) {
      const type = body.readUInt16BE(at);
      const length = body.readUInt16BE(at + 2);
      if (type === 51) share = body.subarray(at + 8, at + 4 + length);
      at += 4 + length;
    }
    if (share === undefined) throw new Error("no key share in the ServerHello");
    const publicKey = createPublicKey({
      key: Buffer.concat([Buffer.from("302a300506032b656e032100", "hex"), share]),
      format: "der",
      type: "spki",
    });
    const shared = diffieHellman({ privateKey: this.#key.privateKey, publicKey });
    const zeros = Buffer.alloc(32);
    const early = extract(zeros, zeros);
    this.#handshakeSecret = extract(expandLabel(early, "derived", sha256(), 32), shared);
    const hash = this.#hash();
    this.#clientSecret = expandLabel(this.#handshakeSecret, "c hs traffic", hash, 32);
    this.#reader = new Keys(expandLabel(this.#handshakeSecret, "s hs traffic", hash, 32));
    this.#writer = new Keys(this.#clientSecret);
  }

  #encryptedExtensions(body: Buffer): void {
    for (let at = 2; at < body.length;) {
      const type = body.readUInt16BE(at);
      const length = body.readUInt16BE(at + 2);
      if (type === 16) this.#alpn = body.subarray(at + 7, at + 4 + length).toString("latin1");
      at += 4 + length;
    }
  }

  /** The server's Finished has come: our certificate, our signature, our Finished. */
  #finish(): void {
    const { certificate, sign, send } = this.#options;
    const zeros = Buffer.alloc(32);
    const main = extract(expandLabel(this.#handshakeSecret!, "derived", sha256(), 32), zeros);
    const hash = this.#hash();
    const reader = new Keys(expandLabel(main, "s ap traffic", hash, 32));
    const writer = new Keys(expandLabel(main, "c ap traffic", hash, 32));
    if (this.#requestContext !== undefined) {
      const list =
        certificate === undefined
          ? Buffer.alloc(0)
          : Buffer.concat([vector24(certificate), vector16()]);
      this.#write(message(11, vector8(this.#requestContext), vector24(list)));
      if (certificate !== undefined && sign !== undefined) {
        const content = Buffer.concat([
          Buffer.alloc(64, " "),
          Buffer.from("TLS 1.3, client CertificateVerify\0"),
          this.#hash(),
        ]);
        const { scheme, signature } = sign(content);
        this.#write(message(15, u16(scheme), vector16(signature)));
      }
    }
    const finishedKey = expandLabel(this.#clientSecret!, "finished", Buffer.alloc(0), 32);
    this.#write(message(20, createHmac("sha256", finishedKey).update(this.#hash()).digest()));
    this.#reader = reader;
    this.#writer = writer;
    this.#done = true;
    if (send !== undefined) this.#send(writer.seal(CONTENT.data, Buffer.from(send)));
  }

  #write(handshake: Buffer): void {
    this.#transcript.push(handshake);
    for (let at = 0; at < handshake.length; at += 16_000) {
      this.#send(this.#writer!.seal(CONTENT.handshake, handshake.subarray(at, at + 16_000)));
    }
  }

  #hash(): Buffer {
    return sha256(...this.#transcript);
  }
}

/** Keys of one direction (RFC 8446 §7.3), and how many records went through them. */
class Keys {
  readonly #key: Buffer;
  readonly #iv: Buffer;
  #count = 0;

  constructor(secret: Buffer) {
    this.#key = expandLabel(secret, "key", Buffer.alloc(0), 16);
    this.#iv = expandLabel(secret, "iv", Buffer.alloc(0), 12);
  }

  seal(type: number, content: Buffer): Buffer {
    const plain = Buffer.concat([content, Buffer.from([type])]);
    const header = Buffer.concat([Buffer.from([CONTENT.data, 3, 3]), u16(plain.length + 16)]);
    const cipher = createCipheriv("aes-128-gcm", this.#key, this.#nonce()).setAAD(header);
    return Buffer.concat([header, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  open(header: Buffer, body: Buffer): Buffer {
    const decipher = createDecipheriv("aes-128-gcm", this.#key, this.#nonce()).setAAD(header);
    decipher.setAuthTag(body.subarray(-16));
    return Buffer.concat([decipher.update(body.subarray(0, -16)), decipher.final()]);
  }

  #nonce(): Buffer {
    const nonce = Buffer.from(this.#iv);
    nonce.writeInt32BE(nonce.readInt32BE(8) ^ this.#count++, 8);
    return nonce;
  }
}

function extract(salt: Buffer, secret: Buffer): Buffer {
  return createHmac("sha256", salt).update(secret).digest();
}

/** HKDF-Expand-Label (RFC 8446 §7.1); at most 32 bytes, so a single round. */
function expandLabel(secret: Buffer, label: string, context: Buffer, length: number): Buffer {
  const info = Buffer.concat([
    u16(length),
    vector8(Buffer.from(`tls13 ${label}`)),
    vector8(context),
  ]);
  return createHmac("sha256", secret)
    .update(info)
    .update(Buffer.from([1]))
    .digest()
    .subarray(0, length);
}

function sha256(...parts: Buffer[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function record(type: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, 3, 1]), vector16(content)]);
}

function message(type: number, ...parts: Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from([type]), vector24(Buffer.concat(parts))]);
}

function extension(type: number, data: Buffer): Buffer {
  return Buffer.concat([u16(type), vector16(data)]);
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function vector8(data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([data.length]), data]);
}

function vector16(...parts: Uint8Array[]): Buffer {
  const data = Buffer.concat(parts);
  return Buffer.concat([u16(data.length), data]);
}

function vector24(data: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([data.length >> 16]), u16(data.length & 0xffff), data]);
}
