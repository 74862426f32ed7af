#include "api/http/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/running_digest.h"

struct spool {
    atomic_size_t *places;         /* its kind's */
    struct running_digest *digest; /* NULL: the file is complete */
    struct received_file file;
};

/* ---- The temporary file ---- */

static const char *spool_directory(void)
{
    const char *directory = getenv("TMPDIR");
    return directory != NULL && directory[0] == '/' ? directory : "/tmp";
}

/* A file with a name, which is deleted at once: not every file system has O_TMPFILE. */
static int spool_create_named(const char *directory)
{
    char *path = bw_format("%s/broadway-XXXXXX", directory);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    free(path);
    return fd;
}

static enum bw_code spool_create(int *fd, struct bw_error *error)
{
    const char *directory = spool_directory();
    *fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0)
        *fd = spool_create_named(directory);
    if (*fd >= 0)
        return BW_OK;
    return bw_fail(error, BW_UNAVAILABLE,
                   "no file can be received: a temporary file can't be created in %s: %s",
                   directory, strerror(errno));
}

static bool spool_write(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t count = write(fd, bytes, length);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        bytes += count;
        length -= (size_t)count;
    }
    return true;
}

/* ---- Spools ---- */

enum bw_code spool_open(struct spool_places *places, enum spool_sender sender, struct spool **spool,
                        struct bw_error *error)
{
    int fd;
    atomic_size_t *taken = &places->taken[sender];
    size_t most = sender == SPOOL_UNKNOWN ? SPOOL_UNKNOWN_MAX : SPOOL_MAX;
    enum bw_code code = BW_OK;
    if (atomic_fetch_add(taken, 1) >= most)
        code = bw_fail(error, BW_UNAVAILABLE,
                       "%zu files are being received already, which is the limit: try again", most);
    if (code == BW_OK)
        code = spool_create(&fd, error);
    if (code != BW_OK) {
        atomic_fetch_sub(taken, 1);
        return code;
    }
    struct spool *opened = bw_alloc(sizeof *opened);
    opened->places = taken;
    opened->digest = running_digest_new();
    opened->file.fd = fd;
    *spool = opened;
    return BW_OK;
}

enum bw_code spool_refuse_large(uint64_t limit, struct bw_error *error)
{
    return bw_fail(error, BW_TOO_LARGE,
                   "the file is larger than %" PRIu64 " bytes, which is this server's limit",
                   limit);
}

enum bw_code spool_append(struct spool *spool, const char *bytes, size_t length, uint64_t limit,
                          struct bw_error *error)
{
    if (length > limit - (uint64_t)spool->file.size)
        return spool_refuse_large(limit, error);
    if (!spool_write(spool->file.fd, bytes, length))
        return bw_fail(error, BW_UNAVAILABLE, "the file can't be received: writing it to %s: %s",
                       spool_directory(), strerror(errno));
    running_digest_add(spool->digest, bytes, length);
    spool->file.size += (int64_t)length;
    return BW_OK;
}

const struct received_file *spool_finish(struct spool *spool)
{
    if (spool->digest != NULL)
        running_digest_finish(spool->digest, spool->file.hex);
    spool->digest = NULL;
    return &spool->file;
}

void spool_close(struct spool *spool)
{
    if (spool == NULL)
        return;
    running_digest_free(spool->digest);
    close(spool->file.fd);
    atomic_fetch_sub(spool->places, 1);
    free(spool);
}
