/* A plugin that does what the word it is given says: as a code to `begin`, as an answer to `verify`. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "lockgate_plugin.h"

#ifndef ABI
#define ABI LOCKGATE_ABI
#endif
#ifndef SIZE
#define SIZE sizeof(lockgate_plugin)
#endif
#ifndef FLAGS
#define FLAGS 0
#endif
#ifndef NAME
#define NAME "misbehaving"
#endif
#ifndef ROLES
#define ROLES (LOCKGATE_DELIVERS | LOCKGATE_VERIFIES)
#endif
#ifndef CLOSE
#define CLOSE NULL
#endif

static const lockgate_host *host;
static int running, most;
static int *volatile nowhere;

static void set(lockgate_call *call, const char *name, const char *value) {
  host->set(call, name, (const uint8_t *)value, strlen(value));
}

static int is(const uint8_t *word, size_t len, const char *other) {
  return len == strlen(other) && !memcmp(word, other, len);
}

/* Writes to every descriptor that may be the socket. */
static void shout(const char *bytes, size_t len) {
  for (int fd = 3; fd < 32; fd++)
    if (write(fd, bytes, len) < 0) continue;
}

static int32_t rights(lockgate_call *call) {
  char text[200];
  struct rlimit core;
  int open_ones = 0;
  for (int fd = 3; fd < 256; fd++) open_ones += fcntl(fd, F_GETFD) >= 0;
  getrlimit(RLIMIT_CORE, &core);
  int file = open("/etc/passwd", O_RDONLY), made = open("/tmp/lockgate-made-by-a-plugin", O_CREAT | O_WRONLY, 0600);
  struct addrinfo *found;
  int names = !getaddrinfo("localhost", "25", NULL, &found);
  int roots = open("/etc/ssl/certs/ca-certificates.crt", O_RDONLY) >= 0 || errno == ENOENT;
  char byte;
  snprintf(text, sizeof text, "privileges=%d dumpable=%d core=%d path=%d stdin=%d sockets=%d names=%d roots=%d read=%d write=%d signal=%d",
      prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_DUMPABLE), (int)core.rlim_max, getenv("PATH") != NULL,
      (int)read(0, &byte, 1), open_ones, names, roots, file >= 0, made >= 0, kill(getppid(), 0) == 0);
  set(call, "prompt", text);
  return LOCKGATE_OK;
}

static int32_t act(lockgate_call *call, const uint8_t *word, size_t len) {
  if (is(word, len, "ok")) {
    set(call, "prompt", "fine");
    return LOCKGATE_OK;
  }
  if (is(word, len, "hang")) for (;;) pause();
  if (is(word, len, "crash")) *(volatile int *)nowhere = 1;
  if (is(word, len, "abort")) abort();
  if (is(word, len, "exit")) _exit(0);
  if (is(word, len, "garbage")) {
    shout("this is no frame at all", 23);
    for (;;) pause();
  }
  if (is(word, len, "giant")) {
    shout("\xff\xff\xff\xff", 4);
    for (;;) pause();
  }
  if (is(word, len, "forged")) { /* an answer to a call that nobody made: kind 3, id 999, status OK, no fields */
    shout("\0\0\0\x11\x03\0\0\0\0\0\0\x03\xe7\0\0\0\x01\0\0\0\0", 21);
    for (;;) pause();
  }
  if (is(word, len, "status")) return 77;
  if (is(word, len, "minus")) return -1;
  if (is(word, len, "zero")) return 0;
  if (is(word, len, "no")) return LOCKGATE_NO;
  if (is(word, len, "later")) return LOCKGATE_LATER;
  if (is(word, len, "away")) return LOCKGATE_UNAVAILABLE;
  if (is(word, len, "step")) {
    set(call, "used", "100");
    return LOCKGATE_OK;
  }
  if (is(word, len, "binary")) {
    host->set(call, "prompt", (const uint8_t *)"\xff\xfe", 2);
    return LOCKGATE_OK;
  }
  if (is(word, len, "huge")) {
    static uint8_t value[LOCKGATE_MAX_VALUE + 1];
    char text[40];
    int one = host->set(call, "state", value, sizeof value), taken = 0;
    for (int i = 0; i < 1000; i++) {
      char name[16];
      snprintf(name, sizeof name, "f%d", i);
      taken += host->set(call, name, value, 1000);
    }
    snprintf(text, sizeof text, "one=%d bounded=%d", one, taken < 257);
    set(call, "prompt", text);
    return LOCKGATE_OK;
  }
  if (is(word, len, "memory")) {
    size_t got = 0;
    char *block;
    while (got < ((size_t)8 << 30) && (block = malloc(16 << 20))) memset(block, 1, 16 << 20), got += 16 << 20;
    set(call, "prompt", got < ((size_t)1 << 30) ? "bounded" : "unbounded");
    return LOCKGATE_OK;
  }
  if (is(word, len, "fork")) {
    if (!fork()) for (;;) pause();
    for (;;) pause();
  }
  if (is(word, len, "escape")) { /* a process that tries to leave the worker's group */
    char text[64], tried;
    int ends[2];
    if (pipe(ends)) return LOCKGATE_ERROR;
    int pid = fork();
    if (!pid) {
      setsid();
      setpgid(0, 0);
      if (write(ends[1], "", 1) < 0) _exit(1);
      for (;;) pause();
    }
    if (read(ends[0], &tried, 1) != 1) return LOCKGATE_ERROR;
    snprintf(text, sizeof text, "%d", pid);
    set(call, "prompt", text);
    return LOCKGATE_OK;
  }
  if (len > 5 && !memcmp(word, "read ", 5)) {
    char path[200];
    snprintf(path, sizeof path, "%.*s", (int)len - 5, (const char *)word + 5);
    set(call, "prompt", open(path, O_RDONLY) >= 0 ? "read" : strerror(errno));
    return LOCKGATE_OK;
  }
  if (is(word, len, "together")) { /* how many calls run at once */
    char text[16];
    int now = __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST), seen = __atomic_load_n(&most, __ATOMIC_SEQ_CST);
    while (now > seen && !__atomic_compare_exchange_n(&most, &seen, now, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
    usleep(200000);
    __atomic_sub_fetch(&running, 1, __ATOMIC_SEQ_CST);
    snprintf(text, sizeof text, "%d", most);
    set(call, "prompt", text);
    return LOCKGATE_OK;
  }
  if (is(word, len, "rights")) return rights(call);
  if (is(word, len, "who")) {
    char text[64];
    snprintf(text, sizeof text, "%d", (int)getpid());
    set(call, "prompt", text);
    return LOCKGATE_OK;
  }
  if (len > 5 && !memcmp(word, "tell ", 5)) { /* repeats the whole word where it must not be */
    char text[200];
    snprintf(text, sizeof text, "the code is %.*s", (int)len, (const char *)word);
    host->log(LOCKGATE_LOG_WARN, text, strlen(text));
    set(call, "error", text);
    return LOCKGATE_ERROR;
  }
  set(call, "error", "no such word");
  return LOCKGATE_ERROR;
}

static int32_t open_(const lockgate_host *its, lockgate_call *call, void **instance) {
  const uint8_t *word;
  size_t len;
  host = its;
  *instance = &host;
  if (its->get(call, "setting.open", &word, &len)) return act(call, word, len);
  return LOCKGATE_OK;
}

/* A way to close that leaves what was forked behind. */
static inline void leave(void *instance) {
  (void)instance;
  _exit(0);
}

static int32_t yes(void *instance, lockgate_call *call) {
  (void)instance, (void)call;
  return LOCKGATE_OK;
}

static int32_t begin(void *instance, lockgate_call *call) {
  const uint8_t *word;
  size_t len;
  (void)instance;
  return host->get(call, "code", &word, &len) ? act(call, word, len) : LOCKGATE_ERROR;
}

static int32_t verify(void *instance, lockgate_call *call) {
  const uint8_t *word;
  size_t len;
  (void)instance;
  return host->get(call, "answer", &word, &len) ? act(call, word, len) : LOCKGATE_ERROR;
}

#ifndef NOTHING
const lockgate_plugin *lockgate_plugin_v1(void) {
  static lockgate_plugin plugin = {ABI, SIZE, ROLES, FLAGS, NAME, "1", "misbehaves", NULL,
      open_, CLOSE, yes, NULL, begin, verify, NULL, NULL};
  return &plugin;
}
#endif
