#include "scheduler/state/command.h"

#include <stdlib.h>

#include "common/base/alloc.h"

struct command *command_list_append(struct command_list *list, enum command_kind kind,
                                    int64_t generation)
{
    struct command *command = bw_alloc(sizeof *command);
    command->kind = kind;
    command->generation = generation;
    if (list->last == NULL)
        list->first = command;
    else
        list->last->next = command;
    list->last = command;
    return command;
}

struct command *command_list_take(struct command_list *list)
{
    struct command *command = list->first;
    if (command == NULL)
        return NULL;
    list->first = command->next;
    if (list->first == NULL)
        list->last = NULL;
    command->next = NULL;
    return command;
}

void command_list_clear(struct command_list *list)
{
    for (struct command *command = command_list_take(list); command != NULL;
         command = command_list_take(list))
        command_free(command);
}

void command_free(struct command *command)
{
    if (command == NULL)
        return;
    if (command->kind == COMMAND_POST_CALLBACK)
        callback_free(command->callback);
    if (command->kind == COMMAND_SUBMIT_DB_JOB)
        db_job_free(command->db_job);
    free(command);
}
