/**
 * What an endpoint shows and asks for in TLS, for each kind of ALPN, over TCP and over QUIC.
 *
 * @module
 */

import { TlsServerConfig } from "@alknet/quic/tls";
import type { SecureContext } from "node:tls";
import { webCertificate } from "./certificate.ts";
import type { Clock } from "./clock.ts";
import type { ProtocolHandler } from "./handler.ts";
import type { NodeIdentity } from "./identity-file.ts";
import { nodeContext, type TlsIdentity, webContext } from "./tls-context.ts";

/** Made when it is first asked for. */
export type ServerTls = Readonly<
  Record<
    ProtocolHandler["tls"],
    {
      /** Over TCP. */
      context(): SecureContext;
      /** Over QUIC. */
      config(): TlsServerConfig;
    }
  >
>;

/** @param web What web ALPNs show; without it, a self-made certificate for `localhost`. */
export function serverTls(
  identity: NodeIdentity,
  web: TlsIdentity | undefined,
  clock: Clock,
): ServerTls {
  const webIdentity = lazy(() => web ?? webCertificate(["localhost"], { clock }));
  const context = lazy(() => nodeContext(identity));
  const own = {
    certificates: [identity.certificate],
    privateKey: identity.privateKeyDer,
    clientCertificate: "request",
  } as const;
  return {
    node: { context, config: lazy(() => new TlsServerConfig(own)) },
    // node:tls has no raw keys: over TCP there is the leaf alone.
    raw: { context, config: lazy(() => new TlsServerConfig({ ...own, rawPublicKeys: true })) },
    web: {
      context: lazy(() => webContext(webIdentity())),
      config: lazy(() => {
        const { certificate, privateKey } = webIdentity();
        return new TlsServerConfig({
          certificates: [certificate],
          privateKey: privateKey.export({ format: "der", type: "pkcs8" }),
        });
      }),
    },
  };
}

function lazy<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
