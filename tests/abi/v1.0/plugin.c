/* Uses all of version 1.0 of the ABI. Frozen: see ../README.md. */
#define _POSIX_C_SOURCE 200809L
#include "jackfield_plugin.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct jackfield_instance {
    const struct jackfield_host *host;
    struct jackfield_broker *broker;
    char seen[512];
    char logged[512];
    int lines;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    int stop;
    uint64_t within;
    uint64_t counter;
    uint64_t cancelled;
    struct jackfield_completion never;
};

static struct jackfield_text text(const char *string) {
    struct jackfield_text result = { string, string == NULL ? 0 : strlen(string) };
    return result;
}

static int is(struct jackfield_text one, const char *other) {
    return one.ptr != NULL && one.len == strlen(other) && memcmp(one.ptr, other, one.len) == 0;
}

static int has(struct jackfield_text one, const char *part) {
    size_t length = strlen(part);
    for (size_t at = 0; one.ptr != NULL && at + length <= one.len; at++)
        if (memcmp(one.ptr + at, part, length) == 0)
            return 1;
    return 0;
}

static void end(struct jackfield_completion completion, uint32_t status, const char *result) {
    completion.done(completion.ctx, status, text(result));
}

static void manifest(struct jackfield_completion completion) {
    end(completion, JACKFIELD_OK,
        "{\"name\":\"abi-1-0\",\"version\":\"1.0.0\",\"about\":\"All of version 1.0.\",\"depends\":[],\"exec\":\"inline\","
        "\"config_schema\":{\"type\":\"object\",\"properties\":{\"refuse\":{\"type\":\"boolean\"}}}}");
}

static struct jackfield_instance *create(const struct jackfield_host *host, struct jackfield_broker *broker,
                                         struct jackfield_completion completion) {
    struct jackfield_instance *instance = calloc(1, sizeof *instance);
    if (host->size < sizeof *host || host->abi_major != 1 || instance == NULL) {
        free(instance);
        end(completion, JACKFIELD_ERROR, "{\"code\":200001,\"error\":\"An odd host\"}");
        return NULL;
    }
    instance->host = host;
    instance->broker = broker;
    pthread_mutex_init(&instance->lock, NULL);
    pthread_cond_init(&instance->stopped, NULL);
    end(completion, JACKFIELD_OK, NULL);
    return instance;
}

/* Answers of questions that are answered at once are copied here. */
struct answer {
    uint32_t status;
    int called;
    char text[1800];
};

static void keep(void *ctx, uint32_t status, struct jackfield_text result) {
    struct answer *answer = ctx;
    size_t length = result.len < sizeof answer->text - 1 ? result.len : sizeof answer->text - 1;
    if (result.ptr != NULL)
        memcpy(answer->text, result.ptr, length);
    answer->text[result.ptr == NULL ? 0 : length] = '\0';
    answer->status = status;
    answer->called++;
}

static struct answer ask(struct jackfield_instance *instance, const char *question, const char *arguments) {
    struct answer answer = { 0, 0, "" };
    struct jackfield_completion completion = { &answer, keep, NULL };
    instance->host->ask(instance->broker, text(question), text(arguments), NULL, completion);
    if (answer.called != 1)
        snprintf(answer.text, sizeof answer.text, "\"answered %d times\"", answer.called);
    return answer;
}

static void register_all(struct jackfield_instance *instance, struct jackfield_text config,
                         struct jackfield_completion completion) {
    if (has(config, "\"refuse\":true")) {
        end(completion, JACKFIELD_ERROR, "{\"code\":200002,\"error\":\"I was told to\"}");
        return;
    }
    struct answer counter = ask(instance, "counter", "{\"name\":\"abi_served\",\"help\":\"Served.\"}");
    sscanf(counter.text, "{\"number\":%llu}", (unsigned long long *)&instance->counter);
    end(completion, JACKFIELD_OK,
        "{\"commands\":["
        "{\"class\":\"abi\",\"cmd\":\"now\",\"about\":\"Answers at once.\",\"aliases\":[\"soon\"]},"
        "{\"class\":\"abi\",\"cmd\":\"later\",\"about\":\"Answers from another thread.\"},"
        "{\"class\":\"abi\",\"cmd\":\"fail\",\"about\":\"Fails.\"},"
        "{\"class\":\"abi\",\"cmd\":\"break\",\"about\":\"Breaks.\"},"
        "{\"class\":\"abi\",\"cmd\":\"never\",\"about\":\"Never answers.\",\"keeps_own_time\":false},"
        "{\"class\":\"abi\",\"subclass\":\"*\",\"cmd\":\"*\",\"about\":\"Hands on.\"},"
        "{\"class\":\"abi\",\"cmd\":\"seen\",\"about\":\"What it was told.\"},"
        "{\"class\":\"abi\",\"cmd\":\"ask\",\"about\":\"Asks the broker.\"},"
        "{\"class\":\"core\",\"cmd\":\"ping\",\"about\":\"Hands on to the core's.\",\"unrestricted\":true},"
        "{\"class\":\"abi\",\"cmd\":\"bye\",\"about\":\"Ends the session.\"}],"
        "\"authenticators\":[{\"secret_fields\":[\"badge\"]}],\"event_filters\":[{\"filters_deliveries\":true}],"
        "\"authorizers\":1,\"session_observers\":1,\"log_sinks\":1,\"broker_log_sinks\":1,\"services\":1}");
}

struct later {
    struct jackfield_instance *instance;
    const struct jackfield_request *request;
    struct jackfield_completion completion;
};

static void *answer_later(void *arg) {
    struct later *later = arg;
    struct timespec moment = { 0, 20 * 1000 * 1000 };
    nanosleep(&moment, NULL);
    later->instance->host->ack(later->request->call);
    char answer[1024];
    /* The request is there until it is answered. */
    snprintf(answer, sizeof answer, "{\"data\":%.*s,\"user\":\"%.*s\",\"class\":\"%.*s\"}",
             (int)later->request->data.len, later->request->data.ptr, (int)later->request->caller->user.len,
             later->request->caller->user.ptr, (int)later->request->class_name.len, later->request->class_name.ptr);
    end(later->completion, JACKFIELD_OK, answer);
    free(later);
    return NULL;
}

static uint64_t start_thread(struct jackfield_instance *instance, const struct jackfield_request *request,
                             struct jackfield_completion completion) {
    struct later *later = malloc(sizeof *later);
    pthread_t thread;
    later->instance = instance;
    later->request = request;
    later->completion = completion;
    pthread_create(&thread, NULL, answer_later, later);
    pthread_detach(thread);
    return 0;
}

static void tell_seen(struct jackfield_instance *instance, struct jackfield_completion completion) {
    char answer[1400];
    pthread_mutex_lock(&instance->lock);
    snprintf(answer, sizeof answer, "{\"session\":%s,\"record\":%s,\"lines\":%d,\"cancelled\":%llu}",
             instance->seen[0] ? instance->seen : "null", instance->logged[0] ? instance->logged : "null",
             instance->lines, (unsigned long long)instance->cancelled);
    pthread_mutex_unlock(&instance->lock);
    end(completion, JACKFIELD_OK, answer);
}

static void tell_asked(struct jackfield_instance *instance, const struct jackfield_request *request,
                       struct jackfield_completion completion) {
    struct answer caller = { 0, 0, "" };
    struct jackfield_completion into = { &caller, keep, NULL };
    instance->host->caller(request->call, into);
    struct answer service = ask(instance, "service", "{}");
    struct answer users = ask(instance, "users", "{}");
    struct answer published =
        ask(instance, "publish", "{\"event\":{\"class\":\"abi\",\"type\":\"told\",\"body\":{\"n\":1.50}}}");
    struct answer refused = ask(instance, "publish", "{\"event\":{\"class\":\"core\"}}");
    struct answer unknown = ask(instance, "no such question", "{}");
    struct answer nobody = ask(instance, "session", "{\"session_id\":\"nobody\"}");
    instance->host->counter_add(instance->broker, instance->counter, 3);
    if (instance->host->log_level() >= 3)
        instance->host->log(text("abi-1-0"), 3, text("abi"), text("asked"), text("{\"n\":1}"));
    char answer[16384];
    snprintf(answer, sizeof answer,
             "{\"caller\":%s,\"service\":%s,\"users\":%s,\"published\":%s,\"refused\":%u,\"unknown\":%u,\"nobody\":%s}",
             caller.text, service.text, users.text, published.text, refused.status, unknown.status, nobody.text);
    end(completion, JACKFIELD_OK, answer);
}

static uint64_t call(struct jackfield_instance *instance, uint32_t index, const struct jackfield_request *request,
                     struct jackfield_completion completion) {
    switch (index) {
    case 0: end(completion, JACKFIELD_OK, "{\"now\":true}"); return 0;
    case 1: return start_thread(instance, request, completion);
    case 2: end(completion, JACKFIELD_ERROR, "{\"code\":200003,\"error\":\"Sorry\",\"details\":{\"n\":2.5}}"); return 0;
    case 3: end(completion, JACKFIELD_PANIC, "something broke"); return 0;
    case 4:
        pthread_mutex_lock(&instance->lock);
        instance->never = completion;
        pthread_mutex_unlock(&instance->lock);
        return 7;
    case 5: end(completion, JACKFIELD_CONTINUE, NULL); return 0;
    case 6: tell_seen(instance, completion); return 0;
    case 7: tell_asked(instance, request, completion); return 0;
    case 8: end(completion, JACKFIELD_CONTINUE, "{\"data\":{\"time\":1}}"); return 0;
    default:
        instance->host->end_session(request->call);
        end(completion, JACKFIELD_OK, NULL);
        return 0;
    }
}

static uint64_t authenticate(struct jackfield_instance *instance, uint32_t index, struct jackfield_text login,
                             struct jackfield_text caller, struct jackfield_completion completion) {
    (void)instance;
    (void)index;
    if (has(login, "\"badge\":\"good\"") && has(caller, "\"who\":\"anonymous\""))
        end(completion, JACKFIELD_OK, "{\"verdict\":\"accept\",\"user\":\"badge\",\"metadata\":{\"by\":\"abi\"},\"answer\":{\"hello\":1}}");
    else if (has(login, "\"badge\""))
        end(completion, JACKFIELD_OK, "{\"verdict\":\"reject\",\"error\":{\"code\":200004,\"error\":\"No such badge\"}}");
    else
        end(completion, JACKFIELD_OK, "{\"verdict\":\"continue\"}");
    return 0;
}

static uint64_t authorize(struct jackfield_instance *instance, uint32_t index, struct jackfield_text caller,
                          struct jackfield_text action, struct jackfield_completion completion) {
    (void)instance;
    (void)index;
    if (has(caller, "\"user\":\"ann\"") && has(action, "\"class\":\"forbidden\""))
        end(completion, JACKFIELD_OK, "{\"decision\":\"deny\",\"error\":{\"code\":200005,\"error\":\"Not for you\"},\"cache_for\":1.5}");
    else
        end(completion, JACKFIELD_OK, "{\"decision\":\"continue\"}");
    return 0;
}

static void filter_event(struct jackfield_instance *instance, uint32_t index, uint32_t when,
                         const struct jackfield_event *event, struct jackfield_text about,
                         struct jackfield_completion completion) {
    (void)instance;
    (void)index;
    if (when == JACKFIELD_FIRED && is(event->type, "dropped"))
        end(completion, JACKFIELD_DROP, NULL);
    else if (when == JACKFIELD_DELIVERING && is(event->type, "marked") && has(about, "\"user\":\"ann\""))
        end(completion, JACKFIELD_CONTINUE, "{\"class\":\"abi\",\"type\":\"marked\",\"body\":{\"marked\":true}}");
    else
        end(completion, JACKFIELD_CONTINUE, NULL);
}

static void copy(char *to, size_t size, struct jackfield_text from) {
    if (from.ptr != NULL && from.len < size) {
        memcpy(to, from.ptr, from.len);
        to[from.len] = '\0';
    }
}

static void session_changed(struct jackfield_instance *instance, uint32_t index, struct jackfield_text change) {
    (void)index;
    pthread_mutex_lock(&instance->lock);
    copy(instance->seen, sizeof instance->seen, change);
    pthread_mutex_unlock(&instance->lock);
}

static void take_log(struct jackfield_instance *instance, uint32_t index, struct jackfield_text record,
                     struct jackfield_completion completion) {
    (void)index;
    pthread_mutex_lock(&instance->lock);
    copy(instance->logged, sizeof instance->logged, record);
    pthread_mutex_unlock(&instance->lock);
    if (has(record, "\"message\":\"full\""))
        end(completion, JACKFIELD_ERROR, "{\"code\":100084,\"error\":\"Plugin unavailable: abi\"}");
    else
        end(completion, JACKFIELD_OK, NULL);
}

static void broker_log(struct jackfield_instance *instance, uint32_t index, struct jackfield_text line) {
    (void)index;
    (void)line;
    pthread_mutex_lock(&instance->lock);
    instance->lines++;
    pthread_mutex_unlock(&instance->lock);
}

struct service {
    struct jackfield_instance *instance;
    struct jackfield_completion completion;
};

static void *serve(void *arg) {
    struct service *service = arg;
    struct jackfield_instance *instance = service->instance;
    pthread_mutex_lock(&instance->lock);
    while (!instance->stop)
        pthread_cond_wait(&instance->stopped, &instance->lock);
    pthread_mutex_unlock(&instance->lock);
    end(service->completion, JACKFIELD_OK, NULL);
    free(service);
    return NULL;
}

static uint64_t run(struct jackfield_instance *instance, uint32_t index, struct jackfield_completion completion) {
    (void)index;
    struct service *service = malloc(sizeof *service);
    pthread_t thread;
    service->instance = instance;
    service->completion = completion;
    pthread_create(&thread, NULL, serve, service);
    pthread_detach(thread);
    return 9;
}

static void stop(struct jackfield_instance *instance, uint64_t milliseconds) {
    pthread_mutex_lock(&instance->lock);
    instance->stop = 1;
    instance->within = milliseconds;
    pthread_cond_broadcast(&instance->stopped);
    pthread_mutex_unlock(&instance->lock);
}

static void cancel(struct jackfield_instance *instance, uint64_t work) {
    struct jackfield_completion completion = { NULL, NULL, NULL };
    pthread_mutex_lock(&instance->lock);
    if (work == 7) {
        completion = instance->never;
        instance->cancelled++;
    }
    pthread_mutex_unlock(&instance->lock);
    if (completion.done != NULL)
        end(completion, JACKFIELD_CANCELLED, NULL);
}

static void destroy(struct jackfield_instance *instance) {
    instance->host->log(text("abi-1-0"), 3, text("abi"), text("destroyed"), text(NULL));
    free(instance);
}

JACKFIELD_EXPORT const struct jackfield_plugin jackfield_plugin_v1 = {
    JACKFIELD_MAGIC, sizeof(struct jackfield_plugin), JACKFIELD_ABI_MAJOR, JACKFIELD_ABI_MINOR, JACKFIELD_UNWINDS,
    JACKFIELD_TEXT("C, version 1.0 of the ABI"), manifest, create, register_all, call, authenticate, authorize,
    filter_event, session_changed, take_log, broker_log, run, stop, cancel, destroy,
};
