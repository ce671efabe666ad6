/*
 * link: a network link between two network namespaces, made of a TUN device in each.
 *
 * Each direction is, in this order: a token bucket with a bounded drop-tail queue (rate, burst,
 * queue), random loss (seeded), and a fixed one-way delay. Packets are whole IP packets; TUN
 * without virtio headers means that no offload survives: what one side sends as one segmented
 * buffer passes here as single packets of at most the MTU, each of which may be lost.
 *
 * Why not tc: many kernels are built without netem and fq.
 *
 * Linux only; needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN for setns). Prints "ready" when both devices
 * are up, and the counters as one line of JSON when it ends (SIGTERM, SIGINT, or end of input with
 * --watch-stdin) and at each SIGUSR1.
 *
 * Exit codes: 0 ended as asked, 1 a system call failed, 2 wrong arguments.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  MTU_MIN = 68, /* RFC 791: what every IPv4 host must forward */
  MTU_MAX = 65535,
  BATCH = 64,              /* packets read from one side before the other gets its turn */
  DEVICE_QUEUE = 16384,    /* packets the kernel keeps for us: losses must be ours, counted, not the device's */
  RECORD_ALIGN = 32,
};
#define NS_PER_S INT64_C(1000000000)
#define MEMORY_UNLIMITED_RATE ((uint64_t)256 << 20)
#define MEMORY_MAX ((uint64_t)4 << 30)

/* ---- arguments ---------------------------------------------------------------------------- */

/* One direction's shape. Zero means "no limit" for rate and both queues. */
struct shape {
  int64_t delay_ns;
  uint32_t loss_ppm;
  uint64_t rate;          /* bits per second of IP packets */
  uint64_t burst;         /* bytes; 0: one MTU */
  uint64_t queue_bytes;   /* 0: not given */
  uint64_t queue_packets; /* 0: not limited in packets */
};

struct options {
  const char *namespace[2];
  const char *device;
  struct shape shape[2]; /* 0: a to b, 1: b to a */
  uint32_t mtu;
  uint64_t seed;
  int64_t tick_ns;
  bool watch_stdin;
};

static void fail(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
static void fail(int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("link: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(code);
}

struct unit {
  const char *name;
  double factor;
};
static const struct unit TIME_UNITS[] = {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {0}};
static const struct unit LOSS_UNITS[] = {{"%", 1e4}, {"ppm", 1}, {0}};
static const struct unit RATE_UNITS[] = {{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {0}};
static const struct unit SIZE_UNITS[] = {{"", 1}, {"k", 1024}, {"m", 1048576}, {"g", 1073741824}, {0}};
static const struct unit PLAIN[] = {{"", 1}, {0}};

/* Parse `text` as a decimal number and one of `units`; anything else ends the program. */
static double quantity(const char *option, const char *text, const struct unit *units, double low, double high) {
  char *end;
  errno = 0;
  double value = text[0] >= '0' && text[0] <= '9' ? strtod(text, &end) : (end = (char *)text, 0);
  const struct unit *unit = units;
  if (end != text && errno == 0)
    while (unit->name && strcmp(unit->name, end) != 0) unit++;
  if (end == text || errno != 0 || !unit->name) {
    char names[64] = "";
    for (unit = units; unit->name; unit++) {
      strcat(names, *names ? ", " : "");
      strcat(names, *unit->name ? unit->name : "none");
    }
    fail(2, "cannot read %s \"%.40s\": expected a number and a unit (%s)", option, text, names);
  }
  value *= unit->factor;
  if (units == PLAIN && value != (double)(uint64_t)value) fail(2, "cannot use %s \"%.40s\": expected a whole number", option, text);
  if (!(value >= low && value <= high))
    fail(2, "cannot use %s \"%.40s\": expected %.0f to %.0f%s", option, text, low / unit->factor, high / unit->factor, unit->name);
  return value;
}

static const char *USAGE =
    "usage: link --a NAMESPACE --b NAMESPACE [options]\n"
    "  --device NAME        interface made in both namespaces [link0]\n"
    "  --mtu BYTES          68 to 65535 [1500]\n"
    "  --delay TIME         one way, e.g. 50ms, 500us [0us]\n"
    "  --loss SHARE         e.g. 0.1% or 1000ppm [0%]\n"
    "  --rate RATE          e.g. 1gbit, 100mbit, 0bit for no limit [0bit]\n"
    "  --burst SIZE         depth of the token bucket, e.g. 64k [one MTU]\n"
    "  --queue-bytes SIZE   waiting for the rate, then dropped [twice rate x round trip, at least 64 MTU]\n"
    "  --queue-packets N    the same in packets; 0 for no limit [0]\n"
    "  --seed N             of the losses [1]\n"
    "  --tick TIME          rest this long at each wake-up: fewer of them, at the price of as much delay [0us]\n"
    "  --watch-stdin        end when standard input ends\n"
    "delay, loss, rate, burst, queue-bytes and queue-packets apply to both directions;\n"
    "with -ab or -ba behind the name (--rate-ab) to that one only.\n";

static struct options parse(int count, char **words) {
  struct options options = {.device = "link0", .mtu = 1500, .seed = 1};
  for (int at = 1; at < count; at++) {
    const char *option = words[at];
    if (strcmp(option, "--help") == 0) {
      fputs(USAGE, stdout);
      exit(0);
    }
    if (strcmp(option, "--watch-stdin") == 0) {
      options.watch_stdin = true;
      continue;
    }
    if (at + 1 == count) fail(2, "cannot read %s: expected a value behind it, or it is unknown; see --help", option);
    const char *text = words[++at];
    if (strcmp(option, "--a") == 0) options.namespace[0] = text;
    else if (strcmp(option, "--b") == 0) options.namespace[1] = text;
    else if (strcmp(option, "--device") == 0) {
      if (strlen(text) < 1 || strlen(text) >= IFNAMSIZ || strchr(text, '/'))
        fail(2, "cannot use --device \"%.40s\": expected 1 to %d characters without \"/\"", text, IFNAMSIZ - 1);
      options.device = text;
    } else if (strcmp(option, "--mtu") == 0) options.mtu = (uint32_t)quantity(option, text, PLAIN, MTU_MIN, MTU_MAX);
    else if (strcmp(option, "--seed") == 0) options.seed = (uint64_t)quantity(option, text, PLAIN, 0, 9007199254740991.0);
    else if (strcmp(option, "--tick") == 0) options.tick_ns = (int64_t)quantity(option, text, TIME_UNITS, 0, 1e8);
    else {
      /* The rest may name one direction. */
      size_t length = strlen(option);
      bool both = true;
      int only = 0;
      if (length > 3 && strcmp(option + length - 3, "-ab") == 0) both = false;
      else if (length > 3 && strcmp(option + length - 3, "-ba") == 0) both = false, only = 1;
      char name[32];
      snprintf(name, sizeof name, "%.*s", (int)(both ? length : length - 3), option);
      for (int direction = 0; direction < 2; direction++) {
        if (!both && direction != only) continue;
        struct shape *shape = &options.shape[direction];
        if (strcmp(name, "--delay") == 0) shape->delay_ns = (int64_t)quantity(option, text, TIME_UNITS, 0, 60e9);
        else if (strcmp(name, "--loss") == 0) shape->loss_ppm = (uint32_t)(quantity(option, text, LOSS_UNITS, 0, 1e6) + 0.5);
        else if (strcmp(name, "--rate") == 0) shape->rate = (uint64_t)quantity(option, text, RATE_UNITS, 0, 1e12);
        else if (strcmp(name, "--burst") == 0) shape->burst = (uint64_t)quantity(option, text, SIZE_UNITS, 0, 1e9);
        else if (strcmp(name, "--queue-bytes") == 0) shape->queue_bytes = (uint64_t)quantity(option, text, SIZE_UNITS, 1, 2e9);
        else if (strcmp(name, "--queue-packets") == 0) shape->queue_packets = (uint64_t)quantity(option, text, PLAIN, 0, 1e9);
        else fail(2, "unknown option %.40s; see --help", option);
      }
    }
  }
  for (int side = 0; side < 2; side++) {
    if (!options.namespace[side]) fail(2, "missing --%c NAMESPACE; see --help", "ab"[side]);
    if (!*options.namespace[side] || strlen(options.namespace[side]) > 200 || strchr(options.namespace[side], '/'))
      fail(2, "cannot use --%c \"%.40s\": expected a name as `ip netns` lists it", "ab"[side], options.namespace[side]);
  }
  if (strcmp(options.namespace[0], options.namespace[1]) == 0)
    fail(2, "cannot join \"%.40s\" with itself: --a and --b must differ", options.namespace[0]);
  return options;
}

/* ---- devices ------------------------------------------------------------------------------ */

static void enter(const char *namespace) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", namespace);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(1, "cannot open network namespace \"%s\": %s; make it with: ip netns add %s", namespace, strerror(errno), namespace);
  if (setns(fd, CLONE_NEWNET) != 0)
    fail(1, "cannot enter network namespace \"%s\": %s%s", namespace, strerror(errno), errno == EPERM ? "; root is needed" : "");
  close(fd);
}

/* A TUN device in `namespace`, up, without addresses. */
static int make_device(const char *namespace, const char *name, uint32_t mtu) {
  enter(namespace);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail(1, "cannot open /dev/net/tun: %s; is the tun module there?", strerror(errno));
  struct ifreq request = {0};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  if (ioctl(fd, TUNSETIFF, &request) != 0) fail(1, "cannot make device \"%s\" in \"%s\": %s", name, namespace, strerror(errno));

  /* No link-local address: its neighbour and router chatter would take part in the losses. */
  char path[128];
  snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/addr_gen_mode", name);
  int mode = open(path, O_WRONLY | O_CLOEXEC);
  if (mode >= 0) {
    if (write(mode, "1", 1) != 1) fail(1, "cannot write %s: %s", path, strerror(errno));
    close(mode);
  }

  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) fail(1, "cannot open a control socket: %s", strerror(errno));
  request.ifr_mtu = (int)mtu;
  if (ioctl(control, SIOCSIFMTU, &request) != 0) fail(1, "cannot set MTU %" PRIu32 " on \"%s\": %s", mtu, name, strerror(errno));
  request.ifr_qlen = DEVICE_QUEUE;
  if (ioctl(control, SIOCSIFTXQLEN, &request) != 0) fail(1, "cannot set the queue of \"%s\": %s", name, strerror(errno));
  if (ioctl(control, SIOCGIFFLAGS, &request) != 0) fail(1, "cannot read the flags of \"%s\": %s", name, strerror(errno));
  request.ifr_flags |= IFF_UP;
  if (ioctl(control, SIOCSIFFLAGS, &request) != 0) fail(1, "cannot bring up \"%s\": %s", name, strerror(errno));
  close(control);
  return fd;
}

/* ---- one direction ------------------------------------------------------------------------ */

/* A packet in the line, with its bytes behind it. */
struct record {
  int64_t departure_ns; /* leaves the queue, and enters the delay */
  int64_t due_ns;       /* arrives */
  uint32_t length;      /* bytes of the packet, or SKIP */
  uint32_t unused[3];
};
_Static_assert(sizeof(struct record) == RECORD_ALIGN, "a record header must fit wherever the line may wrap");
#define SKIP UINT32_MAX /* nothing more up to the end of the memory: go on at its start */

struct counters {
  uint64_t packets_in, bytes_in;   /* read from the sending side */
  uint64_t packets_out, bytes_out; /* written to the receiving side */
  uint64_t lost;                   /* by chance, as asked */
  uint64_t dropped;                /* the queue was full */
  uint64_t overflow;               /* our memory was full: the line held more than was foreseen */
  uint64_t refused;                /* the receiving device was down */
  uint64_t queue_peak_bytes;
};

/* A line is a ring of records in order of departure, and, the delay being fixed, of arrival too.
 * Positions count up for ever; their place in memory is the remainder by its size. */
struct line {
  struct shape shape;
  int source, sink;
  uint8_t *memory;
  uint64_t size, head, tail;
  uint64_t departing; /* first record which may not have left the queue yet */
  uint64_t queued_bytes, queued_packets;
  int64_t last_departure_ns, full_ns; /* of the token bucket: when the last packet left, when it is full again */
  uint64_t random;
  struct counters counters;
};

static int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * NS_PER_S + time.tv_nsec;
}

/* splitmix64: one multiplication chain, a full period, and any seed is a good one. */
static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static bool chance(uint64_t *state, uint32_t ppm) {
  /* The high 32 bits times a million: exact to one in 4,294 of a ppm, and no modulo. */
  return ppm > 0 && (next_random(state) >> 32) * 1000000 >> 32 < ppm;
}

static int64_t transmit_ns(uint64_t bytes, uint64_t rate) {
  return (int64_t)((unsigned __int128)bytes * 8 * (uint64_t)NS_PER_S / rate);
}

static struct record *record_at(struct line *line, uint64_t position) {
  return (struct record *)(line->memory + position % line->size);
}

static uint64_t record_size(uint32_t length) {
  return RECORD_ALIGN + (((uint64_t)length + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1));
}

/* The position after `position`, or that of the memory's start where the record says so. */
static uint64_t next_position(struct line *line, uint64_t position) {
  struct record *record = record_at(line, position);
  return record->length == SKIP ? position + (line->size - position % line->size) : position + record_size(record->length);
}

static void open_line(struct line *line, const struct options *options, int direction, const int devices[2]) {
  struct shape shape = options->shape[direction];
  uint64_t in_flight = shape.rate / 8 * (uint64_t)(shape.delay_ns / 1000) / 1000000;
  if (shape.burst == 0) shape.burst = options->mtu;
  if (shape.burst < options->mtu)
    fail(2, "cannot use a burst of %" PRIu64 " bytes: a packet of the MTU (%" PRIu32 ") would never pass", shape.burst, options->mtu);
  if (shape.queue_bytes == 0) {
    /* Both directions make the round trip, and one may be slower than the other: ours is what fills up. */
    uint64_t round_trip = shape.rate / 8 * (uint64_t)((options->shape[0].delay_ns + options->shape[1].delay_ns) / 1000) / 1000000;
    shape.queue_bytes = 2 * round_trip;
    if (shape.queue_bytes < (uint64_t)64 * options->mtu) shape.queue_bytes = (uint64_t)64 * options->mtu;
  }
  /* Small packets take twice their size and more with their headers: four times is enough down to 11 bytes. */
  uint64_t size = shape.rate ? 4 * (shape.queue_bytes + in_flight + shape.burst) + ((uint64_t)8 << 20) : MEMORY_UNLIMITED_RATE;
  if (size > MEMORY_MAX) size = MEMORY_MAX;
  size &= ~(uint64_t)(RECORD_ALIGN - 1);
  /* Untouched pages cost nothing. */
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail(1, "cannot reserve %" PRIu64 " MiB for packets in flight: %s", size >> 20, strerror(errno));
  *line = (struct line){
      .shape = shape,
      .source = devices[direction],
      .sink = devices[1 - direction],
      .memory = memory,
      .size = size,
      /* Two directions, two sequences. */
      .random = options->seed * 2 + (uint64_t)direction,
  };
}

/* Let go of what has left the queue by `now`. */
static void leave_queue(struct line *line, int64_t now) {
  while (line->departing != line->tail) {
    struct record *record = record_at(line, line->departing);
    if (record->length != SKIP) {
      if (record->departure_ns > now) return;
      line->queued_bytes -= record->length;
      line->queued_packets--;
    }
    line->departing = next_position(line, line->departing);
  }
}

/* When a packet that came at `now` leaves: as soon as the bucket holds its length, in order. */
static int64_t departure(struct line *line, int64_t now, uint32_t length) {
  const struct shape *shape = &line->shape;
  if (shape->rate == 0) return now;
  int64_t at = now > line->last_departure_ns ? now : line->last_departure_ns;
  int64_t enough = line->full_ns - transmit_ns(shape->burst - length, shape->rate);
  if (enough > at) at = enough;
  line->full_ns = (line->full_ns > at ? line->full_ns : at) + transmit_ns(length, shape->rate);
  line->last_departure_ns = at;
  return at;
}

/* Take in what the source has, at most a batch. Returns false when it had nothing more. */
static bool take(struct line *line, uint32_t mtu) {
  static uint8_t discarded[MTU_MAX];
  struct counters *counters = &line->counters;
  uint64_t most = record_size(mtu);
  for (int count = 0; count < BATCH; count++) {
    if (line->head == line->tail) {
      /* Empty: start over, so that a quiet line stays in the processor's cache. */
      line->head = line->tail = line->departing = 0;
    }
    uint64_t left = line->size - line->tail % line->size;
    bool wrap = left < most;
    bool room = line->tail + (wrap ? left : 0) + most - line->head <= line->size;
    uint64_t position = room && wrap ? line->tail + left : line->tail;
    struct record *record = record_at(line, position);
    ssize_t length = read(line->source, room ? (uint8_t *)(record + 1) : discarded, mtu);
    if (length < 0) {
      if (errno == EAGAIN || errno == EINTR) return false;
      fail(1, "cannot read from the device: %s", strerror(errno));
    }
    int64_t now = now_ns();
    counters->packets_in++;
    counters->bytes_in += (uint64_t)length;
    if (!room) {
      counters->overflow++;
      continue;
    }
    leave_queue(line, now);
    const struct shape *shape = &line->shape;
    if (shape->rate && (line->queued_bytes + (uint64_t)length > shape->queue_bytes ||
                        (shape->queue_packets && line->queued_packets >= shape->queue_packets))) {
      counters->dropped++;
      continue;
    }
    /* A lost packet has used the wire: it takes its share of the rate, then vanishes. */
    int64_t departs = departure(line, now, (uint32_t)length);
    if (chance(&line->random, shape->loss_ppm)) {
      counters->lost++;
      continue;
    }
    if (position != line->tail) record_at(line, line->tail)->length = SKIP;
    *record = (struct record){.departure_ns = departs, .due_ns = departs + shape->delay_ns, .length = (uint32_t)length};
    line->tail = position + record_size((uint32_t)length);
    line->queued_bytes += (uint64_t)length;
    line->queued_packets++;
    leave_queue(line, now);
    if (line->queued_bytes > counters->queue_peak_bytes) counters->queue_peak_bytes = line->queued_bytes;
  }
  return true;
}

/* Hand over what is due. Returns when the next packet is, or -1 if there is none. */
static int64_t deliver(struct line *line, int64_t now) {
  leave_queue(line, now);
  while (line->head != line->tail) {
    struct record *record = record_at(line, line->head);
    if (record->length != SKIP) {
      if (record->due_ns > now) return record->due_ns;
      ssize_t written = write(line->sink, record + 1, record->length);
      if (written == (ssize_t)record->length) {
        line->counters.packets_out++;
        line->counters.bytes_out += record->length;
      } else if (written < 0 && errno == EINTR) {
        continue;
      } else {
        line->counters.refused++;
      }
    }
    line->head = next_position(line, line->head);
  }
  return -1;
}

/* ---- main --------------------------------------------------------------------------------- */

static volatile sig_atomic_t ending, reporting;
static void on_end(int number) { (void)number; ending = 1; }
static void on_report(int number) { (void)number; reporting = 1; }

static void report(const struct line lines[2]) {
  putchar('{');
  for (int direction = 0; direction < 2; direction++) {
    const struct counters *c = &lines[direction].counters;
    printf("%s\"%s\":{\"packetsIn\":%" PRIu64 ",\"bytesIn\":%" PRIu64 ",\"packetsOut\":%" PRIu64 ",\"bytesOut\":%" PRIu64
           ",\"lost\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"overflow\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"queuePeakBytes\":%" PRIu64 "}",
           direction ? "," : "", direction ? "ba" : "ab", c->packets_in, c->bytes_in, c->packets_out, c->bytes_out, c->lost,
           c->dropped, c->overflow, c->refused, c->queue_peak_bytes);
  }
  puts("}");
  fflush(stdout);
}

int main(int count, char **words) {
  struct options options = parse(count, words);
  int devices[2];
  for (int side = 0; side < 2; side++) devices[side] = make_device(options.namespace[side], options.device, options.mtu);
  struct line lines[2];
  for (int direction = 0; direction < 2; direction++) open_line(&lines[direction], &options, direction, devices);

  /* Signals come only while we wait, so that none slips in between the check and the wait. */
  sigset_t blocked, waiting;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaddset(&blocked, SIGINT);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, &waiting);
  sigdelset(&waiting, SIGTERM);
  sigdelset(&waiting, SIGINT);
  sigdelset(&waiting, SIGUSR1);
  signal(SIGPIPE, SIG_IGN);
  sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_end}, NULL);
  sigaction(SIGINT, &(struct sigaction){.sa_handler = on_end}, NULL);
  sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_report}, NULL);
  /* The default slack of 50 us would be a delay of its own. */
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);

  puts("ready");
  fflush(stdout);

  bool more[2] = {false, false};
  while (!ending) {
    int64_t now = now_ns(), next = -1;
    for (int direction = 0; direction < 2; direction++) {
      int64_t due = deliver(&lines[direction], now);
      if (due >= 0 && (next < 0 || due < next)) next = due;
    }
    struct pollfd wait[3] = {{devices[0], POLLIN, 0}, {devices[1], POLLIN, 0}, {options.watch_stdin ? STDIN_FILENO : -1, POLLIN, 0}};
    int64_t left = more[0] || more[1] ? 0 : next < 0 ? -1 : next > now ? next - now : 0;
    struct timespec timeout = {left / NS_PER_S, left % NS_PER_S};
    int ready = ppoll(wait, 3, left < 0 ? NULL : &timeout, &waiting);
    if (ready < 0 && errno != EINTR) fail(1, "cannot wait for packets: %s", strerror(errno));
    if (options.tick_ns > 0 && !more[0] && !more[1]) {
      /* Let company arrive: one wake-up for many packets leaves the processor to those who are measured. */
      nanosleep(&(struct timespec){options.tick_ns / NS_PER_S, options.tick_ns % NS_PER_S}, NULL);
    }
    for (int direction = 0; direction < 2; direction++) {
      /* A namespace that is deleted under us is an end like another. */
      if (ready > 0 && wait[direction].revents & (POLLERR | POLLNVAL)) ending = 1;
      more[direction] = take(&lines[direction], options.mtu);
    }
    if (ready > 0 && wait[2].revents) {
      char input[64];
      if (read(STDIN_FILENO, input, sizeof input) == 0) ending = 1;
    }
    if (reporting) {
      reporting = 0;
      report(lines);
    }
  }
  report(lines);
  return 0;
}
