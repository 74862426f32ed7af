/*
 * class_list: lists of classes of runs in documents, by their names. For the stores alone. Pure;
 * safe from any thread.
 */
#ifndef COMMON_STORE_CLASS_LIST_H
#define COMMON_STORE_CLASS_LIST_H

#include <bson/bson.h>

/* Appends the names of the classes, which are bits (1 << enum run_class). */
void class_list_append(bson_t *document, const char *key, unsigned classes);

/* The bits of such a list; names of later versions are skipped. 0: there is none. */
unsigned class_list_read(const bson_t *document, const char *key);

#endif
