/**
 * Checks of what a node keeps on disk: configuration, key, folder of the control socket.
 *
 * Nothing is made or changed: a doctor only looks.
 *
 * @module
 */

import { existsSync, lstatSync } from "node:fs";
import type { Config } from "@alknet/core/config";
import { loadConfig } from "@alknet/core/config-file";
import type { Home } from "@alknet/core/home";
import { explain } from "../explain.ts";
import { identitySource, knownFingerprint } from "../node-identity.ts";
import type { Finding } from "./finding.ts";

/** The configuration, when it is valid, and what there is to say about it. */
export async function checkConfig({
  config: path,
}: Home): Promise<{ config?: Config; finding: Finding }> {
  const check = "config";
  if (!existsSync(path)) {
    const text = `there is no ${path}: all is as it is by default`;
    return { config: await loadConfig(path), finding: { check, state: "ok", text } };
  }
  try {
    const config = await loadConfig(path);
    const peers = config.peers.length === 1 ? "1 peer" : `${config.peers.length} peers`;
    return { config, finding: { check, state: "ok", text: `${path}: ${peers}` } };
  } catch (error) {
    const { message } = explain(error);
    const fix = "correct that line; a running node goes on with what it had";
    return { finding: { check, state: "problem", text: message, fix } };
  }
}

/** The key: there, ours, and closed to others. */
export async function checkIdentity(
  home: Home,
  config: Pick<Config, "identity">,
): Promise<Finding> {
  const check = "key";
  const { kind, path } = identitySource(home, config);
  if (!existsSync(path)) {
    return { check, state: "ok", text: `there is no ${path} yet: alknet up or alknet id makes it` };
  }
  try {
    const fingerprint = await knownFingerprint(home, config);
    return { check, state: "ok", text: fingerprint ?? `in the ${kind}, which is locked` };
  } catch (error) {
    const { message, hint } = explain(error);
    return { check, state: "problem", text: message, fix: hint };
  }
}

/** The folder of the control socket: ours, and closed to others. */
export function checkRunFolder({ run }: Home): Finding | undefined {
  const stat = lstatSync(run, { throwIfNoEntry: false });
  if (stat === undefined || process.getuid === undefined) return undefined;
  const check = "control socket";
  if (!stat.isDirectory() || stat.uid !== process.getuid()) {
    const text = `${run} is not a folder of ours`;
    return { check, state: "problem", text, fix: `remove it: rm -r ${run}` };
  }
  if ((stat.mode & 0o077) === 0) return { check, state: "ok", text: run };
  const mode = (stat.mode & 0o777).toString(8).padStart(4, "0");
  const text = `others can enter ${run} (mode ${mode})`;
  return { check, state: "problem", text, fix: `chmod 700 ${run}` };
}
