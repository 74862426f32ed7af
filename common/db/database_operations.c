#include "common/db/database_operations.h"

#include <string.h>

enum database_operation database_operation_of(const char *command)
{
    static const struct {
        const char *command;
        enum database_operation kind;
    } rows[] = {
        {"find", DATABASE_OPERATION_FIND},
        {"getMore", DATABASE_OPERATION_FIND},
        {"insert", DATABASE_OPERATION_INSERT},
        {"update", DATABASE_OPERATION_UPDATE},
        {"findAndModify", DATABASE_OPERATION_UPDATE},
        {"delete", DATABASE_OPERATION_DELETE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].command, command) == 0)
            return rows[i].kind;
    return DATABASE_OPERATION_OTHER;
}
