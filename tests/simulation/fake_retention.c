/*
 * What scheduler/io/retention links against in the simulator, beside fake_stores.c: the removal of
 * documents. Each operation may fail, so that a removal ends anywhere.
 */
#include <stdlib.h>

#include "common/base/alloc.h"
#include "scheduler/io/retention.h"
#include "tests/simulation/fake_base.h"
#include "tests/simulation/world.h"

static struct sim_run *find_run(const char *id, int *number)
{
    *number = sim_run_number(id);
    return &fake_base_world()->database.runs[*number];
}

/* ---- Runs ---- */

enum bw_code run_store_read_ended(struct run_store *store, int64_t before_ms, int64_t limit,
                                  struct run **runs, size_t *count, struct bw_error *error)
{
    const struct world *world = fake_base_world();
    enum bw_code code = fake_stores_wait(store, error);
    *runs = bw_alloc(RUNS * sizeof **runs);
    *count = 0;
    for (int i = 0; code == BW_OK && i < RUNS && *count < (size_t)limit; i++) {
        const struct sim_run *run = &world->database.runs[i];
        if (run->run.finished_ms == 0 || run->is_gone || run->run.finished_ms >= before_ms)
            continue;
        struct run *found = &(*runs)[(*count)++];
        *found = run->run;
        found->summary = found->keys = NULL; /* not read by the real one either */
    }
    return code;
}

enum bw_code run_store_hide(struct run_store *store, const char *run_id, struct bw_error *error)
{
    int number;
    struct sim_run *run = find_run(run_id, &number);
    enum bw_code code = fake_stores_wait(store, error);
    if (code != BW_OK)
        return code;
    check_run_hide(fake_base_world(), number);
    run->is_hidden = true;
    return BW_OK;
}

enum bw_code run_store_delete(struct run_store *store, const char *run_id, struct bw_error *error)
{
    int number;
    struct sim_run *run = find_run(run_id, &number);
    enum bw_code code = fake_stores_wait(store, error);
    if (code != BW_OK)
        return code;
    check_run_remove(fake_base_world(), number);
    run->is_gone = true;
    world_note(fake_base_world(), ACTOR_DATABASE, 0, "run removed",
               (struct subject){number, -1, -1, -1}, 0);
    return BW_OK;
}

enum bw_code run_store_find(struct run_store *store, const char (*run_ids)[RUN_ID_SIZE],
                            size_t count, void (*each)(const char *run_id, void *context),
                            void *context, struct bw_error *error)
{
    bool is_there[RUNS] = {false};
    char id[RUN_ID_SIZE];
    int number;
    enum bw_code code = fake_stores_wait(store, error);
    for (size_t i = 0; code == BW_OK && i < count; i++) {
        const struct sim_run *run = find_run(run_ids[i], &number);
        is_there[number] = run->is_created && !run->is_hidden;
    }
    for (number = 0; number < RUNS; number++) {
        sim_run_id(number, id);
        if (is_there[number])
            each(id, context);
    }
    return code;
}

/* ---- Jobs ---- */

enum bw_code lease_store_delete(struct lease_store *store, const char (*jobs)[JOB_ID_SIZE],
                                size_t count, struct bw_error *error)
{
    struct world *world = fake_base_world();
    enum bw_code code = fake_stores_wait(store, error);
    for (size_t i = 0; code == BW_OK && i < count; i++) {
        int run;
        uint32_t slot;
        struct sim_job *job = sim_job_find(world, jobs[i], &run, &slot);
        check_job_remove(world, run);
        free(job->attempts);
        job->attempts = NULL;
        job->attempt_room = 0;
    }
    return code;
}

enum bw_code result_store_delete(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                                 size_t count, struct bw_error *error)
{
    struct world *world = fake_base_world();
    enum bw_code code = fake_stores_wait(store, error);
    for (size_t i = 0; code == BW_OK && i < count; i++) {
        int run;
        uint32_t slot;
        struct sim_job *job = sim_job_find(world, jobs[i], &run, &slot);
        check_result_remove(world, run, slot);
        free(job->result);
        job->result = NULL;
    }
    return code;
}

enum bw_code log_store_each(struct log_store *store,
                            void (*each)(const struct log_name *name, void *context), void *context,
                            struct bw_error *error)
{
    struct world *world = fake_base_world();
    enum bw_code code = fake_stores_wait(store, error);
    for (int number = 0; code == BW_OK && number < RUNS; number++)
        for (uint32_t slot = 0; slot < world->database.runs[number].slots; slot++) {
            struct log_name name = {.digest = LOG_DIGEST};
            sim_job_id(world, number, slot, name.job);
            if (world->database.runs[number].jobs[slot].has_log)
                each(&name, context);
        }
    return code;
}

enum bw_code log_store_delete(struct log_store *store, const struct log_name *names, size_t count,
                              struct bw_error *error)
{
    struct world *world = fake_base_world();
    enum bw_code code = fake_stores_wait(store, error);
    for (size_t i = 0; code == BW_OK && i < count; i++) {
        int run;
        uint32_t slot;
        struct sim_job *job = sim_job_find(world, names[i].job, &run, &slot);
        check_log_remove(world, run, slot);
        job->has_log = false;
    }
    return code;
}

/* ---- Definitions ---- */

enum bw_code definition_store_each(struct definition_store *store,
                                   void (*each)(const char *run_id, void *context), void *context,
                                   struct bw_error *error)
{
    const struct world *world = fake_base_world();
    char id[RUN_ID_SIZE];
    enum bw_code code = fake_stores_wait(store, error);
    for (int number = 0; code == BW_OK && number < RUNS; number++) {
        sim_run_id(number, id);
        if (world->database.runs[number].has_definition)
            each(id, context);
    }
    return code;
}

enum bw_code definition_store_delete(struct definition_store *store, const char *run_id,
                                     struct bw_error *error)
{
    int number;
    struct sim_run *run = find_run(run_id, &number);
    enum bw_code code = fake_stores_wait(store, error);
    if (code != BW_OK)
        return code;
    check_definition_remove(fake_base_world(), number);
    run->has_definition = false;
    return BW_OK;
}

/* ---- Files: simulated runs have none ---- */

enum bw_code file_store_unuse(struct file_store *store, const char *run, struct bw_error *error)
{
    (void)run;
    return fake_stores_wait(store, error);
}

/* ---- Pauses ---- */

enum bw_code pause_store_delete_run(struct pause_store *store, const char *run,
                                    struct bw_error *error)
{
    enum bw_code code = fake_stores_wait(store, error);
    if (code == BW_OK)
        sim_pause_forget(fake_base_world(), sim_run_number(run));
    return code;
}

enum bw_code webhook_store_delete_run(struct webhook_store *store, const char *run_id,
                                      struct bw_error *error)
{
    (void)run_id;
    return fake_stores_wait(store, error);
}

/* ---- Receipts and pins of images: simulated runs have none ---- */

enum bw_code image_pin_store_delete(struct image_pin_store *store, const char *run,
                                    struct bw_error *error)
{
    (void)run;
    return fake_stores_wait(store, error);
}

enum bw_code receipt_store_delete(struct receipt_store *store, const char *run,
                                  struct bw_error *error)
{
    (void)run;
    return fake_stores_wait(store, error);
}
