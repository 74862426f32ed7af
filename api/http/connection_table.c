#include "api/http/connection_table.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <uthash.h>
#include <utlist.h>

#include "common/base/clock.h"

enum {
    START_WAIT_MS = 100,
    NEW_SHARE = 8 /* an eighth of all connections: unproven ones that clients' make room for */
};

/* Whose connection it is: an IPv4 address, or the first half of an IPv6 address. */
struct address_key {
    unsigned char bytes[8];
    int family;
};

struct address {
    struct address_key key;
    size_t open, unproven;
    struct connection *idle; /* unproven ones, oldest first */
    UT_hash_handle hh;
};

struct connection {
    struct connection_parts parts;
    struct connection_table *table;
    struct address *address;
    int fd;
    _Atomic enum connection_kind kind, proof; /* of the last request; of the one at hand */
    bool is_started, is_listed, is_closing;
    struct connection *prev, *next;           /* in the table's idle ones of its kind */
    struct connection *near_prev, *near_next; /* in those of its address, if unproven */
    struct connection *all_prev, *all_next;   /* in all */
    UT_hash_handle hh;
};

struct connection_table {
    size_t most, most_unproven, most_per_address;
    pthread_mutex_t mutex;  /* guards what follows, and the connections */
    pthread_cond_t changed; /* one has started, or is gone */
    struct address *addresses;
    struct connection *by_fd;
    struct connection *all;
    struct connection *idle[CONNECTION_KINDS]; /* oldest first; those of workers are not listed */
    size_t open, closing, starting;
    struct connection_counts counts;
};

/* ---- Under the mutex ---- */

static void connection_list(struct connection *connection)
{
    struct connection_table *table = connection->table;
    enum connection_kind kind = connection->kind;
    if (connection->is_listed || connection->is_closing || kind == CONNECTION_WORKER)
        return;
    connection->is_listed = true;
    DL_APPEND(table->idle[kind], connection);
    if (kind == CONNECTION_UNPROVEN)
        DL_APPEND2(connection->address->idle, connection, near_prev, near_next);
}

static void connection_unlist(struct connection *connection)
{
    enum connection_kind kind = connection->kind;
    if (!connection->is_listed)
        return;
    connection->is_listed = false;
    DL_DELETE(connection->table->idle[kind], connection);
    if (kind == CONNECTION_UNPROVEN)
        DL_DELETE2(connection->address->idle, connection, near_prev, near_next);
}

static void connection_set_kind(struct connection *connection, enum connection_kind kind)
{
    size_t *by_kind = connection->table->counts.by_kind;
    if (connection->kind == kind)
        return;
    by_kind[connection->kind]--;
    by_kind[kind]++;
    connection->address->unproven += (kind == CONNECTION_UNPROVEN);
    connection->address->unproven -= (connection->kind == CONNECTION_UNPROVEN);
    connection->kind = kind;
}

static bool connection_evict(struct connection *connection)
{
    if (connection == NULL)
        return false;
    connection_unlist(connection);
    connection->is_closing = true;
    connection->table->closing++;
    connection->table->counts.evicted++;
    shutdown(connection->fd, SHUT_RDWR);
    return true;
}

/* While clients hold nearly all, theirs go first: else newcomers would close one another before
 * anything came from them. */
static bool connection_evict_any(struct connection_table *table)
{
    bool spares_unproven = table->counts.by_kind[CONNECTION_UNPROVEN] <= table->most / NEW_SHARE;
    enum connection_kind first = spares_unproven ? CONNECTION_CLIENT : CONNECTION_UNPROVEN;
    enum connection_kind second = spares_unproven ? CONNECTION_UNPROVEN : CONNECTION_CLIENT;
    return connection_evict(table->idle[first]) || connection_evict(table->idle[second]);
}

/* Makes room for one more from this address, which is unproven. False: there is none. */
static bool connection_make_room(struct connection_table *table, const struct address *address)
{
    if (address->unproven >= table->most_per_address)
        return connection_evict(address->idle);
    if (table->counts.by_kind[CONNECTION_UNPROVEN] >= table->most_unproven)
        return connection_evict(table->idle[CONNECTION_UNPROVEN]);
    if (table->open - table->closing >= table->most)
        return connection_evict_any(table);
    return true;
}

/* ---- Addresses ---- */

static struct address_key connection_key(const struct sockaddr *from)
{
    struct address_key key;
    memset(&key, 0, sizeof key);
    key.family = from->sa_family;
    if (from->sa_family == AF_INET) {
        memcpy(key.bytes, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        const struct in6_addr *ipv6 = &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
        bool is_mapped = IN6_IS_ADDR_V4MAPPED(ipv6);
        memcpy(key.bytes, ipv6->s6_addr + (is_mapped ? 12 : 0), is_mapped ? 4 : sizeof key.bytes);
        key.family = is_mapped ? AF_INET : AF_INET6;
    }
    return key;
}

static struct address *connection_address(struct connection_table *table,
                                          const struct sockaddr *from)
{
    struct address_key key = connection_key(from);
    struct address *address;
    HASH_FIND(hh, table->addresses, &key, sizeof key, address);
    if (address != NULL)
        return address;
    address = calloc(1, sizeof *address);
    if (address == NULL)
        return NULL;
    address->key = key;
    HASH_ADD(hh, table->addresses, key, sizeof address->key, address);
    return address;
}

static void connection_forget_address(struct connection_table *table, struct address *address)
{
    if (address == NULL || address->open > 0)
        return;
    HASH_DELETE(hh, table->addresses, address);
    free(address);
}

/* ---- The table ---- */

struct connection_table *connection_table_new(const struct connection_limits *limits)
{
    struct connection_table *table = calloc(1, sizeof *table);
    if (table == NULL)
        return NULL;
    table->most = limits->most;
    table->most_unproven = limits->most / 4 * 3;
    table->most_per_address = limits->per_address != 0 ? limits->per_address
                                                       : table->most_unproven / 2;
    pthread_mutex_init(&table->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&table->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return table;
}

/* Those that the server has never told of (it was short of memory) are still there. */
void connection_table_free(struct connection_table *table)
{
    if (table == NULL)
        return;
    while (table->all != NULL)
        connection_table_remove(table, table->all);
    pthread_cond_destroy(&table->changed);
    pthread_mutex_destroy(&table->mutex);
    free(table);
}

static void connection_drop(struct connection *connection)
{
    struct connection_table *table = connection->table;
    connection_unlist(connection);
    table->open--;
    table->closing -= connection->is_closing;
    table->starting -= !connection->is_started;
    table->counts.by_kind[connection->kind]--;
    connection->address->open--;
    connection->address->unproven -= connection->kind == CONNECTION_UNPROVEN;
    connection_forget_address(table, connection->address);
    HASH_DELETE(hh, table->by_fd, connection);
    DL_DELETE2(table->all, connection, all_prev, all_next);
    pthread_cond_signal(&table->changed);
    pthread_mutex_destroy(&connection->parts.mutex);
    free(connection);
}

/* The server has closed the descriptor without a word if it was short of memory. */
static void connection_drop_stale(struct connection_table *table, int fd)
{
    struct connection *stale;
    HASH_FIND_INT(table->by_fd, &fd, stale);
    if (stale != NULL)
        connection_drop(stale);
}

static struct connection *connection_enter(struct connection_table *table, int fd,
                                           struct address *address)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    pthread_mutex_init(&connection->parts.mutex, NULL);
    connection->table = table;
    connection->fd = fd;
    connection->address = address;
    address->open++;
    address->unproven++;
    table->open++;
    table->starting++;
    table->counts.by_kind[CONNECTION_UNPROVEN]++;
    HASH_ADD_INT(table->by_fd, fd, connection);
    DL_APPEND2(table->all, connection, all_prev, all_next);
    return connection;
}

static struct timespec connection_deadline(int wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)wait_ms % 1000 * 1000000;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return until;
}

/* Those that the server has not taken yet can't be closed: in a burst they are waited for. */
static bool connection_await_room(struct connection_table *table, struct address *address)
{
    struct timespec until = connection_deadline(START_WAIT_MS);
    int result = 0;
    bool has_room = connection_make_room(table, address);
    address->open++; /* it is not forgotten meanwhile */
    while (!has_room && table->starting > 0 && result == 0) {
        result = pthread_cond_timedwait(&table->changed, &table->mutex, &until);
        has_room = connection_make_room(table, address);
    }
    address->open--;
    return has_room;
}

struct connection *connection_table_add(struct connection_table *table, int fd,
                                        const struct sockaddr *from)
{
    struct connection *connection = NULL;
    pthread_mutex_lock(&table->mutex);
    connection_drop_stale(table, fd);
    struct address *address = connection_address(table, from);
    if (address != NULL && connection_await_room(table, address))
        connection = connection_enter(table, fd, address);
    if (connection == NULL) {
        table->counts.refused++;
        connection_forget_address(table, address);
    }
    pthread_mutex_unlock(&table->mutex);
    return connection;
}

struct connection *connection_table_start(struct connection_table *table, int fd)
{
    struct connection *connection;
    pthread_mutex_lock(&table->mutex);
    HASH_FIND_INT(table->by_fd, &fd, connection);
    if (connection != NULL) {
        connection->is_started = true;
        table->starting--;
        connection_list(connection);
        pthread_cond_signal(&table->changed);
    }
    pthread_mutex_unlock(&table->mutex);
    return connection;
}

void connection_table_cancel(struct connection_table *table, int fd)
{
    pthread_mutex_lock(&table->mutex);
    connection_drop_stale(table, fd);
    pthread_mutex_unlock(&table->mutex);
}

void connection_table_remove(struct connection_table *table, struct connection *connection)
{
    if (connection == NULL)
        return;
    pthread_mutex_lock(&table->mutex);
    connection_drop(connection);
    pthread_mutex_unlock(&table->mutex);
}

bool connection_table_evict(struct connection_table *table)
{
    pthread_mutex_lock(&table->mutex);
    bool is_evicted = connection_evict_any(table);
    pthread_mutex_unlock(&table->mutex);
    return is_evicted;
}

void connection_table_wait(struct connection_table *table, bool is_short, int wait_ms)
{
    struct timespec until = connection_deadline(wait_ms);
    int result = 0;
    pthread_mutex_lock(&table->mutex);
    size_t open = table->open;
    table->counts.pauses += is_short;
    while (result == 0 &&
           (table->closing >= CONNECTION_CLOSING_MAX || (is_short && table->open >= open)))
        result = pthread_cond_timedwait(&table->changed, &table->mutex, &until);
    pthread_mutex_unlock(&table->mutex);
}

void connection_table_shut(struct connection_table *table)
{
    struct connection *connection;
    pthread_mutex_lock(&table->mutex);
    DL_FOREACH2 (table->all, connection, all_next) {
        if (connection->is_started)
            shutdown(connection->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&table->mutex);
}

size_t connection_table_open(struct connection_table *table)
{
    pthread_mutex_lock(&table->mutex);
    size_t open = table->open;
    pthread_mutex_unlock(&table->mutex);
    return open;
}

void connection_table_count(struct connection_table *table, struct connection_counts *counts)
{
    pthread_mutex_lock(&table->mutex);
    *counts = table->counts;
    pthread_mutex_unlock(&table->mutex);
}

/* ---- One connection ---- */

static bool is_unlocked(const struct connection *connection)
{
    return connection == NULL || connection->kind == CONNECTION_WORKER;
}

/* Last in the list: something has just happened on it. */
static void connection_touch(struct connection *connection)
{
    if (is_unlocked(connection))
        return;
    pthread_mutex_lock(&connection->table->mutex);
    connection_unlist(connection);
    connection_list(connection);
    pthread_mutex_unlock(&connection->table->mutex);
}

void connection_begin(struct connection *connection)
{
    if (connection != NULL)
        connection->proof = CONNECTION_UNPROVEN;
    connection_touch(connection);
}

void connection_release(struct connection *connection)
{
    connection_touch(connection);
}

void connection_hold(struct connection *connection)
{
    if (is_unlocked(connection))
        return;
    pthread_mutex_lock(&connection->table->mutex);
    connection_unlist(connection);
    pthread_mutex_unlock(&connection->table->mutex);
}

void connection_prove(struct connection *connection, enum connection_kind kind)
{
    if (connection == NULL || kind <= connection->proof)
        return;
    connection->proof = kind;
    if (kind <= connection->kind)
        return;
    pthread_mutex_lock(&connection->table->mutex);
    bool is_listed = connection->is_listed;
    connection_unlist(connection);
    connection_set_kind(connection, kind);
    if (is_listed)
        connection_list(connection);
    pthread_mutex_unlock(&connection->table->mutex);
}

void connection_rest(struct connection *connection)
{
    if (connection == NULL || (is_unlocked(connection) && connection->proof == CONNECTION_WORKER))
        return;
    pthread_mutex_lock(&connection->table->mutex);
    connection_unlist(connection);
    connection_set_kind(connection, connection->proof);
    connection_list(connection);
    pthread_mutex_unlock(&connection->table->mutex);
}

struct connection_parts *connection_parts(struct connection *connection)
{
    return connection != NULL ? &connection->parts : NULL;
}
