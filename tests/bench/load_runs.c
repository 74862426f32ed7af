#include "tests/bench/load_runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 100, STUDENT_SIZE = 64, HEAD_SIZE = 512 };

static const char create_path[] = "/api/v1/grading_run",
                  course_path[] = "/api/v1/grading_run/bench/bench";

void runs_open(struct runs *runs, struct loop *loop)
{
    memset(runs, 0, sizeof *runs);
    runs->loop = loop;
    runs->path = create_path;
}

#define STAGE                                                                                \
    "{\"image\":\"debian:12-slim\",\"entrypoint\":[\"python3\",\"/job/grade.py\"],\"env\":{" \
    "\"NETID\":\"\",\"ASSIGNMENT\":\"\"},\"timeout\":60}"

void runs_describe(struct runs *runs, size_t students, bool has_pre)
{
    size_t room = HEAD_SIZE + students * STUDENT_SIZE;
    free(runs->body);
    runs->body = malloc(room);
    if (runs->body == NULL)
        abort();
    size_t length = (size_t)snprintf(
        runs->body, room,
        runs->bearer != NULL ? "{%s\"students_env\":["
                             : "{%s\"student_pipeline\":[" STAGE
                               "],\"env\":{\"ASSIGNMENT\":\"mp1\"},\"students\":[",
        has_pre && runs->bearer == NULL
            ? "\"preprocessing_pipeline\":[{\"image\":\"debian:12-slim\"}],"
            : "");
    for (size_t i = 0; i < students; i++)
        length += (size_t)snprintf(runs->body + length, room - length,
                                   "%s{\"NETID\":\"student%06zu\"}", i > 0 ? "," : "", i);
    length += (size_t)snprintf(runs->body + length, room - length, "]}");
    runs->body_length = length;
}

void runs_of_course(struct runs *runs, const char *bearer)
{
    runs->bearer = bearer;
    for (size_t i = 0; i < runs->instructor_count; i++)
        runs->instructors[i].link.bearer = bearer;
}

static void keep_id(struct runs *runs, const char *body)
{
    const char *at = strstr(body, "\"id\":\"");
    if (at == NULL || strlen(at + 6) < RUN_SIZE - 1)
        return;
    if (runs->id_count == runs->id_room) {
        runs->id_room = runs->id_room * 2 + 256;
        runs->ids = realloc(runs->ids, runs->id_room * sizeof *runs->ids);
        if (runs->ids == NULL)
            abort();
    }
    snprintf(runs->ids[runs->id_count++], RUN_SIZE, "%.24s", at + 6);
}

static bool goes_on(const struct runs *runs)
{
    return runs->until_ns != 0 ? now_ns() < runs->until_ns : runs->left > 0;
}

static void send_next(struct instructor *instructor)
{
    struct runs *runs = instructor->runs;
    char path[PATH_SIZE];
    if (!goes_on(runs))
        return;
    runs->left -= runs->until_ns == 0;
    runs->inflight++;
    if (!instructor->is_starting) {
        link_send(&instructor->link, "POST", runs->path, runs->body, runs->body_length);
        return;
    }
    if (runs->bearer != NULL) {
        runs->next_id++;
        link_send(&instructor->link, "POST", course_path, runs->body, runs->body_length);
        return;
    }
    snprintf(path, sizeof path, "%s/%s", create_path, runs->ids[runs->next_id++]);
    link_send(&instructor->link, "POST", path, NULL, 0);
}

static void answered(struct link *link, const struct answer *answer)
{
    struct instructor *instructor = link->owner;
    struct runs *runs = instructor->runs;
    runs->inflight--;
    if (answer->status != 200) {
        loop_refused(runs->loop, answer);
        return; /* so that a refusal can't be repeated for ever */
    }
    runs->done++;
    samples_add(&runs->took, now_ns() - link->sent_ns);
    if (!instructor->is_starting && runs->path == create_path)
        keep_id(runs, answer->body);
    send_next(instructor);
}

static void connect_instructors(struct runs *runs, size_t connections, bool is_starting)
{
    if (connections > INSTRUCTORS_MAX)
        connections = INSTRUCTORS_MAX;
    for (; runs->instructor_count < connections; runs->instructor_count++) {
        struct instructor *added = &runs->instructors[runs->instructor_count];
        added->runs = runs;
        link_init(&added->link, runs->loop->epoll,
                  &runs->loop->targets[runs->instructor_count % runs->loop->target_count], answered,
                  added);
        added->link.bearer = runs->bearer;
    }
    samples_clear(&runs->took);
    runs->done = 0;
    for (size_t i = 0; i < connections; i++) {
        runs->instructors[i].is_starting = is_starting;
        send_next(&runs->instructors[i]);
    }
}

static bool is_over(void *context)
{
    const struct runs *runs = context;
    return runs->inflight == 0;
}

void runs_submit(struct runs *runs, size_t count, size_t connections, double seconds)
{
    if (runs->bearer != NULL) {
        runs->id_count += count;
        runs->done = count;
        return;
    }
    runs->left = count;
    runs->until_ns = count == 0 ? now_ns() + (int64_t)(seconds * 1e9) : 0;
    connect_instructors(runs, connections, false);
    loop_run(runs->loop, is_over, runs, 300);
}

void runs_begin_start(struct runs *runs, size_t connections)
{
    runs->left = runs->id_count - runs->next_id;
    runs->until_ns = 0;
    connect_instructors(runs, connections, true);
}

void runs_leave(struct runs *runs)
{
    runs->next_id = runs->id_count;
}

bool runs_are_started(const struct runs *runs)
{
    return runs->inflight == 0 && runs->left == 0;
}
