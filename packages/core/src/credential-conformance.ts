/**
 * What every store of credentials has to do, as tests; part of `identityStoreConformance`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import type { Reseal } from "./credential-store.ts";
import type { IdentityStore } from "./identity-store.ts";
import type { EncryptedData } from "./store-backend.ts";
import type { StoreFixture } from "./store-fixture.ts";

/** So many that a change of all of them is no longer told of by name. */
const MANY = 70;

/** What a vault might have sealed: the same for the same text. */
function sealed(text: string, key_version = 2): EncryptedData {
  const bytes = (part: string): Uint8Array =>
    Uint8Array.from(createHash("sha256").update(`${part} ${text} ${key_version}`).digest());
  return { key_version, salt: bytes("salt"), iv: bytes("iv").slice(0, 12), data: bytes("data") };
}

/** As a vault would: anew for version 3, and to be told from what else is of it. */
const resealed: Reseal = (provider, { data }) => sealed(`${provider} ${hex(data)}`, 3);

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** As plain data: databases give bytes in arrays of their own kinds. */
function shown({ key_version, salt, iv, data }: EncryptedData): object {
  return { key_version, salt: hex(salt), iv: hex(iv), data: hex(data) };
}

function all({ credentials }: IdentityStore): object[] {
  return credentials.list().map(({ provider, value }) => ({ provider, ...shown(value) }));
}

function versions({ credentials }: IdentityStore): Set<number> {
  return new Set(credentials.list().map(({ value }) => value.key_version));
}

async function actions(store: IdentityStore): Promise<string[]> {
  const entries = await store.audit({ limit: 1_000 });
  return entries.map(({ actor, action, subject }) => `${actor} ${action} ${subject}`);
}

/** Run the suite on the stores that `make` gives. */
export function credentialConformance(name: string, make: () => Promise<StoreFixture>): void {
  describe(`credential store on ${name}`, { concurrency: false }, () => {
    test("credentials come back byte for byte, also with an empty salt, here and elsewhere", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      const empty = new Uint8Array(0);
      const every = Uint8Array.from({ length: 256 }, (_, at) => at);
      const values: [string, EncryptedData][] = [
        ["github", { key_version: 3, salt: empty, iv: every.slice(0, 12), data: every }],
        ["Aws/eu-1:key_2.x", { key_version: 0, salt: every, iv: empty, data: empty }],
        ["zero", { key_version: 2, salt: new Uint8Array(32), iv: empty, data: new Uint8Array(1) }],
        ["large", { ...sealed("large"), salt: empty, data: new Uint8Array(65_524).fill(0xff) }],
        ["last", { ...sealed("last"), key_version: Number.MAX_SAFE_INTEGER }],
      ];
      for (const [provider, value] of values) {
        assert.equal(here.credentials.get(provider), undefined);
        const { change } = await here.credentials.put(provider, value);
        assert.deepEqual(shown(here.credentials.get(provider)!), shown(value));
        await there.effectOf(change);
        assert.deepEqual(shown(there.credentials.get(provider)!), shown(value));
      }
      await using later = await fixture.open();
      const expected = values.toSorted(([a], [b]) => (a < b ? -1 : 1));
      for (const store of [here, there, later]) {
        assert.deepEqual(
          all(store),
          expected.map(([provider, value]) => ({ provider, ...shown(value) })),
        );
        assert.deepEqual(store.problems, []);
      }
    });

    test("what a caller does to its arrays later changes nothing here", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      const value = sealed("a");
      await store.credentials.put("github", value);
      for (const bytes of [value.salt, value.iv, value.data]) bytes.fill(0);
      await store.reload();
      assert.deepEqual(shown(store.credentials.get("github")!), shown(sealed("a")));
    });

    test("one is replaced and removed, and the others stay; what changes nothing is not noted", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      await here.credentials.put("github", sealed("a"), { actor: "den" });
      await here.credentials.put("gitlab", sealed("b"));
      await here.credentials.put("github", sealed("c"));
      assert.equal((await here.credentials.put("github", sealed("c"))).change, 0);
      assert.equal((await here.credentials.delete("nobody")).change, 0);
      assert.deepEqual(shown(here.credentials.get("github")!), shown(sealed("c")));
      const { change } = await here.credentials.delete("github");
      assert.equal(here.credentials.get("github"), undefined);
      await there.effectOf(change);
      for (const store of [here, there]) {
        assert.deepEqual(all(store), [{ provider: "gitlab", ...shown(sealed("b")) }]);
      }
      assert.deepEqual(await actions(here), [
        "den credential.put github",
        "owner credential.put gitlab",
        "owner credential.put github",
        "owner credential.delete github",
      ]);
    });

    test("the audit has nothing of what is sealed", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      await store.credentials.put("github", sealed("a"));
      await store.credentials.reseal(3, resealed);
      await store.credentials.delete("github");
      const entries = await store.audit();
      assert.deepEqual(
        entries.map(({ action, detail }) => [action, detail]),
        [
          ["credential.put", { key_version: 2 }],
          ["credential.reseal", { from: 2, to: 3 }],
          ["credential.delete", {}],
        ],
      );
    });

    test("bad ones are refused by name, and nothing changes", async () => {
      await using fixture = await make();
      await using store = await fixture.open();
      const good = sealed("a");
      for (const provider of ["", "a b", "-x", "x".repeat(129), "'; DROP TABLE credentials; --"]) {
        await assert.rejects(store.credentials.put(provider, good), { name: "TypeError" });
        // Nobody has it, and to look for it is no error.
        assert.equal(store.credentials.get(provider), undefined);
        await store.credentials.delete(provider);
      }
      for (const value of [
        { ...good, data: new Uint8Array(65_536) },
        { ...good, key_version: -1 },
        { ...good, key_version: 1.5 },
        { ...good, key_version: Number.NaN },
        { ...good, key_version: 2 ** 53 },
      ]) {
        await assert.rejects(store.credentials.put("github", value), { name: "RangeError" });
      }
      await store.reload();
      assert.deepEqual(all(store), []);
      assert.deepEqual(await store.audit(), []);
    });

    test("all that is old is sealed anew at once: nobody sees some of it old and some new", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      const providers = Array.from({ length: MANY }, (_, at) => `p${100 + at}`);
      for (const provider of providers) await here.credentials.put(provider, sealed(provider));
      await here.credentials.put("newer", sealed("newer", 4));
      await there.reload();

      const looks = new AbortController();
      const looking = (async () => {
        while (!looks.signal.aborted) {
          for (const store of [here, there]) {
            const old = [...versions(store)].filter((version) => version !== 4);
            assert.equal(old.length, 1, "half of them");
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      const { change, providers: done } = await here.credentials.reseal(3, resealed, {
        actor: "den",
      });
      assert.deepEqual(done, providers);
      assert.deepEqual(versions(here), new Set([3, 4]));
      await there.effectOf(change);
      assert.deepEqual(versions(there), new Set([3, 4]));
      looks.abort();
      await looking;

      for (const store of [here, there]) {
        for (const provider of providers) {
          const expected = await resealed(provider, sealed(provider));
          assert.deepEqual(shown(store.credentials.get(provider)!), shown(expected));
        }
        assert.deepEqual(shown(store.credentials.get("newer")!), shown(sealed("newer", 4)));
      }
      const noted = (await actions(here)).filter((line) => line.startsWith("den "));
      assert.deepEqual(
        noted.toSorted(),
        providers.map((it) => `den credential.reseal ${it}`),
      );
      // Again: there is nothing to do.
      const never: Reseal = () => assert.fail("nothing is old");
      const again = await there.credentials.reseal(3, never);
      assert.deepEqual([again.change, again.providers], [0, []]);
    });

    test("if one cannot be sealed anew, none is", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      for (const provider of ["a", "b", "c"])
        await here.credentials.put(provider, sealed(provider));
      const before = all(here);
      const failure = new Error("it does not open");
      const failing: Reseal = (provider, value) => {
        if (provider === "b") throw failure;
        return resealed(provider, value);
      };
      await assert.rejects(here.credentials.reseal(3, failing), (error) => error === failure);
      const tooOld: Reseal = (provider) => sealed(provider, 2);
      await assert.rejects(here.credentials.reseal(3, tooOld), {
        name: "RangeError",
        message: /cannot reseal credential [abc]: sealed for version 2, expected 3 or above/,
      });
      const tooLarge: Reseal = (provider, value) => ({
        ...sealed(provider, 3),
        data: new Uint8Array(value.data.length + 65_536),
      });
      await assert.rejects(here.credentials.reseal(3, tooLarge), { name: "RangeError" });
      for (const store of [here, there]) {
        await store.reload();
        assert.deepEqual(all(store), before);
      }
      assert.equal((await here.audit()).length, 3);
    });

    test("what others change while all is being sealed anew is as they left it, sealed anew", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      for (const provider of ["changed", "kept", "removed"]) {
        await here.credentials.put(provider, sealed(provider));
      }
      const meanwhile = async (): Promise<void> => {
        await there.credentials.put("changed", sealed("by another"));
        await there.credentials.put("added", sealed("added"));
        await there.credentials.delete("removed");
      };
      let isFirst = true;
      const { providers } = await here.credentials.reseal(3, async (provider, value) => {
        if (isFirst) await meanwhile();
        isFirst = false;
        return await resealed(provider, value);
      });
      assert.deepEqual(providers, ["added", "changed", "kept"]);
      const expected = [
        ["added", sealed("added")],
        ["changed", sealed("by another")],
        ["kept", sealed("kept")],
      ] as const;
      for (const store of [here, there]) {
        await store.reload();
        const found = expected.map(async ([provider, value]) => ({
          provider,
          ...shown(await resealed(provider, value)),
        }));
        assert.deepEqual(all(store), await Promise.all(found));
      }
    });

    test("of two who seal all anew at once one does, and no write is lost between them", async () => {
      await using fixture = await make();
      await using here = await fixture.open();
      await using there = await fixture.open();
      const providers = Array.from({ length: 10 }, (_, at) => `p${at}`);
      for (const provider of providers) await here.credentials.put(provider, sealed(provider));
      await there.reload();
      const [first, second] = await Promise.all([
        here.credentials.reseal(3, resealed),
        there.credentials.reseal(3, resealed),
        here.credentials.put("here", sealed("here", 3)),
        there.credentials.put("there", sealed("there", 3)),
      ]);
      assert.deepEqual([...first.providers, ...second.providers].toSorted(), providers);
      for (const store of [here, there]) {
        await store.reload();
        assert.deepEqual(
          all(store).map((it) => (it as { provider: string }).provider),
          ["here", ...providers, "there"],
        );
        for (const provider of providers) {
          const once = await resealed(provider, sealed(provider));
          assert.deepEqual(shown(store.credentials.get(provider)!), shown(once));
        }
      }
    });
  });
}
