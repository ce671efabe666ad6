/**
 * `npm run config-page`: write docs/configuration.md from the schema of the configuration.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { configPage } from "@alknet/core/config-page";

writeFileSync("docs/configuration.md", configPage());
