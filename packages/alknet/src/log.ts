/**
 * The log of a running command: for people on a terminal, one JSON object a line elsewhere.
 *
 * @module
 */

import { styleText } from "node:util";
import type { Logger, LogLevel } from "@alknet/core/log";
import { printable } from "./terminal.ts";

export interface LogOptions {
  readonly level: LogLevel;
  /** Lines for people, in colour; else JSON. */
  readonly human: boolean;
  readonly write: (text: string) => void;
}

/** A logger whose level may be set at any time. */
export interface LevelledLogger extends Logger {
  level: string;
}

/** A pino logger. Imported here, and late: it takes 20 ms that `alknet ping` does not have. */
export async function createLogger({ level, human, write }: LogOptions): Promise<LevelledLogger> {
  const { pino, stdTimeFunctions } = await import("pino");
  const destination = { write: human ? (line: string) => write(humanLine(line)) : write };
  const logger: LevelledLogger = pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return logger;
}

const colours = { debug: "gray", info: "green", warn: "yellow", error: "red" } as const;

/** One line of JSON as people read it: `12:00:00 info  message key=value`, long texts on lines of their own. */
export function humanLine(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const name = String(level) as keyof typeof colours;
  const parts = [
    styleText("gray", String(time).slice(11, 19)),
    styleText(colours[name] ?? "white", name.padEnd(5)),
    printable(String(msg)),
  ];
  const below: string[] = [];
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue;
    const text = typeof value === "string" ? value : JSON.stringify(value);
    if (text.includes("\n"))
      below.push(...text.split("\n").map((each) => `    ${printable(each)}`));
    else parts.push(styleText("gray", `${key}=${printable(text)}`));
  }
  if (err !== undefined) {
    // Anything can be thrown.
    const { message, code, stack } = Object(err) as Partial<Record<string, unknown>>;
    const text = message ?? code ?? err;
    const shown = typeof text === "string" ? text : JSON.stringify(text);
    parts.push(styleText("gray", `error=${printable(shown)}`));
    // A fault of ours: whoever reports it needs to say where.
    if (name === "error" && typeof stack === "string") {
      below.push(...stack.split("\n").slice(1, 9).map(printable));
    }
  }
  return `${[parts.join(" "), ...below].join("\n")}\n`;
}
