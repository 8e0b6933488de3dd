/* Files: whole reads, read-only maps, and writes that either happen completely or not at all. */
#ifndef QP_BASE_ZIO_H
#define QP_BASE_ZIO_H
#include "base/buf.h"
#include <stdbool.h>
#include <stdint.h>
QP_C_BEGIN

/* Opens a regular file for reading; the caller closes *fd. Errors as below. */
qp_status qp_file_open(const char *path, int *fd, uint64_t *bytes, qp_err *err) QP_MUST_CHECK;

/* From now on, or no longer, past the page cache: for large files that nobody reads soon, which
   would push out of it what is read all the time, and cost the CPU a copy. Offsets, lengths and
   memory must then be multiples of QP_DIRECT_BLOCK, else the call fails with EINVAL. False: the
   file system has it not, and nothing has changed. */
enum { QP_DIRECT_BLOCK = 4096, QP_DIRECT_LEAST = 1 << 20 };
bool qp_fd_direct(int fd, bool on);

/* Reads a whole regular file; appends to out. QP_IO when it cannot be read, with strerror's words;
   a missing file is QP_USAGE ("PATH: no such file"), and so is a folder, pipe or device. */
qp_status qp_file_read(const char *path, qp_buf *out, qp_err *err) QP_MUST_CHECK;

typedef struct {
    const uint8_t *data;
    size_t len;
} qp_map;
/* Read-only, shared, same errors. An empty file gives {NULL, 0}. A file that another process makes
   shorter afterwards ends this one with SIGBUS. */
qp_status qp_map_open(qp_map *m, const char *path, qp_err *err) QP_MUST_CHECK;
void qp_map_release(qp_map *m);

bool qp_path_exists(const char *path);
bool qp_path_is_dir(const char *path);
char *qp_path_join(const char *dir,
                   const char *name); /* caller frees; an absolute name stays itself */
char *
qp_path_parent(const char *path); /* the folder it lies in, "." for a bare name; caller frees */
qp_status qp_mkdirs(const char *path, qp_err *err) QP_MUST_CHECK;
qp_status qp_remove_tree(const char *path, qp_err *err) QP_MUST_CHECK; /* absent is fine */

/* Writes path via "path.PID.N.tmp": every write, fsync, close and rename checked, then the folder
   is synced. On failure the old file stays and no temporary remains. */
qp_status qp_file_write(const char *path, const void *data, size_t len, qp_err *err) QP_MUST_CHECK;

/* The same for data that comes in pieces: open, add, then finish. A call that fails has abandoned
   the file already; abandon is for the caller's own failures, and harmless afterwards or on a
   zeroed struct. */
typedef struct {
    int fd;
    char *path, *tmp;
    uint64_t bytes; /* handed to the kernel so far */
    uint8_t *buffer;
    size_t filled;
    bool direct; /* past the page cache */
} qp_out;
qp_status qp_out_open(qp_out *o, const char *path, qp_err *err) QP_MUST_CHECK;
qp_status qp_out_add(qp_out *o, const void *data, size_t len, qp_err *err) QP_MUST_CHECK;
qp_status qp_out_finish(qp_out *o, qp_err *err) QP_MUST_CHECK;
void qp_out_abandon(qp_out *o);

qp_status qp_sync_dir(const char *dir, qp_err *err) QP_MUST_CHECK;
QP_C_END
#endif
