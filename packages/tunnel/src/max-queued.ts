/**
 * The mark up to which a flow is written to before its other side has to wait.
 *
 * @module
 */

/**
 * Bytes that may wait in front of one side before the other is no longer read.
 *
 * Node's own mark of 64 KiB is one read of a socket: every one then costs a pause, a resume and two
 * system calls.
 */
export const MAX_QUEUED: number = 256 * 1024;
