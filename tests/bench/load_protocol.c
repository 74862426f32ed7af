#include "tests/bench/load_protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Polls end at different moments, as those of real graders do. */
enum { WAIT_S = 35, WAIT_SPREAD_S = 25, PATH_SIZE = 200, BODY_SIZE = 200 };

static const char register_body[] = "{\"hostname\":\"bench\"}";

bool answer_field(const char *body, const char *name, char value[JOB_SIZE])
{
    char key[32];
    snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *at = strstr(body, key);
    if (at == NULL)
        return false;
    at += strlen(key);
    size_t length = strcspn(at, "\"");
    if (length >= JOB_SIZE)
        return false;
    memcpy(value, at, length);
    value[length] = '\0';
    return true;
}

/* ---- The classic protocol ---- */

static void classic_enroll(struct grader *grader)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/api/v1/worker_register?hostname=bench&token=%s",
             grader->fleet->loop->token);
    link_send(&grader->link, "GET", path, NULL, 0);
}

static bool classic_take_enrolled(struct grader *grader, const struct answer *answer)
{
    return answer->status == 200 && answer_field(answer->body, "worker_id", grader->worker);
}

static void classic_poll(struct grader *grader)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/api/v1/grading_job?worker_id=%s&wait=%d", grader->worker,
             WAIT_S + rand() % WAIT_SPREAD_S);
    link_send(&grader->link, "GET", path, NULL, 0);
}

static void classic_report(struct grader *grader)
{
    char path[PATH_SIZE], body[BODY_SIZE];
    int length = snprintf(body, sizeof body,
                          "{\"worker_id\":\"%s\",\"result\":{\"score\":10},\"success\":true}",
                          grader->worker);
    snprintf(path, sizeof path, "/api/v1/grading_job/%s", grader->job);
    link_send(&grader->link, "POST", path, body, (size_t)length);
}

/* ---- The course protocol ---- */

static void name_worker(struct grader *grader)
{
    grader->link.bearer = grader->fleet->loop->token;
    snprintf(grader->worker, sizeof grader->worker, "bench-%zu",
             (size_t)(grader - grader->fleet->graders));
}

static void course_enroll(struct grader *grader)
{
    char path[PATH_SIZE];
    name_worker(grader);
    snprintf(path, sizeof path, "/api/v1/worker/%s", grader->worker);
    link_send(&grader->link, "POST", path, register_body, sizeof register_body - 1);
}

static bool course_take_enrolled(struct grader *grader, const struct answer *answer)
{
    (void)grader;
    return answer->status == 200;
}

/* How long it waits is the replica's --course-poll-wait, at most. */
static void course_poll(struct grader *grader)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/api/v1/grading_job/%s", grader->worker);
    link_send(&grader->link, "GET", path, NULL, 0);
}

static int write_result(const struct grader *grader, char body[BODY_SIZE])
{
    return snprintf(body, BODY_SIZE,
                    "{\"grading_job_id\":\"%s\",\"success\":true,\"results\":[{\"score\":10}],"
                    "\"logs\":{}}",
                    grader->job);
}

static void course_report(struct grader *grader)
{
    char path[PATH_SIZE], body[BODY_SIZE];
    int length = write_result(grader, body);
    snprintf(path, sizeof path, "/api/v1/grading_job/%s", grader->worker);
    link_send(&grader->link, "POST", path, body, (size_t)length);
}

static void socket_enroll(struct grader *grader)
{
    char path[PATH_SIZE];
    name_worker(grader);
    snprintf(path, sizeof path, "/api/v1/worker_ws/%s", grader->worker);
    link_upgrade(&grader->link, path);
}

static bool socket_take_enrolled(struct grader *grader, const struct answer *answer)
{
    char frame[BODY_SIZE];
    if (answer->status != 101)
        return answer->status == 200 && strstr(answer->body, "true") != NULL;
    int length = snprintf(frame, sizeof frame, "{\"type\":\"register\",\"args\":%s}",
                          register_body);
    link_send_frame(&grader->link, FRAME_TEXT, frame, (size_t)length);
    return false;
}

static void socket_report(struct grader *grader)
{
    char body[BODY_SIZE], frame[2 * BODY_SIZE];
    write_result(grader, body);
    int length = snprintf(frame, sizeof frame, "{\"type\":\"job_result\",\"args\":%s}", body);
    link_send_frame(&grader->link, FRAME_TEXT, frame, (size_t)length);
}

static const struct protocol protocols[] = {
    {"classic", "job_id", false, classic_enroll, classic_take_enrolled, classic_poll,
     classic_report},
    {"course-http", "grading_job_id", false, course_enroll, course_take_enrolled, course_poll,
     course_report},
    {"course-ws", "grading_job_id", true, socket_enroll, socket_take_enrolled, NULL, socket_report},
};

const struct protocol *protocol_find(const char *name)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (strcmp(protocols[i].name, name) == 0)
            return &protocols[i];
    return NULL;
}
