/*
 * embedded: files that the build puts into the binary: the schemas of docs/schemas, and the files
 * of the page at /docs. CMake writes the table (cmake/embed.cmake). Callers: schemas, pages.
 * Constant.
 */
#ifndef API_OPENAPI_EMBEDDED_H
#define API_OPENAPI_EMBEDDED_H

struct embedded {
    const char *name;        /* of the file, without its folder */
    const char *begin, *end; /* its bytes; equal: the build had no such file */
};

/* The schemas, in the order of their names. Ends with a row whose name is NULL. */
extern const struct embedded embedded_schemas[];

/* The files of the page; those whose name ends in ".gz" are compressed. The same end. */
extern const struct embedded embedded_page[];

#endif
