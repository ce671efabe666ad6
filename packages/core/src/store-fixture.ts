/**
 * What the conformance suites of stores are run on.
 *
 * @module
 */

import type { IdentityStore, IdentityStoreOptions } from "./identity-store.ts";

/** An empty database, and ways to it. Disposing removes it; the stores are closed before. */
export interface StoreFixture extends AsyncDisposable {
  /** A store on the database, as another process would have it: with connections of its own. */
  open(options?: IdentityStoreOptions): Promise<IdentityStore>;
}
