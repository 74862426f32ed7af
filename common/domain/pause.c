#include "common/domain/pause.h"

#include <stdio.h>
#include <string.h>

#include "common/base/date.h"

static const char *const kind_names[] = {
#define PAUSE_KIND_NAME(unused, kind, name) name,
    PAUSE_KIND_MAP(PAUSE_KIND_NAME, )
#undef PAUSE_KIND_NAME
};

static const char manual[] = "/manual", automatic[] = "/automatic";

const char *pause_kind_name(enum pause_kind kind)
{
    return kind_names[kind];
}

const char *pause_assignment_name(const char *course, const char *assignment,
                                  char name[PAUSE_NAME_SIZE])
{
    snprintf(name, PAUSE_NAME_SIZE, "%s/%s", course, assignment);
    return name;
}

const char *pause_id(enum pause_kind kind, const char *name, bool is_automatic,
                     char id[PAUSE_ID_SIZE])
{
    snprintf(id, PAUSE_ID_SIZE, "%s/%s%s", kind_names[kind], name,
             is_automatic ? automatic : manual);
    return id;
}

/* The length of the text before the ending; 0: it ends otherwise. */
static size_t pause_stem(const char *id, const char *ending)
{
    size_t length = strlen(id), rest = strlen(ending);
    return length > rest && strcmp(id + length - rest, ending) == 0 ? length - rest : 0;
}

bool pause_id_parse(const char *id, struct pause *pause)
{
    size_t stem = pause_stem(id, manual);
    pause->is_automatic = stem == 0;
    if (pause->is_automatic)
        stem = pause_stem(id, automatic);
    for (unsigned kind = 0; kind < PAUSE_KINDS; kind++) {
        size_t length = strlen(kind_names[kind]) + 1;
        if (stem < length || strncmp(id, kind_names[kind], length - 1) != 0 ||
            id[length - 1] != '/')
            continue;
        pause->kind = (enum pause_kind)kind;
        snprintf(pause->name, sizeof pause->name, "%.*s", (int)(stem - length), id + length);
        return true;
    }
    return false;
}

bool pause_is_in_force(const struct pause *pause, int64_t date_ms)
{
    return pause->resumed_ms == 0 && (pause->until_ms == 0 || date_ms < pause->until_ms);
}

static json_t *pause_date(int64_t date_ms)
{
    char text[DATE_TEXT_SIZE];
    return date_ms == 0 ? json_null() : json_string(date_format(date_ms, text));
}

json_t *pause_json(const struct pause *pause)
{
    json_t *object = json_pack("{s:s,s:s,s:o,s:o,s:s,s:b}", "kind", kind_names[pause->kind], "by",
                               pause->by, "at", pause_date(pause->at_ms), "until",
                               pause_date(pause->until_ms), "note", pause->note, "automatic",
                               (int)pause->is_automatic);
    if (pause->kind != PAUSE_CLUSTER)
        json_object_set_new(object, "name", json_string(pause->name));
    if (pause->kind == PAUSE_WORKER)
        json_object_set_new(object, "drain", json_boolean(pause->is_drain));
    return object;
}
