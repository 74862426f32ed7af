#include "common/store/class_list.h"

#include "common/db/document.h"
#include "common/domain/scheduling.h"

void class_list_append(bson_t *document, const char *key, unsigned classes)
{
    bson_t list;
    size_t count = 0;
    char buffer[16];
    bson_append_array_begin(document, key, -1, &list);
    for (unsigned i = 0; i < RUN_CLASSES; i++)
        if ((classes & (1U << i)) != 0)
            bson_append_utf8(&list, document_key(count++, buffer), -1,
                             run_class_name((enum run_class)i), -1);
    bson_append_array_end(document, &list);
}

unsigned class_list_read(const bson_t *document, const char *key)
{
    bson_iter_t field, item;
    unsigned classes = 0;
    if (!bson_iter_init_find(&field, document, key) || !BSON_ITER_HOLDS_ARRAY(&field) ||
        !bson_iter_recurse(&field, &item))
        return 0;
    while (bson_iter_next(&item)) {
        enum run_class run_class;
        if (BSON_ITER_HOLDS_UTF8(&item) && run_class_find(bson_iter_utf8(&item, NULL), &run_class))
            classes |= 1U << run_class;
    }
    return classes;
}
