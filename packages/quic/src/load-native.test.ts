import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { loadNative } from "./load-native.ts";

const platform = "plan9-mips";

/** A place without an engine, gone with the test. */
function emptyCheckout(): Disposable & { path: string; built: string } {
  const path = mkdtempSync(join(tmpdir(), "alknet-native-"));
  const built = join(path, "native/quic/build", `quic.${platform}.node`);
  return { path, built, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

test("loadNative() takes what was built in the checkout, before a package", () => {
  using checkout = emptyCheckout();
  mkdirSync(dirname(checkout.built), { recursive: true });
  writeFileSync(checkout.built, "");
  const loaded = loadNative({ checkout: checkout.path, platform, require: (id) => ({ id }) });
  assert.deepEqual(loaded, { id: checkout.built });
});

test("loadNative() takes the prebuilt package where nothing was built", () => {
  using checkout = emptyCheckout();
  const require = (id: string): unknown => ({ id });
  const wanted = { id: `@alknet/quic-${platform}` };
  assert.deepEqual(loadNative({ checkout: checkout.path, platform, require }), wanted);
  assert.deepEqual(loadNative({ platform, require }), wanted);
});

test("loadNative() takes the file it is told, and nothing else", () => {
  using checkout = emptyCheckout();
  const require = (id: string): unknown => ({ id });
  assert.throws(() => loadNative({ addon: checkout.built, platform, require }), {
    code: "NATIVE_MISSING",
    message: new RegExp(`tried ${checkout.built} \\(no such file\\); `),
  });
});

test("loadNative() says what it tried, and the command that builds it", () => {
  using checkout = emptyCheckout();
  mkdirSync(dirname(checkout.built), { recursive: true });
  writeFileSync(checkout.built, "not an addon");
  const require = createRequire(import.meta.url);
  assert.throws(
    () => loadNative({ checkout: checkout.path, platform, require }),
    (error: Error) => {
      assert.match(
        error.message,
        /^cannot load the QUIC engine for plan9-mips: tried .*plan9-mips\.node \(.+\), /,
      );
      assert.match(
        error.message,
        /then @alknet\/quic-plan9-mips \(not installed\); .*npm run build:native$/,
      );
      return true;
    },
  );
});
