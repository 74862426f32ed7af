/*
 * openapi_document: the OpenAPI 3.1 document of both protocols, made from the tables that dispatch
 * uses (api/protocols.h), from operations.c and from docs/schemas. Callers: pages, main. Pure; safe
 * from any thread.
 */
#ifndef API_OPENAPI_OPENAPI_DOCUMENT_H
#define API_OPENAPI_OPENAPI_DOCUMENT_H

/* The document as JSON, as docs/openapi.json has it. New, free(). */
char *openapi_document_text(void);

#endif
