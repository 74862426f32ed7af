#include "api/http/connection_table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <uthash.h>
#include <utlist.h>

#include "api/http/client_network.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"

enum {
    START_WAIT_MS = 100,
    NEW_SHARE = 8 /* an eighth of all connections is left to unproven ones */
};

struct address {
    char network[CLIENT_NETWORK_SIZE]; /* key */
    size_t open, unproven;
    struct connection *idle; /* its idle unproven connections, oldest first */
    UT_hash_handle hh;
};

/* The connections of one worker, by a hash of its id. Two ids with the same hash share the
 * limit. */
struct worker_links {
    uint64_t key;
    size_t open;                      /* connections, without those that are closing */
    struct connection *connections;   /* in the order in which they were proved */
    struct worker_links *prev, *next; /* in the table's list `crowded` */
    UT_hash_handle hh;
};

struct connection {
    struct connection_parts parts;
    struct connection_table *table;
    struct address *address;
    int fd;
    _Atomic enum connection_kind kind, proof; /* of the last request; of the current request */
    atomic_bool is_held;                      /* the current request is being handled */
    uint64_t worker_key; /* the worker's hash; 0: none. For the thread that handles the request */
    struct worker_links *worker; /* NULL: no worker, or closing */
    bool is_started, is_listed, is_closing;
    struct connection *prev, *next;               /* in the table's idle list of its kind */
    struct connection *near_prev, *near_next;     /* in the idle list of its address, if unproven */
    struct connection *all_prev, *all_next;       /* in the table's list `all` */
    struct connection *worker_prev, *worker_next; /* in its worker's list */
    UT_hash_handle hh;
};

struct connection_table {
    size_t most, most_unproven, most_per_address;
    pthread_mutex_t mutex;  /* guards what follows, and the connections */
    pthread_cond_t changed; /* a connection has started or was closed */
    struct address *addresses;
    struct worker_links *workers;
    struct worker_links *crowded; /* workers with more than CONNECTION_WORKER_MOST connections */
    struct connection *by_fd;
    struct connection *all;
    struct connection *idle[CONNECTION_KINDS]; /* oldest first; workers' are not listed */
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

static void connection_leave_worker(struct connection *connection)
{
    struct connection_table *table = connection->table;
    struct worker_links *worker = connection->worker;
    if (worker == NULL)
        return;
    connection->worker = NULL;
    DL_DELETE2(worker->connections, connection, worker_prev, worker_next);
    if (worker->open-- == CONNECTION_WORKER_MOST + 1)
        DL_DELETE(table->crowded, worker);
    if (worker->open > 0)
        return;
    HASH_DELETE(hh, table->workers, worker);
    free(worker);
}

static void connection_join_worker(struct connection *connection, uint64_t key)
{
    struct connection_table *table = connection->table;
    struct worker_links *worker;
    if (connection->is_closing)
        return;
    HASH_FIND(hh, table->workers, &key, sizeof key, worker);
    if (worker == NULL) {
        worker = bw_alloc(sizeof *worker);
        worker->key = key;
        HASH_ADD(hh, table->workers, key, sizeof worker->key, worker);
    }
    connection->worker = worker;
    DL_APPEND2(worker->connections, connection, worker_prev, worker_next);
    if (++worker->open == CONNECTION_WORKER_MOST + 1)
        DL_APPEND(table->crowded, worker);
}

static void connection_set_worker(struct connection *connection, uint64_t key)
{
    if (connection->worker_key == key)
        return;
    connection_leave_worker(connection);
    connection->worker_key = key;
    if (key != 0)
        connection_join_worker(connection, key);
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
    connection_leave_worker(connection);
    connection->is_closing = true;
    connection->table->closing++;
    connection->table->counts.evicted++;
    shutdown(connection->fd, SHUT_RDWR);
    return true;
}

/* Closes the oldest connection of a worker that has too many. False: there is none. */
static bool connection_evict_crowded(const struct connection_table *table)
{
    struct worker_links *worker;
    struct connection *connection;
    DL_FOREACH (table->crowded, worker) {
        DL_FOREACH2 (worker->connections, connection, worker_next) {
            if (connection->is_started && !atomic_load(&connection->is_held))
                return connection_evict(connection);
        }
    }
    return false;
}

/* Closes a connection. While unproven connections have at most their eighth, those of workers with
 * too many and of clients are closed first: otherwise new connections would close one another
 * before their first request. */
static bool connection_evict_any(struct connection_table *table)
{
    bool spares_unproven = table->counts.by_kind[CONNECTION_UNPROVEN] <= table->most / NEW_SHARE;
    if (!spares_unproven && connection_evict(table->idle[CONNECTION_UNPROVEN]))
        return true;
    return connection_evict_crowded(table) || connection_evict(table->idle[CONNECTION_CLIENT]) ||
           connection_evict(table->idle[CONNECTION_UNPROVEN]);
}

/* Makes room for one more unproven connection from this address. False: there is none. */
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

static struct address *connection_address(struct connection_table *table,
                                          const struct sockaddr *from)
{
    char network[CLIENT_NETWORK_SIZE];
    struct address *address;
    client_network_of(from, network);
    HASH_FIND_STR(table->addresses, network, address);
    if (address != NULL)
        return address;
    address = bw_alloc(sizeof *address);
    memcpy(address->network, network, sizeof address->network);
    HASH_ADD_STR(table->addresses, network, address);
    return address;
}

static void connection_forget_address(struct connection_table *table, struct address *address)
{
    if (address->open > 0)
        return;
    HASH_DELETE(hh, table->addresses, address);
    free(address);
}

/* ---- The table ---- */

struct connection_table *connection_table_new(const struct connection_limits *limits)
{
    struct connection_table *table = bw_alloc(sizeof *table);
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

/* Connections that libmicrohttpd never announced, since it was out of memory, are still in the
 * table. */
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
    connection_leave_worker(connection);
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

/* Removes an earlier connection of this descriptor: when it is out of memory, libmicrohttpd closes
 * a descriptor without a notification. */
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
    struct connection *connection = bw_alloc(sizeof *connection);
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

/* Makes room, and waits if necessary: connections that libmicrohttpd has not taken yet can't be
 * closed, so in a burst they are waited for. */
static bool connection_await_room(struct connection_table *table, struct address *address)
{
    struct timespec until = connection_deadline(START_WAIT_MS);
    int result = 0;
    bool has_room = connection_make_room(table, address);
    address->open++; /* so that the address is not freed in the meantime */
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
    if (connection_await_room(table, address))
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

/* Moves the connection to the end of its list, after activity on it. */
static void connection_touch(struct connection *connection)
{
    if (is_unlocked(connection))
        return;
    pthread_mutex_lock(&connection->table->mutex);
    connection_unlist(connection);
    connection_list(connection);
    pthread_mutex_unlock(&connection->table->mutex);
}

static void connection_set_held(struct connection *connection, bool is_held)
{
    if (connection != NULL)
        atomic_store(&connection->is_held, is_held);
}

void connection_begin(struct connection *connection)
{
    if (connection != NULL)
        connection->proof = CONNECTION_UNPROVEN;
    connection_touch(connection);
}

void connection_release(struct connection *connection)
{
    connection_set_held(connection, false);
    connection_touch(connection);
}

void connection_hold(struct connection *connection)
{
    connection_set_held(connection, true);
    if (is_unlocked(connection))
        return;
    pthread_mutex_lock(&connection->table->mutex);
    connection_unlist(connection);
    pthread_mutex_unlock(&connection->table->mutex);
}

/* Changes the kind, if the new one is higher. Under the mutex. */
static void connection_raise_kind(struct connection *connection, enum connection_kind kind)
{
    bool is_listed = connection->is_listed;
    if (kind <= connection->kind)
        return;
    connection_unlist(connection);
    connection_set_kind(connection, kind);
    if (is_listed)
        connection_list(connection);
}

/* Records the sender of the current request. `key`: the worker's hash, or 0. */
static void connection_prove_as(struct connection *connection, enum connection_kind kind,
                                uint64_t key)
{
    if (connection == NULL || kind == CONNECTION_UNPROVEN || kind < connection->proof)
        return;
    connection->proof = kind;
    if (kind <= connection->kind && key == connection->worker_key)
        return;
    pthread_mutex_lock(&connection->table->mutex);
    connection_raise_kind(connection, kind);
    connection_set_worker(connection, key);
    pthread_mutex_unlock(&connection->table->mutex);
}

void connection_prove(struct connection *connection, enum connection_kind kind)
{
    connection_prove_as(connection, kind, 0);
}

/* The hash is FNV-1a. Most requests on a worker's connection are from the same worker, which is
 * seen without the lock. */
void connection_prove_worker(struct connection *connection, const char *id)
{
    uint64_t key = 14695981039346656037u;
    for (; *id != '\0'; id++)
        key = (key ^ (unsigned char)*id) * 1099511628211u;
    connection_prove_as(connection, CONNECTION_WORKER, key);
}

void connection_rest(struct connection *connection)
{
    connection_set_held(connection, false);
    if (connection == NULL || (is_unlocked(connection) && connection->proof == CONNECTION_WORKER))
        return;
    pthread_mutex_lock(&connection->table->mutex);
    connection_unlist(connection);
    connection_set_kind(connection, connection->proof);
    if (connection->proof != CONNECTION_WORKER)
        connection_set_worker(connection, 0);
    connection_list(connection);
    pthread_mutex_unlock(&connection->table->mutex);
}

struct connection_parts *connection_parts(struct connection *connection)
{
    return connection != NULL ? &connection->parts : NULL;
}
