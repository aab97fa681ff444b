/* A plugin whose handler blocks its thread, and says so in its manifest. */
#define _POSIX_C_SOURCE 200809L
#include "jackfield_plugin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct jackfield_instance {
    int nothing;
};

static void end(struct jackfield_completion completion, const char *result) {
    struct jackfield_text text = { result, strlen(result) };
    completion.done(completion.ctx, JACKFIELD_OK, text);
}

static void manifest(struct jackfield_completion completion) {
    end(completion, "{\"name\":\"blocking\",\"version\":\"1.0.0\",\"exec\":\"offload\"}");
}

static struct jackfield_instance *create(const struct jackfield_host *host, struct jackfield_broker *broker,
                                         struct jackfield_completion completion) {
    (void)host;
    (void)broker;
    struct jackfield_instance *instance = calloc(1, sizeof *instance);
    end(completion, "{}");
    return instance;
}

static void register_all(struct jackfield_instance *instance, struct jackfield_text config,
                         struct jackfield_completion completion) {
    (void)instance;
    (void)config;
    end(completion, "{\"commands\":[{\"class\":\"blocking\",\"cmd\":\"wait\",\"about\":\"Blocks for 500 ms.\"}]}");
}

static uint64_t call(struct jackfield_instance *instance, uint32_t index, const struct jackfield_request *request,
                     struct jackfield_completion completion) {
    (void)instance;
    (void)index;
    (void)request;
    struct timespec half_a_second = { 0, 500 * 1000 * 1000 };
    nanosleep(&half_a_second, NULL);
    end(completion, "{\"waited\":true}");
    return 0;
}

static void destroy(struct jackfield_instance *instance) {
    free(instance);
}

JACKFIELD_EXPORT const struct jackfield_plugin jackfield_plugin_v1 = {
    .magic = JACKFIELD_MAGIC,
    .size = sizeof(struct jackfield_plugin),
    .abi_major = JACKFIELD_ABI_MAJOR,
    .abi_minor = JACKFIELD_ABI_MINOR,
    .panic_strategy = JACKFIELD_UNWINDS,
    .toolchain = JACKFIELD_TEXT("C11"),
    .manifest = manifest,
    .create = create,
    .register_all = register_all,
    .call = call,
    .destroy = destroy,
};
