/*
 * database_operations: the kinds of operations that the metrics of both binaries distinguish, and
 * which kind a command of MongoDB is. Pure.
 */
#ifndef COMMON_DB_DATABASE_OPERATIONS_H
#define COMMON_DB_DATABASE_OPERATIONS_H

/* X(Y, kind, name in metrics); Y is handed on, for tables that have a row for each kind. */
#define DATABASE_OPERATION_MAP(X, Y) \
    X(Y, FIND, "find")               \
    X(Y, INSERT, "insert")           \
    X(Y, UPDATE, "update")           \
    X(Y, DELETE, "delete")           \
    X(Y, OTHER, "other")

enum database_operation {
#define DATABASE_OPERATION_ENUM(unused, kind, name) DATABASE_OPERATION_##kind,
    DATABASE_OPERATION_MAP(DATABASE_OPERATION_ENUM, )
#undef DATABASE_OPERATION_ENUM
        DATABASE_OPERATIONS
};

/* The kind of the command with that name ("getMore" belongs to its find). Any thread. */
enum database_operation database_operation_of(const char *command);

#endif
