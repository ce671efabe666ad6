import { test } from "node:test";
import { fails } from "../test-config.ts";

test("roles have scopes alone, and are defined", () => {
  fails('[roles]\nadmin = ["@other"]', 2, 10, /cannot parse scope "@other"/);
  fails('[roles]\n"a b" = []', 2, 1, /cannot use role "a b"/);
  fails('[roles]\nadmin = []\n[peers.a]\nscopes = "@admn"', 4, 1, /did you mean "@admin"\?$/);
});
