#include "tests/simulation/fake_base.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/otlp.h"
#include "scheduler/metrics.h"
#include "tests/simulation/world.h"

/* The functions that it stands in for have no argument that could carry it. */
static struct world *base_world;

void fake_base_use(struct world *world)
{
    base_world = world;
}

struct world *fake_base_world(void)
{
    return base_world;
}

struct metrics *fake_base_metrics(void)
{
    static struct metrics *metrics;
    if (metrics == NULL)
        metrics = scheduler_metrics_new();
    return metrics;
}

int64_t clock_boot_ms(void)
{
    return CLOCK_START_MS + (base_world != NULL ? base_world->now_ms : 0);
}

static void base_format(const struct log_field *fields, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (; fields->name != NULL && length < size; fields++)
        length += (size_t)(fields->text != NULL
                               ? snprintf(text + length, size - length, " %s=%s", fields->name,
                                          fields->text)
                               : snprintf(text + length, size - length, " %s=%lld", fields->name,
                                          (long long)fields->number));
}

/* What a line is about, by its run's or its job's id. */
static struct subject base_subject(const struct log_field *fields)
{
    struct subject subject = SUBJECT_NONE;
    uint32_t slot = 0;
    for (; fields->name != NULL; fields++) {
        if (strcmp(fields->name, "run_id") == 0)
            subject.run = sim_run_number(fields->text);
        if (strcmp(fields->name, "job_id") == 0 &&
            sim_job_find(base_world, fields->text, &subject.run, &slot) != NULL)
            subject.slot = (int)slot;
    }
    return subject;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    char text[512];
    (void)level;
    if (base_world == NULL || !base_world->history.is_kept)
        return;
    base_format(fields, text, sizeof text);
    history_add_text(&base_world->history,
                     &(struct note){.at_ms = base_world->now_ms,
                                    .actor = ACTOR_SCHEDULER,
                                    .actor_number = sim_scheduler_leader(base_world),
                                    .what = event,
                                    .subject = base_subject(fields)},
                     text);
}

void log_event(enum log_level level, const char *event)
{
    log_write(level, event, (const struct log_field[]){{0}});
}

/* The simulated scheduler exports no spans. */
void otlp_add(struct otlp *otlp, const struct span *span)
{
    (void)otlp;
    (void)span;
}
