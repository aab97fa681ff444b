/* A plugin in C: a command, temperature/core/convert, and a filter for events of class "temperature".
 *
 *     cc -std=c11 -O2 -shared -fPIC -I plugin-api/include -o target/libtemperature.so examples/plugin_in_c/temperature.c
 *     jackfield run --plugin auth-open --plugin target/libtemperature.so
 *     jackfield call temperature/core/convert '{"celsius": 21.5}' --user ann
 *
 * What the functions below must do is written in jackfield_plugin.h. */
#include "jackfield_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One for each service that lists the plugin. */
struct jackfield_instance {
    const struct jackfield_host *host;
    struct jackfield_broker *broker;
};

static const struct jackfield_text NOTHING = { NULL, 0 };

static struct jackfield_text text(const char *string) {
    struct jackfield_text text = { string, strlen(string) };
    return text;
}

static int equals(struct jackfield_text one, const char *other) {
    return one.ptr != NULL && one.len == strlen(other) && memcmp(one.ptr, other, one.len) == 0;
}

static void end(struct jackfield_completion completion, uint32_t status, const char *result) {
    completion.done(completion.ctx, status, result == NULL ? NOTHING : text(result));
}

static void manifest(struct jackfield_completion completion) {
    end(completion, JACKFIELD_OK,
        "{\"name\": \"temperature\", \"version\": \"1.0.0\", \"about\": \"Converts temperatures.\"}");
}

static struct jackfield_instance *create(const struct jackfield_host *host, struct jackfield_broker *broker,
                                         struct jackfield_completion completion) {
    struct jackfield_instance *instance = malloc(sizeof *instance);
    if (instance == NULL) {
        end(completion, JACKFIELD_ERROR, "{\"code\": 100002, \"error\": \"Out of memory\"}");
        return NULL;
    }
    instance->host = host;
    instance->broker = broker;
    end(completion, JACKFIELD_OK, NULL);
    return instance;
}

static void register_all(struct jackfield_instance *instance, struct jackfield_text config,
                         struct jackfield_completion completion) {
    (void)instance;
    (void)config;
    end(completion, JACKFIELD_OK,
        "{\"commands\": [{"
        "  \"class\": \"temperature\", \"cmd\": \"convert\", \"about\": \"Converts degrees Celsius to Fahrenheit.\","
        "  \"data_schema\": {\"type\": \"object\", \"required\": [\"celsius\"], \"additionalProperties\": false, \"properties\":"
        "    {\"celsius\": {\"type\": \"number\", \"minimum\": -273.15, \"description\": \"Degrees Celsius.\"}}},"
        "  \"reply_schema\": {\"type\": \"object\", \"required\": [\"fahrenheit\"], \"properties\":"
        "    {\"fahrenheit\": {\"type\": \"number\"}}}"
        "}], \"event_filters\": [{}]}");
}

/* The data fits the schema, so it is one object with one field, a number. It does not end in NUL. */
static double celsius(struct jackfield_text data) {
    char *copy = malloc(data.len + 1);
    if (copy == NULL)
        return 0.0;
    memcpy(copy, data.ptr, data.len);
    copy[data.len] = '\0';
    const char *colon = strchr(copy, ':');
    double number = colon == NULL ? 0.0 : strtod(colon + 1, NULL);
    free(copy);
    return number;
}

static uint64_t call(struct jackfield_instance *instance, uint32_t index, const struct jackfield_request *request,
                     struct jackfield_completion completion) {
    (void)index; /* there is one command */
    char answer[64];
    snprintf(answer, sizeof answer, "{\"fahrenheit\":%.2f}", celsius(request->data) * 9.0 / 5.0 + 32.0);
    if (instance->host->log_level() >= 4)
        instance->host->log(text("temperature"), 4, text("temperature"), text("converted"), request->data);
    end(completion, JACKFIELD_OK, answer);
    return 0; /* nothing to cancel: it is answered */
}

/* Events of the class must name their sensor, else they are dropped. Raw ones become readings. */
static void filter_event(struct jackfield_instance *instance, uint32_t index, uint32_t when,
                         const struct jackfield_event *event, struct jackfield_text about,
                         struct jackfield_completion completion) {
    (void)instance;
    (void)index;
    (void)about;
    if (when != JACKFIELD_FIRED || !equals(event->class_name, "temperature")) {
        end(completion, JACKFIELD_CONTINUE, NULL);
        return;
    }
    if (event->obj_id.ptr == NULL) {
        end(completion, JACKFIELD_DROP, NULL);
        return;
    }
    if (!equals(event->type, "raw") || memchr(event->obj_id.ptr, '"', event->obj_id.len) != NULL ||
        memchr(event->obj_id.ptr, '\\', event->obj_id.len) != NULL) {
        end(completion, JACKFIELD_CONTINUE, NULL);
        return;
    }
    size_t size = event->obj_id.len + event->body.len + 96;
    char *changed = malloc(size);
    if (changed == NULL) {
        end(completion, JACKFIELD_CONTINUE, NULL);
        return;
    }
    snprintf(changed, size, "{\"class\":\"temperature\",\"type\":\"reading\",\"obj_id\":\"%.*s\",\"body\":%.*s}",
             (int)event->obj_id.len, event->obj_id.ptr, (int)event->body.len, event->body.ptr);
    end(completion, JACKFIELD_CONTINUE, changed);
    free(changed);
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
    .filter_event = filter_event,
    .destroy = destroy,
};
