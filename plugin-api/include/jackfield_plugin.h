/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The C ABI of Jackfield's library plugins, version 1.
 *
 * A plugin is a shared library that exports one data symbol:
 *
 *     const struct jackfield_plugin jackfield_plugin_v1 = { JACKFIELD_MAGIC, sizeof(struct jackfield_plugin), ... };
 *
 * Only bytes and handles cross the border. Whatever is no plain number is text: UTF-8, mostly JSON, in a form that the
 * wire protocol uses where it has one. Text is lent, never given: whoever hands it over keeps and frees it, and whoever
 * gets it copies what it wants to keep. So each side may have an allocator of its own.
 *
 * THREADS. The broker calls a plugin from many threads at once, and the plugin may call the broker from any thread. No
 * call may block: work that takes time is answered later, from another thread, through its completion. A plugin that
 * cannot help blocking says "exec": "offload" in its manifest; its commands are then called on threads that may block.
 *
 * COMPLETIONS. Whatever has an answer takes a `struct jackfield_completion`, whose `done` must be called exactly once,
 * during the call or later, from any thread. Where a function says "at once", before it returns.
 *
 * GROWTH. Within major version 1 structures only grow at their end, and nothing that is here changes its meaning. Each
 * structure that a side reads begins with the `size` that the other side knew, or is made by the broker, which is
 * never older than the plugin: a plugin whose `abi_minor` is above the broker's is refused. `struct jackfield_text` and
 * `struct jackfield_completion`, which are passed by value, never grow. Unknown JSON fields must be ignored.
 *
 * ERRORS. An error is the `data` of an error answer: {"code": integer, "error": text, ...}. Codes from 200000 up are
 * the plugins' own; lower ones are the protocol's.
 *
 * LIFE. `manifest` may be called at any time. `create` makes an instance, one for each service that lists the plugin
 * and a new one when its configuration changes or it is reloaded; `register` follows once, then everything else. When
 * nothing of an instance is used any more, and every completion that the plugin owed has been called, what it still
 * asks of the broker is cancelled. Once the completions of that have been called, too, `destroy` is called once and
 * nothing after it; meanwhile the broker answers only what it answers at once. A library is never unmapped.
 */
#ifndef JACKFIELD_PLUGIN_H
#define JACKFIELD_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "JACKFLD1" read as a big-endian number. */
#define JACKFIELD_MAGIC UINT64_C(0x4a41434b464c4431)
#define JACKFIELD_ABI_MAJOR 1u
#define JACKFIELD_ABI_MINOR 0u

/* Text, lent for the time of the call unless something else is said. Not NUL-terminated. `ptr` NULL: absent. */
struct jackfield_text {
    const char *ptr;
    size_t len;
};

/* How a piece of work ended. */
enum {
    JACKFIELD_OK = 0,        /* done; the result is what the function says */
    JACKFIELD_ERROR = 1,     /* an error; the result is its JSON */
    JACKFIELD_CONTINUE = 2,  /* call: the next handler is asked; filter_event: see there */
    JACKFIELD_DROP = 3,      /* filter_event: see there */
    JACKFIELD_PANIC = 4,     /* the plugin broke; the result is a description for the log. The caller is told a
                                reference only. Five in a minute, and the plugin is asked no more. */
    JACKFIELD_CANCELLED = 5  /* the work was cancelled, and ended because of that */
};

/* How an answer is handed over. Passed by value; may be copied. */
struct jackfield_completion {
    void *ctx;
    /* Exactly once. `result` may be absent, which stands for {} (JACKFIELD_OK) or for no change (JACKFIELD_CONTINUE).
     * The completion is void after that. */
    void (*done)(void *ctx, uint32_t status, struct jackfield_text result);
    /* Any number of times before `done`: the work goes on. May be NULL. */
    void (*progress)(void *ctx);
};

/* ------------------------------------------------------------------------------------------------ the broker's side */

/* One instance's view of the broker. Valid for as long as the process runs; after `destroy` every question about it is
 * answered with the error plugin_unavailable. */
struct jackfield_broker;

/* One request under way, valid until its completion is called. */
struct jackfield_call;

/* Who is asking. */
enum {
    JACKFIELD_ANONYMOUS = 0, /* a connection that has not logged in */
    JACKFIELD_SESSION = 1,
    JACKFIELD_PLUGIN = 2     /* a plugin, this one or another */
};

enum {
    JACKFIELD_ADMINISTRATOR = 1, /* may do everything */
    JACKFIELD_MORE = 2           /* the host's `caller` tells more than is in this structure */
};

struct jackfield_caller {
    uint64_t connection;               /* its number, unique for as long as the broker runs; 0: a plugin */
    uint32_t who;                      /* JACKFIELD_ANONYMOUS, JACKFIELD_SESSION, JACKFIELD_PLUGIN */
    uint32_t flags;                    /* JACKFIELD_ADMINISTRATOR, JACKFIELD_MORE */
    struct jackfield_text service;
    struct jackfield_text remote;      /* ws:127.0.0.1:63393 */
    struct jackfield_text user;        /* absent where there is none */
    struct jackfield_text session_id;  /* likewise */
};

/* A request. It and all it points to is valid until the completion is called. */
struct jackfield_request {
    const struct jackfield_call *call;
    const struct jackfield_caller *caller;
    struct jackfield_text class_name;  /* behind a wildcard entry, the names that the caller wrote */
    struct jackfield_text subclass;
    struct jackfield_text cmd;
    struct jackfield_text data;        /* JSON, checked against the command's schema, defaults filled in */
};

/* An event. Absent fields are absent texts. */
struct jackfield_event {
    struct jackfield_text class_name;
    struct jackfield_text subclass;
    struct jackfield_text type;
    struct jackfield_text obj_id;
    struct jackfield_text service;     /* where it was fired: absent for this service, * for all */
    struct jackfield_text body;        /* JSON */
};

/* What a plugin may ask of the broker. Valid for as long as the process runs. */
struct jackfield_host {
    uint32_t size;
    uint32_t abi_major;
    uint32_t abi_minor;
    uint32_t reserved;

    /* The most detailed level that the broker's log takes of plugins: 0 nothing, 1 error, 2 warn, 3 info, 4 debug,
     * 5 trace. It may change. */
    uint32_t (*log_level)(void);
    /* Writes a line to the broker's log. `fields` is a JSON object, or absent. */
    void (*log)(struct jackfield_text plugin, uint32_t level, struct jackfield_text target,
                struct jackfield_text message, struct jackfield_text fields);

    /* Asks the broker for something; see QUESTIONS below. `call` is the request in whose course it is asked, or NULL.
     * Gives a number for `cancel`, 0 where the completion has been called already. */
    uint64_t (*ask)(struct jackfield_broker *broker, struct jackfield_text question, struct jackfield_text arguments,
                    const struct jackfield_call *call, struct jackfield_completion completion);
    /* The answer to a question is not wanted any more. Its completion is called all the same: with JACKFIELD_CANCELLED,
     * unless the answer was quicker. A number that is not known is ignored. */
    void (*cancel)(struct jackfield_broker *broker, uint64_t asked);

    /* Tells the caller of a request that its answer takes longer, and starts the handler's time limit anew. The broker
     * sends the first such ack by itself, after one second. */
    void (*ack)(const struct jackfield_call *call);
    /* Ends the caller's session once the request is answered. */
    void (*end_session)(const struct jackfield_call *call);
    /* Gives all that is known of a request's caller, at once: a CALLER. */
    void (*caller)(const struct jackfield_call *call, struct jackfield_completion completion);

    /* Adds to a counter, sets a gauge, by the number that "counter" and "gauge" gave. */
    void (*counter_add)(struct jackfield_broker *broker, uint64_t counter, uint64_t n);
    void (*gauge_set)(struct jackfield_broker *broker, uint64_t gauge, double value);
};

/* QUESTIONS. Arguments and results are JSON. Those marked "at once" are answered before `ask` returns.
 *
 *   question         arguments                                                        result
 *   authorize        {"caller": CALLER, "action": ACTION}                             {}, or the refusal
 *   publish          {"event": EVENT, "from"?: CALLER}                  at once       {"receivers": N}
 *   received         {"event": EVENT, "from": CALLER}                   at once       {}
 *   subscribe        {"session": REF, "event": EVENT}                   at once       {}
 *   unsubscribe      {"session": REF, "event": EVENT}                   at once       {}
 *   subscriptions    {"session": REF}                                   at once       [EVENT, ...]
 *   request          {"session_id", "class", "subclass"?, "cmd", "data"?, "from"?: CALLER}   the session's data;
 *                                                           `progress` is called for each of the session's acks
 *   call             {"class", "subclass"?, "cmd", "data"?}                           the command's data
 *   users            {}                                                 at once       {USER: [SESSION_ID, ...], ...}
 *   session          {"session_id"}                                     at once       SESSION or null
 *   user_sessions    {"user"}                                           at once       [SESSION, ...]
 *   stop_session     {"session_id"}                                     at once       {"user"}
 *   commands         {}                                                 at once       [COMMAND, ...]
 *   command          {"class", "subclass"?, "cmd"}                      at once       COMMAND or null
 *   plugins          {}                                                 at once       as `core plugin list`
 *   log              RECORD                                             at once       {}
 *   service          {}                                                 at once       {"service": NAME}
 *   counter, gauge   {"name", "help", "labels"?: [[NAME, VALUE], ...]}  at once       {"number": N}
 *   register         {"session": REF, "class", "subclass"?, "cmd"?, "description"?, "data_schema"?,
 *                     "retry"?: boolean, "inflight"?}                   at once       {}
 *   unregister       {"session": REF, "class", "subclass"?, "cmd"?}     at once       {}
 *   register_authenticator    {"session": REF, "deadline": seconds}     at once       {}
 *   unregister_authenticator  {"session": REF}                          at once       {}
 *   login            LOGIN, in the course of a request (`call`)                       the fields of the answer
 *   open_session     {"remote"}                                         at once       {"number": N}, a virtual session
 *   send             {"number", "message": any message of the protocol}               {}
 *   receive          {"number"}                                                       a message, or null at the end
 *   close_session    {"number"}                                         at once       {}
 *   store_get        {"key"}                                                          {"value": BASE64 or null}
 *   store_put        {"key", "value": BASE64}                                         {}
 *   store_delete     {"key"}                                                          {"found": boolean}
 *   store_swap       {"key", "expected": BASE64 or null, "new": BASE64 or null}       {"swapped": boolean}
 *   store_scan       {"prefix", "limit"}                                              [[KEY, BASE64], ...]
 *
 *   ACTION   {"action": "command"|"register", "class", "subclass", "cmd"}, {"action": "subscribe"|"publish", "class",
 *            "subclass", "type", "obj_id"} or {"action": "service", "service"}
 *   CALLER   {"connection", "service", "remote", "who": "anonymous"|"session"|"plugin", and for a session "user",
 *            "session_id", "administrator", "permissions"?: PERMISSIONS; "certificate"?: {"common_name", "subject",
 *            "dns": [], "email": [], "uri": [], "ip": [], "sha256", "not_after"}}
 *   COMMAND  as `core registry describe`
 *   EVENT    {"class", "subclass"?, "type"?, "obj_id"?, "service"?, "body"?}
 *   LOGIN    the data of `core user login`
 *   PERMISSIONS  {"allow": [PERMISSION, ...], "deny": [PERMISSION, ...]}
 *   RECORD   the data of `core session log` with "user", "session_id", "service", "time": seconds since 1970
 *   REF      {"session_id", "connection"?}: with "connection", that session and no later one of the same id
 *   SESSION  {"session_id", "user", "service", "remote", "metadata"}
 */

/* ------------------------------------------------------------------------------------------------ the plugin's side */

/* An instance of a plugin: its own business. */
struct jackfield_instance;

/* What a library does about panics (Rust) or exceptions (C++). */
enum {
    JACKFIELD_UNWINDS = 1, /* none leaves a function of this table: C, Rust with panic = "unwind" */
    JACKFIELD_ABORTS = 2   /* would end the process: refused */
};

/* When a filter is asked. */
enum {
    JACKFIELD_FIRED = 0,      /* an event was fired and is about to be matched */
    JACKFIELD_DELIVERING = 1, /* it is about to be queued for one session: `about` is its SESSION */
    JACKFIELD_RECEIVED = 2    /* a client sent it as a request core/core/event: `about` is the CALLER; the status is
                                 ignored */
};

/* What the library exports as `jackfield_plugin_v1`. Functions that a plugin has no use for are NULL, the ones marked
 * "always" apart. Numbers named `index` count what `register` told, from 0, each kind by itself. Those that give a
 * number give it for `cancel`: 0 where there is nothing to cancel, such as where the completion has been called. */
struct jackfield_plugin {
    uint64_t magic;           /* JACKFIELD_MAGIC */
    uint32_t size;            /* sizeof(struct jackfield_plugin) */
    uint32_t abi_major;       /* JACKFIELD_ABI_MAJOR */
    uint32_t abi_minor;       /* JACKFIELD_ABI_MINOR */
    uint32_t panic_strategy;  /* JACKFIELD_UNWINDS */
    struct jackfield_text toolchain;  /* what it was built with, to be told to people */

    /* Always. At once: {"name": lower case letters, digits and -, "version", "about"?, "depends"?: [NAME, ...],
     * "config_schema"?: JSON Schema, "exec"?: "inline"|"offload"} */
    void (*manifest)(struct jackfield_completion completion);

    /* Always. Makes an instance, at once. NULL: the error is in the completion, which is called in any case. */
    struct jackfield_instance *(*create)(const struct jackfield_host *host, struct jackfield_broker *broker,
                                         struct jackfield_completion completion);

    /* Always. At once: tells what there is to register. `config` is the plugin's table, checked against config_schema.
     * {
     *   "commands": [{"class", "subclass"?, "cmd", "aliases"?, "about"?, "data_schema"?, "reply_schema"?,
     *                 "ordered"?, "keeps_own_time"?, "unrestricted"?}, ...],
     *   "authenticators": [{"secret_fields"?: [NAME, ...]}, ...],
     *   "event_filters": [{"filters_deliveries"?: boolean}, ...],
     *   "authorizers": N, "session_observers": N, "log_sinks": N, "broker_log_sinks": N, "services": N
     * }
     * All of it may be left out. The broker may throw an instance away after this: it must have no effects yet. */
    void (*register_all)(struct jackfield_instance *instance, struct jackfield_text config,
                         struct jackfield_completion completion);

    /* Serves a request for a command. JACKFIELD_OK: the answer's data. JACKFIELD_CONTINUE: the next lower handler is
     * asked, with {"class"?, "subclass"?, "cmd"?, "data"?} in place of what the request says. */
    uint64_t (*call)(struct jackfield_instance *instance, uint32_t index, const struct jackfield_request *request,
                     struct jackfield_completion completion);

    /* Judges a login. JACKFIELD_OK with {"verdict": "accept", "user", "session_id"?, "metadata"?, "permissions"?,
     * "expires"?: seconds since 1970, "answer"?, "administrator"?}, {"verdict": "continue"} or
     * {"verdict": "reject", "error": an error}. Any error rejects. */
    uint64_t (*authenticate)(struct jackfield_instance *instance, uint32_t index, struct jackfield_text login,
                             struct jackfield_text caller, struct jackfield_completion completion);

    /* Judges an ACTION of a CALLER. JACKFIELD_OK with {"decision": "allow"|"deny"|"continue", "error"?,
     * "cache_for"?: seconds}. Any error denies. */
    uint64_t (*authorize)(struct jackfield_instance *instance, uint32_t index, struct jackfield_text caller,
                          struct jackfield_text action, struct jackfield_completion completion);

    /* Sees an event, at once. JACKFIELD_CONTINUE: it goes on, as the EVENT in the result where there is one.
     * JACKFIELD_DROP: it goes no further. JACKFIELD_OK is JACKFIELD_CONTINUE. `about` is absent for JACKFIELD_FIRED. */
    void (*filter_event)(struct jackfield_instance *instance, uint32_t index, uint32_t when,
                         const struct jackfield_event *event, struct jackfield_text about,
                         struct jackfield_completion completion);

    /* A session started or ended: SESSION with "number", and "reason" when it ended. It must return at once. */
    void (*session_changed)(struct jackfield_instance *instance, uint32_t index, struct jackfield_text change);

    /* Takes a log RECORD, at once: JACKFIELD_OK once it is queued. */
    void (*log)(struct jackfield_instance *instance, uint32_t index, struct jackfield_text record,
                struct jackfield_completion completion);

    /* Takes a line of the broker's own log, as far as its filter lets it through: {"time": seconds since 1970, "level":
     * syslog severity, "target", "message", "fields"}. What the plugin itself logs does not come here. */
    void (*broker_log)(struct jackfield_instance *instance, uint32_t index, struct jackfield_text line);

    /* Runs a service until it is done or `stop` is called. */
    uint64_t (*run)(struct jackfield_instance *instance, uint32_t index, struct jackfield_completion completion);

    /* All services are to end, within so many milliseconds where that is known, else 0. What still runs then is
     * cancelled. */
    void (*stop)(struct jackfield_instance *instance, uint64_t milliseconds);

    /* A piece of work is not wanted any more. Its completion is to be called soon all the same, with
     * JACKFIELD_CANCELLED or as if nothing had happened. A number that is not known is to be ignored: the work may
     * have ended meanwhile. */
    void (*cancel)(struct jackfield_instance *instance, uint64_t work);

    /* Always. Frees an instance. It may take its time. */
    void (*destroy)(struct jackfield_instance *instance);
};

/* The name of the exported symbol. */
#define JACKFIELD_PLUGIN_SYMBOL "jackfield_plugin_v1"

#if defined(_WIN32)
#define JACKFIELD_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define JACKFIELD_EXPORT __attribute__((visibility("default")))
#else
#define JACKFIELD_EXPORT
#endif

/* Text from a string literal; as an initialiser. */
#define JACKFIELD_TEXT(literal) { (literal), sizeof(literal) - 1 }

#ifdef __cplusplus
}
#endif

#endif
