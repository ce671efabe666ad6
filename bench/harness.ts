/**
 * What all benches share: rounds in which everyone runs in turn, medians, and the form of a result.
 *
 * @module
 */

/** How to run a bench. */
export interface RunOptions {
  /** End within 40 seconds, at the price of more noise. */
  quick: boolean;
  /** How long the rounds may take in all, in milliseconds; they end early rather than late. */
  budget: number;
  /** Tell a person what is going on. Results are printed by the caller. */
  say: (line: string) => void;
}

/** A bench file exports one of these, as `bench`. */
export interface Bench {
  run(options: RunOptions): Promise<Outcome>;
}

/** One figure of ours beside one of a peer's. */
export interface Comparison {
  name: string;
  /** Median of our rounds. */
  ours: number;
  /** Median of the peer's. */
  peer: number;
  peer_name: string;
  unit: string;
  /** Above 1: we are better, whether more or less of the unit is good. */
  ratio: number;
  /** Rounds on each side. */
  runs: number;
  /** The ratio that we want at least. */
  goal?: number | undefined;
}

/** What a bench found: first what it is about, then variants of it, then plain facts. */
export interface Outcome {
  main: Comparison;
  variants?: readonly Comparison[] | undefined;
  /** Figures without a peer, with the unit in their names. */
  facts?: Readonly<Record<string, number | string>> | undefined;
}

/** Named figures, one per round. */
export type Samples<Name extends string> = Readonly<Record<Name, readonly number[]>>;

/**
 * Let everyone run once in each round, in turn, every other round in reverse.
 *
 * A machine's speed drifts: what runs in the same round has had the same machine, and nobody
 * always comes first.
 */
export async function takeTurns<Name extends string>(
  rounds: number,
  contestants: Readonly<Record<Name, () => Promise<number>>>,
  { say, budget }: Pick<RunOptions, "say" | "budget">,
): Promise<Samples<Name>> {
  const begin = performance.now();
  // Object.keys() forgets the names' type.
  const names = Object.keys(contestants) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<
    Name,
    number[]
  >;
  for (let round = 0; round < rounds; round += 1) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      samples[name].push(await contestants[name]());
    }
    const line = names.map((name) => `${name} ${readable(samples[name].at(-1) ?? Number.NaN)}`);
    say(`round ${round + 1}/${rounds}: ${line.join(", ")}`);
    // A busy machine makes for fewer rounds, not for a longer run.
    const spent = performance.now() - begin;
    if (spent + spent / (round + 1) > budget) break;
  }
  return samples;
}

/** How two sides are set against each other. */
export interface ComparisonOptions {
  peerName: string;
  unit: string;
  /** Which of two figures is the better one. @default "higher" */
  better?: "higher" | "lower" | undefined;
  goal?: number | undefined;
}

/** Set medians against each other. */
export function compare(
  name: string,
  ours: readonly number[],
  peer: readonly number[],
  options: ComparisonOptions,
): Comparison {
  const [mine, theirs] = [median(ours), median(peer)];
  const ratio = options.better === "lower" ? theirs / mine : mine / theirs;
  return {
    name,
    ours: rounded(mine),
    peer: rounded(theirs),
    peer_name: options.peerName,
    unit: options.unit,
    ratio: rounded(ratio),
    runs: ours.length,
    ...(options.goal === undefined ? {} : { goal: options.goal }),
  };
}

/** The middle one, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length >> 1;
  const high = sorted[middle];
  if (high === undefined) throw new RangeError("cannot take the median of no values");
  const low = sorted[middle - 1] ?? high;
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}

/** The last line of a bench's output. */
export function resultLine({ main, variants, facts }: Outcome): string {
  return JSON.stringify({
    ...main,
    ...(variants === undefined ? {} : { variants }),
    ...(facts === undefined ? {} : { facts }),
  });
}

/** The same for people. */
export function resultText({ main, variants = [], facts = {} }: Outcome): string {
  const rows = [main, ...variants].map((row) => {
    const goal =
      row.goal === undefined
        ? ""
        : `, goal ${row.goal}: ${row.ratio >= row.goal ? "met" : "MISSED"}`;
    return `${row.name}: ${readable(row.ours)} ${row.unit}, ${row.peer_name} ${readable(row.peer)}: ratio ${row.ratio.toFixed(2)} (${row.runs} rounds${goal})`;
  });
  for (const [name, value] of Object.entries(facts)) {
    rows.push(`  ${name}: ${typeof value === "number" ? readable(value) : value}`);
  }
  return rows.join("\n");
}

/** Four digits are more than any of this is exact to. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

function readable(value: number): string {
  return Math.abs(value) >= 1_000
    ? Math.round(value).toLocaleString("en")
    : String(Number(value.toPrecision(3)));
}
