import { identityStoreConformance } from "./conformance.ts";
import { MemoryDatabase } from "./memory-store.ts";

identityStoreConformance("memory", async () => {
  const database = new MemoryDatabase();
  return {
    open: (options) => database.open(options),
    async [Symbol.asyncDispose]() {},
  };
});
