/**
 * Asking the person at the screen whether a key may be used, by the program of `SSH_ASKPASS`, as ssh-agent does.
 *
 * @module
 */

import { spawn } from "node:child_process";
import type { AgentUse } from "@alknet/vault/ssh-agent";
import { printable } from "./terminal.ts";

/** Questions that wait for the one on the screen; more are a no. */
const MAX_WAITING = 8;
/** Longest answer that is looked at, in characters. */
const MAX_ANSWER = 64;

export interface Askpass {
  /**
   * Ask, one question at a time. `signal` takes it back.
   *
   * @returns true for a yes: the program's exit status 0, and "yes" or nothing as its answer.
   */
  ask(question: string, signal: AbortSignal): Promise<boolean>;
}

/**
 * @param env where `SSH_ASKPASS` and `DISPLAY` are.
 * @param onproblem hears why nobody could be asked.
 */
export function createAskpass(
  env: Readonly<Record<string, string | undefined>>,
  onproblem: (problem: string) => void,
): Askpass {
  let waiting = 0;
  let turn: Promise<unknown> = Promise.resolve();

  async function askNow(question: string, signal: AbortSignal): Promise<boolean> {
    const program = env["SSH_ASKPASS"];
    if (!program) {
      onproblem(
        "a key wants each use to be confirmed, and SSH_ASKPASS names no program to ask with",
      );
      return false;
    }
    if (signal.aborted) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const child = spawn(program, [question], {
      env: { ...env, SSH_ASKPASS_PROMPT: "confirm" },
      stdio: ["ignore", "pipe", "ignore"],
      signal,
    });
    let answer = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      answer = (answer + text).slice(0, MAX_ANSWER);
    });
    child.once("error", (error) => {
      if (!signal.aborted) onproblem(`cannot ask with ${program}: ${error.message}`);
      resolve(false);
    });
    child.once("close", (status) => {
      resolve(status === 0 && /^(yes)?$/i.test(answer.split("\n")[0]!.trim()));
    });
    return await promise;
  }

  return {
    async ask(question, signal) {
      if (waiting === MAX_WAITING) return false;
      waiting += 1;
      const mine = turn.then(() => askNow(question, signal));
      turn = mine.catch(() => {});
      try {
        return await mine;
      } finally {
        waiting -= 1;
      }
    },
  };
}

/** What a person is asked before a key is used. */
export function useQuestion({ key, fingerprint, data }: AgentUse): string {
  const what =
    data.kind === "sshsig"
      ? `sign for ${quoted(data.namespace)}`
      : `log in as ${quoted(data.user)}`;
  return `Allow use of key ${quoted(key.comment)} to ${what}?\nKey fingerprint ${fingerprint}.`;
}

/** What a person is asked before a key may be used without a question. */
export function silenceQuestion(name: string): string {
  return `Allow use of SSH key ${quoted(name)} without a question from now on?`;
}

/** Longest text that is quoted, in characters: the fingerprint below it has to stay on the screen. */
const MAX_QUOTED = 100;

/** The other side chose these words: no lines of its own, no marks that turn the writing round, no end to them. */
function quoted(text: string): string {
  const shown = text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text;
  return printable(JSON.stringify(shown));
}
