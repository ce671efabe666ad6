import assert from "node:assert/strict";
import { test } from "node:test";
import { SshClientError } from "@alknet/ssh/client-error";
import { explained } from "./ssh-reach.ts";

/** What is told of a login that the node refuses with `text`. */
function told(text: string): { message: string; hint: string | undefined } {
  const { message, hint } = explained(new SshClientError("LOGIN_REFUSED", text), "den") as Error & {
    hint: string | undefined;
  };
  return { message: message.replace("not allowed: den does not let this node in: ", ""), hint };
}

test("explained() has one hint for a login that is refused: what mends that", () => {
  assert.deepEqual(
    told(
      'peer "lap" has no account here: this node runs as root: alknet peers set lap --user NAME',
    ),
    {
      message: 'peer "lap" has no account here: this node runs as root',
      hint: "over there: alknet peers set lap --user NAME",
    },
  );
  assert.deepEqual(
    told('peer "lap" has no account here: this machine has no user "bob": useradd -m bob').hint,
    "over there: useradd -m bob",
  );
  assert.deepEqual(
    told(
      'peer "lap" has no account here: it is mapped to "bob", and this node runs as "ann": run it as root, or alknet peers set lap --user ann',
    ).hint,
    "over there: run it as root, or alknet peers set lap --user ann",
  );
  assert.deepEqual(
    told('peer "lap" may log in as "bob" here, not as "ann"').hint,
    "as whom this node may: alknet ssh den",
  );
  assert.deepEqual(told('peer "lap" has no right that SSH serves'), {
    message: 'peer "lap" has no right that SSH serves',
    hint: "over there: alknet peers grant lap ssh:shell",
  });
  // Of another server.
  assert.equal(
    told("the server does not let us in").hint,
    "over there: alknet peers grant NAME ssh:shell",
  );
});
