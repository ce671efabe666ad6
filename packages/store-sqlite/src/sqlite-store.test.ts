import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { identityStoreConformance } from "@alknet/core/conformance";
import { openSqliteStore } from "./sqlite-store.ts";

identityStoreConformance("SQLite", async () => {
  const folder = await mkdtemp(join(tmpdir(), "alknet-store-"));
  const path = join(folder, "alknet.db");
  return {
    open: (options) => openSqliteStore({ path, ...options }),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
});
