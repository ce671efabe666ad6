/**
 * How many values JSON text has, before it is parsed: each costs memory and time far beyond its bytes.
 *
 * 64 MiB of `{},` are 22 million objects: 1.4 GB, and ten seconds in which nothing else goes on.
 *
 * @module
 */

/** Most values in a frame: about 140 MB, and 60 ms. */
export const MAX_VALUES: number = 2 ** 20;

/**
 * Whether `json` has more than {@linkcode MAX_VALUES} values, give or take brackets that are empty. What is within
 * strings does not count. Text of fewer than twice as many characters is not looked at: it cannot.
 */
export function hasTooManyValues(json: string): boolean {
  if (json.length < 2 * MAX_VALUES) return false;
  let values = 1;
  for (let at = 0; at < json.length; at++) {
    switch (json.charCodeAt(at)) {
      case QUOTE:
        at = endOfString(json, at);
        break;
      case COMMA:
      case BRACKET:
      case BRACE:
        if (++values > MAX_VALUES) return true;
    }
  }
  return false;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const BRACE = 0x7b;

/** Where the string that begins at `start` ends. */
function endOfString(json: string, start: number): number {
  let end = start;
  do {
    end = json.indexOf('"', end + 1);
    if (end === -1) return json.length;
  } while (isEscaped(json, end));
  return end;
}

function isEscaped(json: string, at: number): boolean {
  let first = at;
  while (json.charCodeAt(first - 1) === BACKSLASH) first--;
  return (at - first) % 2 === 1;
}
