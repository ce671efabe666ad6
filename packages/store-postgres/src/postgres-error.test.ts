import assert from "node:assert/strict";
import { test } from "node:test";
import { StoreError, type StoreErrorCode } from "@alknet/core/store-error";
import { postgresError } from "./postgres-error.ts";
import { SessionLost } from "./postgres-session.ts";
import { TlsRefused } from "./postgres-socket.ts";

const LABEL = "postgres://db:5432/alknet";

function failure(code: string, name: string): Error {
  return Object.assign(new Error("it said so"), { code, name });
}

test("postgresError() knows what a code of the server means for a store", () => {
  const cases: [string, StoreErrorCode][] = [
    ["08006", "STORE_UNAVAILABLE"],
    ["25006", "STORE_READ_ONLY"],
    ["28P01", "STORE_UNAVAILABLE"],
    ["28000", "STORE_UNAVAILABLE"],
    ["3D000", "STORE_UNAVAILABLE"],
    ["40P01", "STORE_BUSY"],
    ["40001", "STORE_BUSY"],
    ["42501", "STORE_READ_ONLY"],
    ["42P01", "STORE_CORRUPT"],
    ["53100", "STORE_FULL"],
    ["53300", "STORE_UNAVAILABLE"],
    ["55P03", "STORE_BUSY"],
    ["57014", "STORE_BUSY"],
    ["57P01", "STORE_UNAVAILABLE"],
    ["57P03", "STORE_UNAVAILABLE"],
    ["XX001", "STORE_CORRUPT"],
  ];
  for (const [code, expected] of cases) {
    const cause = failure(code, "PostgresError");
    const error = postgresError(cause, LABEL);
    assert.ok(error instanceof StoreError, code);
    assert.equal(error.code, expected, code);
    assert.equal(error.cause, cause);
    assert.ok(error.message.includes(LABEL) && error.message.includes("it said so"), error.message);
  }
});

test("postgresError() knows how the way to a server can fail", () => {
  const failures = [
    failure("ECONNREFUSED", "Error"),
    failure("ENOTFOUND", "Error"),
    failure("ENOENT", "Error"),
    failure("CONNECTION_CLOSED", "Error"),
    failure("DEPTH_ZERO_SELF_SIGNED_CERT", "Error"),
    failure("ERR_TLS_CERT_ALTNAME_INVALID", "Error"),
    new SessionLost("the server closed the connection"),
    new TlsRefused("the server does not speak TLS"),
  ];
  for (const each of failures) {
    const error = postgresError(each, LABEL);
    assert.ok(error instanceof StoreError);
    assert.equal(error.code, "STORE_UNAVAILABLE");
  }
  // Of a name with several addresses.
  const both = Object.assign(new AggregateError([new Error("one"), new Error("two")]), {
    code: "ECONNREFUSED",
  });
  assert.match((postgresError(both, LABEL) as Error).message, /: one, two$/);
});

test("postgresError() leaves alone what is not the database's, or is a constraint's", () => {
  const others = [
    new Error("mine"),
    new StoreError("STORE_EXISTS", "there already"),
    failure("DUPLICATE_FINGERPRINT", "PeerError"),
    failure("23505", "PostgresError"),
    "text",
    undefined,
  ];
  for (const each of others) assert.equal(postgresError(each, LABEL), each);
});
