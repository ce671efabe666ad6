/**
 * Opcodes of the modes of a terminal (RFC 4254 §8, RFC 8160 for `iutf8`), by their names in `stty`.
 *
 * @module
 */

/** Control characters. */
export const CHARACTER_OPCODES: Readonly<Record<string, number>> = {
  intr: 1,
  quit: 2,
  erase: 3,
  kill: 4,
  eof: 5,
  eol: 6,
  eol2: 7,
  start: 8,
  stop: 9,
  susp: 10,
  dsusp: 11,
  rprnt: 12,
  reprint: 12,
  werase: 13,
  lnext: 14,
  swtch: 16,
  status: 17,
  discard: 18,
};

/** What is on or off. */
export const FLAG_OPCODES: Readonly<Record<string, number>> = {
  ...{ ignpar: 30, parmrk: 31, inpck: 32, istrip: 33, inlcr: 34, igncr: 35, icrnl: 36, iuclc: 37 },
  ...{ ixon: 38, ixany: 39, ixoff: 40, imaxbel: 41, iutf8: 42 },
  ...{ isig: 50, icanon: 51, xcase: 52, echo: 53, echoe: 54, echok: 55, echonl: 56, noflsh: 57 },
  ...{ tostop: 58, iexten: 59, echoctl: 60, echoke: 61, pendin: 62 },
  ...{ opost: 70, olcuc: 71, onlcr: 72, ocrnl: 73, onocr: 74, onlret: 75 },
  ...{ cs7: 90, cs8: 91, parenb: 92, parodd: 93 },
};

/** The value of a control character that is none. */
export const DISABLED: number = 255;
/** What is behind the last mode. */
export const MODES_END: number = 0;
