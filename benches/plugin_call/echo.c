/* The plugin in C that plugin_call loads: a command that gives back what it gets. */
#include "jackfield_plugin.h"

#include <stdlib.h>

struct jackfield_instance {
    const struct jackfield_host *host;
};

static void manifest(struct jackfield_completion completion) {
    static const struct jackfield_text JSON = JACKFIELD_TEXT("{\"name\": \"echo-in-c\", \"version\": \"1.0.0\"}");
    completion.done(completion.ctx, JACKFIELD_OK, JSON);
}

static struct jackfield_instance *create(const struct jackfield_host *host, struct jackfield_broker *broker,
                                         struct jackfield_completion completion) {
    static const struct jackfield_text NOTHING = { NULL, 0 };
    (void)broker;
    struct jackfield_instance *instance = malloc(sizeof *instance);
    if (instance != NULL)
        instance->host = host;
    completion.done(completion.ctx, instance == NULL ? JACKFIELD_ERROR : JACKFIELD_OK, NOTHING);
    return instance;
}

static void register_all(struct jackfield_instance *instance, struct jackfield_text config,
                         struct jackfield_completion completion) {
    static const struct jackfield_text JSON = JACKFIELD_TEXT("{\"commands\": [{\"class\": \"c\", \"cmd\": \"ready\"}]}");
    (void)instance;
    (void)config;
    completion.done(completion.ctx, JACKFIELD_OK, JSON);
}

static uint64_t call(struct jackfield_instance *instance, uint32_t index, const struct jackfield_request *request,
                     struct jackfield_completion completion) {
    (void)instance;
    (void)index;
    completion.done(completion.ctx, JACKFIELD_OK, request->data);
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
