/* A factor in C: posts user=NAME&code=CODE to a web hook on this machine.
 * Its setting `url` is http://127.0.0.1:PORT/PATH. The same in Rust: ../factor-webhook. Build it with `make`. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "lockgate_plugin.h"

struct hook { const lockgate_host *host; char port[8], path[256]; };

static int32_t fail(const lockgate_host *host, lockgate_call *call, int32_t status, const char *why) {
  host->set(call, "error", (const uint8_t *)why, strlen(why));
  return status;
}

static int32_t open_hook(const lockgate_host *host, lockgate_call *call, void **instance) {
  const uint8_t *url;
  size_t len;
  char text[300];
  if (!host->get(call, "setting.url", &url, &len) || len >= sizeof text)
    return fail(host, call, LOCKGATE_ERROR, "the setting url is missing or too long");
  memcpy(text, url, len);
  text[len] = 0;
  struct hook *hook = calloc(1, sizeof *hook);
  if (!hook) return LOCKGATE_ERROR;
  hook->host = host;
  if (sscanf(text, "http://127.0.0.1:%7[0-9]%255[!-~]", hook->port, hook->path) != 2 || hook->path[0] != '/') {
    free(hook);
    return fail(host, call, LOCKGATE_ERROR, "the setting url is not http://127.0.0.1:PORT/PATH");
  }
  *instance = hook;
  return LOCKGATE_OK;
}

static int32_t serves(void *instance, lockgate_call *call) {
  (void)instance, (void)call;
  return LOCKGATE_OK;
}

/* Appends a field, percent-encoded; 0 where it is missing or does not fit. */
static int encoded(const lockgate_host *host, lockgate_call *call, const char *field, char *out, size_t room) {
  const uint8_t *value;
  size_t len;
  if (!host->get(call, field, &value, &len) || len * 3 + 1 > room) return 0;
  for (size_t i = 0; i < len; i++, out += 3) snprintf(out, 4, "%%%02X", value[i]);
  return 1;
}

static int32_t begin(void *instance, lockgate_call *call) {
  struct hook *hook = instance;
  char user[800], code[100], request[1600], answer[16] = "";
  if (!encoded(hook->host, call, "user.name", user, sizeof user) || !encoded(hook->host, call, "code", code, sizeof code))
    return fail(hook->host, call, LOCKGATE_ERROR, "user or code is missing or too long");
  int len = snprintf(request, sizeof request,
      "POST %s HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
      "Content-Length: %zu\r\n\r\nuser=%s&code=%s", hook->path, strlen(user) + strlen(code) + 11, user, code);
  struct addrinfo *to, hints = {.ai_flags = AI_NUMERICHOST, .ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
  if (getaddrinfo("127.0.0.1", hook->port, &hints, &to)) return fail(hook->host, call, LOCKGATE_ERROR, "no such port");
  struct timeval limit = {.tv_sec = 2};
  int s = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC, 0);
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int sent = !connect(s, to->ai_addr, to->ai_addrlen) && send(s, request, len, MSG_NOSIGNAL) == len &&
             recv(s, answer, 12, MSG_WAITALL) == 12 && answer[9] == '2';
  freeaddrinfo(to), close(s);
  if (!sent) return fail(hook->host, call, LOCKGATE_UNAVAILABLE, "the web hook did not take the code");
  hook->host->set(call, "prompt", (const uint8_t *)"Code sent to your web hook", 26);
  return LOCKGATE_OK;
}

const lockgate_plugin *lockgate_plugin_v1(void) {
  static const lockgate_plugin plugin = {LOCKGATE_ABI, sizeof plugin, LOCKGATE_DELIVERS, 0, "webhook-c", "1.0",
      "posts the code to a web hook on this machine", NULL, open_hook, free, serves, NULL, begin, NULL, NULL, NULL};
  return &plugin;
}
