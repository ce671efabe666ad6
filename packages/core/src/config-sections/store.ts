/**
 * `[store]`: where peers and tokens are kept that are added while the node runs.
 *
 * Pure: no I/O, no clock.
 *
 * @module
 */

import * as z from "zod/mini";
import type { ConfigStore } from "../config.ts";
import { file, section, text } from "./forms.ts";
import { type ConfigPart, part } from "./part.ts";

export const store: ConfigPart<ConfigStore> = part(
  section("Where peers and tokens are kept that are added while the node runs.", {
    path: file(
      "The database, from this file's folder on if it does not begin with `/`. Without it: `alknet.db` in the data folder.",
      "/var/lib/alknet/alknet.db",
    ),
    url: z.optional(
      text(
        {
          description:
            "A PostgreSQL server in place of a file, for several nodes that share one store. Another machine has to speak TLS, with a certificate for its name.",
          examples: ["postgres://alknet@db.example/alknet"],
        },
        parseStoreUrl,
      ),
    ),
    password_file: file(
      "File with the password for `url`, and nothing else, from this file's folder on if it does not begin with `/`. It is read for each connection.",
      "/etc/alknet/store-password",
    ),
  }).check(({ value: { path, url, password_file: passwordFile }, issues, value }) => {
    const clash = (key: string, message: string): void =>
      void issues.push({ code: "custom", message, input: value, path: [key] });
    if (path !== undefined && url !== undefined) {
      clash("url", "cannot use url beside path: expected a server, or a file");
    }
    if (url === undefined && passwordFile !== undefined) {
      clash("password_file", "cannot use password_file: expected url beside it");
    }
  }),
  (store, fileAt) =>
    Object.freeze({
      path: fileAt(store.path),
      url: store.url,
      passwordFile: fileAt(store.password_file),
    }),
);

/** All but its password is for who connects to judge: what can be said here is whether it is the kind of thing. */
function parseStoreUrl(url: string): void {
  if (!/^postgres(ql)?:\/\/[^/]/.test(url) && !/^postgres(ql)?:\/\/\/[^/]/.test(url)) {
    throw new SyntaxError("cannot use url: expected postgres://user@host:port/database");
  }
  // Whoever may read this file, or is shown it, need not know the password.
  if (/^[^/]*\/\/[^/?]*:[^/?]*@/.test(url) || /[?&]password=/i.test(url)) {
    throw new SyntaxError(
      'cannot use a url with a password: expected it in a file, named by password_file = "…"',
    );
  }
}
