/**
 * `revocation-postgres`: the same as `revocation`, from the commit of a program that writes into PostgreSQL.
 *
 * It starts a server of its own, as the tests do: root and the Debian package are needed.
 *
 * @module
 */

import { HERE, startPostgres } from "../interop/postgres.ts";
import { freePort } from "@alknet/core/testing-port";
import type { Bench } from "./harness.ts";
import { revocation } from "./revocation.ts";

export const bench: Bench = {
  async run(options) {
    const port = await freePort();
    await using _server = await startPostgres(HERE, port);
    const database = `postgres://postgres@localhost:${port}/postgres`;
    return await revocation(options, {
      name: "revocation-postgres",
      // Each round has a schema of its own, which its name tells.
      storeOf: async (round) => `${database}?application_name=round_${round}`,
      goals: { p50: 100, p99: 100 },
    });
  },
};
