/*
 * lockgate_plugin.h: the border between Lockgate and a plugin, ABI 1.
 *
 * A plugin is a shared object named lockgate_NAME.so that exports one symbol,
 * lockgate_plugin_v1. It runs in a worker process of its own, never in the
 * server: it may block, and where it hangs or crashes the worker alone is lost.
 *
 * This file is the source of truth. The Rust side is checked against it by a test.
 *
 * Rules of the border
 *  - Both tables begin with `abi` and `size` and grow at their end only. What
 *    lies past `size` does not exist; look before you call.
 *  - A call carries fields: a name and bytes. What comes in is read with get(),
 *    what goes out is put with set(). Text is UTF-8 without a closing NUL.
 *  - Nothing is freed across the border: what get() hands out lives until the
 *    function returns, what set() is given is copied before set() returns.
 *  - `call` is good on the thread that was called and until the function returns.
 *  - Functions may be called from several threads at once, unless the flags say
 *    LOCKGATE_SINGLE_THREADED.
 *  - No C++ exception, Rust panic or longjmp may cross the border. Do not fork,
 *    change signal handlers or write to descriptors that you did not open.
 *  - A field that a plugin does not know is to be passed over in silence.
 */
#ifndef LOCKGATE_PLUGIN_H
#define LOCKGATE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOCKGATE_ABI 1u

/* What a function returns. Zero is an error, so that nothing that was merely
 * left unset lets anybody in; any number that is not listed is an error too. */
#define LOCKGATE_ERROR 0       /* went wrong; set "error", it goes to the log */
#define LOCKGATE_OK 1          /* yes, done, right */
#define LOCKGATE_NO 2          /* no, wrong */
#define LOCKGATE_LATER 3       /* verify only: not decided yet, ask again */
#define LOCKGATE_UNAVAILABLE 4 /* cannot serve now: another channel is tried */

/* Roles: any of these together. */
#define LOCKGATE_DELIVERS 1u  /* factor: carries a code that Lockgate made and checks */
#define LOCKGATE_VERIFIES 2u  /* factor: says itself whether an answer is right */
#define LOCKGATE_DIRECTORY 4u /* checks names and passwords */
#define LOCKGATE_EVENTS 8u    /* is told what happened */

/* Flags. */
#define LOCKGATE_SINGLE_THREADED 1u   /* one call at a time, always the same thread */
#define LOCKGATE_WAITS_FOR_PERSON 2u  /* begin and verify may take 60 s instead of 5 s */

/* Levels of log(). */
#define LOCKGATE_LOG_ERROR 1u
#define LOCKGATE_LOG_WARN 2u
#define LOCKGATE_LOG_INFO 3u
#define LOCKGATE_LOG_DEBUG 4u

/* Limits. set() refuses what is larger. */
#define LOCKGATE_MAX_NAME 255u    /* bytes of a field's name */
#define LOCKGATE_MAX_VALUE 65536u /* bytes of a field's value */
#define LOCKGATE_MAX_FIELDS 256u  /* fields of a call, each way */

/* One call: made by the host, dead when the function returns. */
typedef struct lockgate_call lockgate_call;

/* The host's table. It lives as long as the process. */
typedef struct lockgate_host {
  uint32_t abi;  /* LOCKGATE_ABI of the host */
  uint32_t size; /* of this table, as the host knows it */

  /* Reads a field: 1 and where it is, or 0 where there is no such field (then
   * *value and *len are left alone). `name` is NUL-terminated. */
  int32_t (*get)(lockgate_call *call, const char *name, const uint8_t **value, size_t *len);

  /* Puts a field into the answer, in the place of one of the same name: 1, or 0
   * where it is too large or too many. */
  int32_t (*set)(lockgate_call *call, const char *name, const uint8_t *value, size_t len);

  /* Says something to the operator. From any thread, at any time. Never a code,
   * a password or a secret. Cut at 1,024 bytes; many lines in short time are dropped. */
  void (*log)(uint32_t level, const char *text, size_t len);

  /* Now, in seconds since 1970 UTC: the server's clock when the call was made.
   * With `call` NULL: the clock of the machine. */
  uint64_t (*now)(lockgate_call *call);
} lockgate_host;

/*
 * The fields of a call. A field without a value is not there.
 *
 * About the user, for serves, enroll, begin, verify:
 *   user.name     the account's name
 *   user.email    mail address
 *   user.phone    telephone number, as the account has it
 *   user.x_NAME   the account's own texts, one field each
 *   user.flagged  "1" where the account's two-factor flag is on, otherwise "0"
 *   user.secret   what this plugin's enroll kept for the user: bytes; not there
 *                 while the user is not enrolled with this plugin
 * About where the login comes from, for begin, verify, check_password:
 *   origin.protocol  ftp, ftps, sftp, http, https or webdav
 *   origin.address   the peer's IP address
 *
 * function        reads (besides the above)      sets
 * open            setting.KEY, one a setting     error
 * serves          -                              error
 * enroll          -                              secret, uri, error
 * begin           code (a factor that delivers)  prompt, expects, state, error
 * verify          state, answer                  used, error
 * check_password  name, password                 unknown, account.KEY, error
 * event           event: one JSON object         error
 *
 *   secret  bytes that Lockgate keeps for the user, encrypted, and hands back
 *   uri     an otpauth:// or other URI, shown once to the user
 *   prompt  one sentence that says what is asked for, without a code
 *   expects "code" (so where it is not set), or "nothing": the person answers
 *           elsewhere, as by a push, and verify is asked until it is not LATER
 *   state   bytes that Lockgate hands back to verify
 *   used    with LOCKGATE_OK of verify, always: what must never be accepted again
 *           from this user, 1 to 256 bytes. A decimal number is a time step or
 *           counter: it and the ones before it are spent. Anything else (the id
 *           of a push, a signature) is spent by itself. Without it OK is an error
 *   unknown "1" together with LOCKGATE_NO: there is no such name here
 *   account.KEY  email, phone, name, x_NAME: properties of the account
 *   error   why; for the log alone, never shown to a user, never with a secret in it
 */
typedef int32_t (*lockgate_function)(void *instance, lockgate_call *call);

/* The plugin's table: static and never changed. */
typedef struct lockgate_plugin {
  uint32_t abi;   /* LOCKGATE_ABI */
  uint32_t size;  /* sizeof(lockgate_plugin), as the plugin knows it */
  uint32_t roles;
  uint32_t flags;
  const char *name;     /* 1 to 32 of a-z, 0-9 and -, as in lockgate_NAME.so */
  const char *version;
  const char *summary;  /* one sentence */
  const char *settings; /* JSON Schema of the settings (an object), or NULL */

  /* Makes an instance. OK and *instance, or ERROR and the field "error". */
  int32_t (*open)(const lockgate_host *host, lockgate_call *call, void **instance);
  /* Ends an instance; no other call runs then. May be NULL. Not sure to be called. */
  void (*close)(void *instance);

  lockgate_function serves;         /* OK: this user can use the factor. NO: cannot */
  lockgate_function enroll;         /* OK: secret (and uri) are set. NULL: needs no enrolment */
  lockgate_function begin;          /* OK: the code is on its way, or the question is put */
  lockgate_function verify;         /* OK: right. NO: wrong. LATER: not decided yet */
  lockgate_function check_password; /* OK: right. NO: wrong, or unknown here */
  lockgate_function event;          /* what it returns is only logged */
} lockgate_plugin;

/* The one symbol that a plugin exports. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const lockgate_plugin *lockgate_plugin_v1(void);

typedef const lockgate_plugin *(*lockgate_plugin_entry)(void);

#ifdef __cplusplus
}
#endif

#endif
