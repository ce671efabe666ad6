/**
 * Keys and certificates for one run, in a folder that goes with it.
 *
 * @module
 */

import "reflect-metadata";
import { generateKeyPairSync, webcrypto } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";

/** A certificate and its key, in memory and as files. */
export interface Identity {
  /** DER. */
  certificate: Uint8Array;
  /** PKCS #8, DER. */
  key: Uint8Array;
  certificateFile: string;
  keyFile: string;
  certificatePem: string;
  keyPem: string;
}

/** What the ends of a bench show each other. Disposing it removes the files. */
export interface Pki extends Disposable {
  readonly folder: string;
  /** Ed25519, self-signed, as Alknet's nodes have them. */
  readonly server: Identity;
  readonly client: Identity;
  /** The same for `localhost`, signed by {@linkcode Pki.root}: for peers that know no pins. */
  readonly named: Identity;
  /** PEM. */
  readonly root: string;
}

/** Make a fresh set. */
export async function makePki(): Promise<Pki> {
  const folder = mkdtempSync(join(tmpdir(), "alknet-bench-"));
  const root = keyPair();
  const rootCertificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=bench root",
    keys: root,
    signingAlgorithm: ED25519,
    notAfter: inOneDay(),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  });

  const identity = async (name: string, issuer?: typeof root): Promise<Identity> => {
    const keys = keyPair();
    const common = {
      notAfter: inOneDay(),
      signingAlgorithm: ED25519,
      extensions: [
        new x509.BasicConstraintsExtension(false),
        new x509.SubjectAlternativeNameExtension([{ type: "dns", value: "localhost" }]),
      ],
    };
    const certificate =
      issuer === undefined
        ? await x509.X509CertificateGenerator.createSelfSigned({
            ...common,
            name: `CN=${name}`,
            keys,
          })
        : await x509.X509CertificateGenerator.create({
            ...common,
            subject: `CN=${name}`,
            issuer: rootCertificate.subject,
            publicKey: keys.publicKey,
            signingKey: issuer.privateKey,
          });
    const pkcs8 = new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
    const made: Identity = {
      certificate: new Uint8Array(certificate.rawData),
      key: pkcs8,
      certificateFile: join(folder, `${name}.certificate`),
      keyFile: join(folder, `${name}.key`),
      certificatePem: certificate.toString("pem"),
      keyPem: x509.PemConverter.encode(pkcs8, "PRIVATE KEY"),
    };
    writeFileSync(made.certificateFile, made.certificate);
    writeFileSync(made.keyFile, made.key, { mode: 0o600 });
    return made;
  };

  return {
    folder,
    server: await identity("server"),
    client: await identity("client"),
    named: await identity("localhost", root),
    root: rootCertificate.toString("pem"),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

const ED25519 = { name: "Ed25519" };
const DAY = 86_400_000;

const inOneDay = (): Date => new Date(Date.now() + DAY);

function keyPair(): webcrypto.CryptoKeyPair {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  return {
    publicKey: publicKey.toCryptoKey("Ed25519", true, ["verify"]),
    privateKey: privateKey.toCryptoKey("Ed25519", true, ["sign"]),
  };
}
