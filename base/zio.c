#include "base/zio.h"
#include "base/asan.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = QP_DIRECT_LEAST };

qp_status qp_file_open(const char *path, int *fd, uint64_t *bytes, qp_err *err)
{
    /* NONBLOCK: opening a pipe would wait for a writer; it means nothing to a regular file. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return qp_fail(err, QP_USAGE, "%s: no such file", path);
    if (*fd < 0) return qp_fail(err, QP_IO, "%s: %s", path, strerror(errno));
    qp_status rc = QP_OK;
    struct stat st;
    if (fstat(*fd, &st))
        rc = qp_fail(err, QP_IO, "%s: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        rc = qp_fail(err, QP_USAGE, "%s: a folder, not a file", path);
    else if (!S_ISREG(st.st_mode))
        rc = qp_fail(err, QP_USAGE, "%s: not a regular file", path);
    if (rc)
        close(*fd);
    else
        *bytes = (uint64_t)st.st_size;
    return rc;
}

bool qp_fd_direct(int fd, bool on)
{
    const int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && !fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT);
}

qp_status qp_file_read(const char *path, qp_buf *out, qp_err *err)
{
    int fd;
    uint64_t bytes = 0;
    qp_status rc = qp_file_open(path, &fd, &bytes, err);
    if (rc) return rc;
    /* Until the end, whatever its size was: the file may grow, and files under /proc have size 0.
     * One byte more than the size, so that the end is seen without growing. */
    qp_buf_reserve(out, (size_t)bytes + 1);
    for (;;) {
        if (out->cap - out->len < 2) qp_buf_reserve(out, 4096);
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len - 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = qp_fail(err, QP_IO, "%s: cannot read: %s", path, strerror(errno));
        if (n <= 0) break;
        out->len += (size_t)n;
        out->data[out->len] = '\0';
    }
    close(fd);
    return rc;
}

/* The rest of the last page, which a read past the end would see as zeros. */
static size_t tail(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (page - len % page) % page;
}

qp_status qp_map_open(qp_map *m, const char *path, qp_err *err)
{
    *m = (qp_map){ 0 };
    int fd;
    uint64_t bytes = 0;
    qp_status rc = qp_file_open(path, &fd, &bytes, err);
    if (rc) return rc;
    size_t len = (size_t)bytes;
    if (len) { /* mmap refuses length 0 */
        void *p = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            rc = qp_fail(err, QP_IO, "%s: cannot map: %s", path, strerror(errno));
        else
            *m = (qp_map){ p, len };
        if (!rc) QP_HIDE(m->data + len, tail(len));
    }
    close(fd);
    return rc;
}

void qp_map_release(qp_map *m)
{
    if (m->data) {
        QP_SHOW(m->data + m->len, tail(m->len));
        munmap((void *)m->data, m->len);
    }
    *m = (qp_map){ 0 };
}

bool qp_path_exists(const char *path)
{
    struct stat st;
    return !stat(path, &st);
}

bool qp_path_is_dir(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

char *qp_path_join(const char *dir, const char *name)
{
    if (!*dir || *name == '/') return qp_xstrdup(name);
    return qp_xformat(dir[strlen(dir) - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

char *qp_path_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return qp_xstrdup(".");
    return qp_xformat("%.*s", slash == path ? 1 : (int)(slash - path), path);
}

qp_status qp_sync_dir(const char *dir, qp_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return qp_fail(err, QP_IO, "%s: %s", dir, strerror(errno));
    int rc;
    do rc = fsync(fd);
    while (rc && errno == EINTR);
    int e = errno;
    close(fd);
    /* EINVAL: a file system without it (some network ones); nothing more can be done there. */
    return rc && e != EINVAL ? qp_fail(err, QP_IO, "%s: cannot sync: %s", dir, strerror(e)) : QP_OK;
}

static qp_status sync_parent(const char *path, qp_err *err)
{
    char *dir = qp_path_parent(path);
    qp_status rc = qp_sync_dir(dir, err);
    free(dir);
    return rc;
}

static qp_status make_dir(const char *path, qp_err *err)
{
    if (!mkdir(path, 0777)) return sync_parent(path, err);
    int e = errno; /* EEXIST, but also EROFS or EACCES for a folder that is there */
    if (qp_path_is_dir(path)) return QP_OK;
    if (e == EEXIST || e == ENOTDIR)
        return qp_fail(err, QP_USAGE, "%s: in the way of a folder", path);
    return qp_fail(err, QP_IO, "%s: cannot make the folder: %s", path, strerror(e));
}

qp_status qp_mkdirs(const char *path, qp_err *err)
{
    char *part = qp_xstrdup(path);
    size_t len = strlen(part);
    while (len > 1 && part[len - 1] == '/') part[--len] = '\0';
    qp_status rc = QP_OK;
    for (size_t i = 1; i <= len && !rc; i++) {
        if (part[i] != '/' && part[i]) continue;
        char c = part[i];
        part[i] = '\0';
        if (i == len || !qp_path_is_dir(part)) rc = make_dir(part, err);
        part[i] = c;
    }
    free(part);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

qp_status qp_remove_tree(const char *path, qp_err *err)
{
    struct stat st;
    if (lstat(path, &st)) {
        if (errno == ENOENT) return QP_OK;
        return qp_fail(err, QP_IO, "%s: %s", path, strerror(errno));
    }
    /* PHYS: a link is removed, never followed. */
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS))
        return qp_fail(err, QP_IO, "%s: cannot remove: %s", path, strerror(errno));
    return QP_OK;
}

/* Creates PATH.PID.N.tmp, which no other writer has. */
static qp_status create_tmp(qp_out *o, qp_err *err)
{
    for (int attempt = 0;; attempt++) {
        o->tmp = qp_xformat("%s.%ld.%d.tmp", o->path, (long)getpid(), attempt);
        o->fd = open(o->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (o->fd >= 0) return QP_OK;
        int e = errno;
        free(o->tmp);
        o->tmp = NULL; /* not ours to remove */
        if (e == EEXIST && attempt < 1000) continue;
        return qp_fail(err, QP_IO, "%s: cannot create: %s", o->path, strerror(e));
    }
}

qp_status qp_out_open(qp_out *o, const char *path, qp_err *err)
{
    *o = (qp_out){ .fd = -1 };
    struct stat st; /* a rename would replace a device or a pipe, not write to it */
    if (!stat(path, &st) && !S_ISREG(st.st_mode))
        return qp_fail(err, QP_USAGE, "%s: exists and is not a regular file", path);
    o->path = qp_xstrdup(path);
    qp_status rc = create_tmp(o, err);
    if (rc)
        qp_out_abandon(o);
    else
        o->buffer = qp_xaligned(QP_DIRECT_BLOCK, BUFFER);
    return rc;
}

static qp_status write_all(qp_out *o, const uint8_t *data, size_t len, qp_err *err)
{
    while (len) {
        ssize_t n = write(o->fd, data, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EINVAL && o->direct) { /* after a part of a block: a disk is full */
            o->direct = false;
            if (qp_fd_direct(o->fd, false)) continue;
        }
        if (n < 0)
            return qp_fail(err, QP_IO, "%s: cannot write: %s (after %llu bytes)", o->path,
                           strerror(errno), (unsigned long long)o->bytes);
        o->bytes += (uint64_t)n;
        data += n;
        len -= (size_t)n;
    }
    return QP_OK;
}

static qp_status flush(qp_out *o, qp_err *err)
{
    const size_t len = o->filled;
    o->filled = 0;
    if (len == BUFFER && !o->bytes) o->direct = qp_fd_direct(o->fd, true);
    if (len < BUFFER && o->direct) o->direct = !qp_fd_direct(o->fd, false); /* the file's end */
    return write_all(o, o->buffer, len, err);
}

qp_status qp_out_add(qp_out *o, const void *data, size_t len, qp_err *err)
{
    QP_ASSERT(o->tmp, "written to after it was finished, abandoned or had failed");
    const uint8_t *from = data;
    qp_status rc = QP_OK;
    while (len && !rc) { /* only whole buffers leave, so that each begins at a block */
        const size_t room = BUFFER - o->filled, n = len < room ? len : room;
        memcpy(o->buffer + o->filled, from, n);
        o->filled += n;
        from += n;
        len -= n;
        if (o->filled == BUFFER) rc = flush(o, err);
    }
    if (rc) qp_out_abandon(o);
    return rc;
}

static void forget(qp_out *o)
{
    free(o->path);
    free(o->tmp);
    free(o->buffer);
    *o = (qp_out){ .fd = -1 };
}

/* A failed fsync is not tried again: the kernel has by then marked the lost pages clean
   (Rebello et al. 2020, "Can Applications Recover from fsync Failures?"). */
static qp_status sync_and_close(qp_out *o, qp_err *err)
{
    int rc;
    do rc = fsync(o->fd);
    while (rc && errno == EINTR);
    int e = errno;
    int closed = close(o->fd); /* whatever it says, the descriptor is gone */
    o->fd = -1;
    if (rc) return qp_fail(err, QP_IO, "%s: cannot sync: %s", o->path, strerror(e));
    if (closed && errno != EINTR)
        return qp_fail(err, QP_IO, "%s: cannot close: %s", o->path, strerror(errno));
    return QP_OK;
}

qp_status qp_out_finish(qp_out *o, qp_err *err)
{
    QP_ASSERT(o->tmp, "finished after it was finished, abandoned or had failed");
    qp_status rc = flush(o, err);
    if (!rc) rc = sync_and_close(o, err);
    if (!rc && rename(o->tmp, o->path))
        rc =
            qp_fail(err, QP_IO, "%s: cannot rename %s to it: %s", o->path, o->tmp, strerror(errno));
    if (rc) {
        qp_out_abandon(o);
        return rc;
    }
    rc = sync_parent(o->path, err);
    forget(o);
    return rc;
}

void qp_out_abandon(qp_out *o)
{
    if (o->tmp) {
        if (o->fd >= 0) close(o->fd);
        unlink(o->tmp);
    }
    forget(o);
}

qp_status qp_file_write(const char *path, const void *data, size_t len, qp_err *err)
{
    qp_out o = { 0 };
    qp_status rc = qp_out_open(&o, path, err);
    if (!rc) rc = qp_out_add(&o, data, len, err);
    if (!rc) rc = qp_out_finish(&o, err);
    return rc;
}
