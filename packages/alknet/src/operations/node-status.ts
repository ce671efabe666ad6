/**
 * `node/status`: what `alknet status` asks for.
 *
 * @module
 */

import { operation } from "@alknet/call/operation";
import * as z from "zod";
import { configStatus } from "../config-reload.ts";
import { LOOK } from "./node-access.ts";
import type { NodeSources } from "./node-sources.ts";
import { type NodeStatus, nodeStatusDocument } from "./status-document.ts";

export function nodeStatus({ node, configuration, vault }: NodeSources) {
  return [
    operation({
      name: "node/status",
      type: "query",
      description: "What this node is doing: where it listens, who is connected, what is wrong.",
      access: LOOK,
      input: z.strictObject({}),
      output: nodeStatusDocument,
      handler: async (_, { caller }) => ({
        ...forCaller(node.status(), caller?.id === "owner"),
        configuration: configStatus(configuration.state),
        vault: await vault.status(),
      }),
    }),
  ] as const;
}

/** What was typed into a command line may be a secret. */
function forCaller<Status extends { readonly ssh?: NodeStatus["ssh"] }>(
  status: Status,
  isOwner: boolean,
): Status {
  const { ssh: told } = status;
  if (isOwner || told === undefined) return status;
  const sessions = told.sessions.map((each) => ({ ...each, command: undefined }));
  return { ...status, ssh: { ...told, sessions } };
}
