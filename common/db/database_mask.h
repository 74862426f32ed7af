/*
 * database_mask: removes passwords from the driver's messages, before they are logged or answered.
 * Pure; safe from any thread.
 */
#ifndef COMMON_DB_DATABASE_MASK_H
#define COMMON_DB_DATABASE_MASK_H

/* Removes the text before each @, where a URI has its user and password, from a message of the
 * driver. In place; returns `text`. */
char *database_mask(char *text);

#endif
