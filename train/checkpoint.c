#include "train/checkpoint.h"
#include "base/log.h"
#include "base/zio.h"
#include "train/fault.h"
#include "train/manifest.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char prefix[] = "checkpoint-";
static const char old_suffix[] = ".old.tmp"; /* of a folder that is being replaced */

void qp_checkpoint_name(char name[QP_CHECKPOINT_NAME], int64_t step)
{
    snprintf(name, QP_CHECKPOINT_NAME, "%s%06lld", prefix, (long long)step);
}

qp_status qp_folder_begin(const char *run, const char *name, char **tmp, qp_err *err)
{
    char *path = qp_path_join(run, name);
    *tmp = qp_xformat("%s.tmp", path);
    free(path);
    qp_status rc = qp_remove_tree(*tmp, err);
    if (!rc) rc = qp_mkdirs(*tmp, err);
    if (rc) {
        free(*tmp);
        *tmp = NULL;
    }
    return rc;
}

void qp_folder_abandon(char *tmp)
{
    qp_err ignored = { 0 };
    if (tmp && qp_remove_tree(tmp, &ignored)) qp_warn("%s", ignored.msg);
    free(tmp);
}

static qp_status move(const char *from, const char *to, qp_err *err)
{
    return rename(from, to) ? qp_fail(err, QP_IO, "%s: rename to %s: %s", from, to, strerror(errno))
                            : QP_OK;
}

qp_status qp_folder_commit(const char *run, const char *name, char *tmp, int64_t *bytes,
                           qp_err *err)
{
    char *path = qp_path_join(run, name), *old = qp_xformat("%s%s", path, old_suffix);
    qp_status rc = qp_manifest_write(tmp, bytes, err);
    if (!rc) qp_fault("save_manifest");
    bool replace = qp_path_exists(path);
    if (!rc && replace) rc = qp_remove_tree(old, err);
    if (!rc && replace) rc = move(path, old, err);
    if (!rc) rc = move(tmp, path, err);
    if (rc) {
        qp_folder_abandon(tmp);
    } else {
        free(tmp);
        rc = qp_sync_dir(run, err);
        qp_fault("save_renamed");
        if (!rc && replace) rc = qp_remove_tree(old, err);
    }
    free(path);
    free(old);
    return rc;
}

qp_status qp_link(const char *run, const char *what, const char *target, qp_err *err)
{
    char *path = qp_path_join(run, what), *tmp = qp_xformat("%s.tmp", path);
    qp_status rc = QP_OK;
    unlink(tmp);
    if (symlink(target, tmp)) rc = qp_fail(err, QP_IO, "%s: %s", tmp, strerror(errno));
    if (!rc) rc = move(tmp, path, err);
    if (!rc) rc = qp_sync_dir(run, err);
    free(path);
    free(tmp);
    return rc;
}

/* Step of a name such as checkpoint-000150; -1: another name. */
static int64_t step_of(const char *name)
{
    const char *digits = name + sizeof prefix - 1;
    if (strncmp(name, prefix, sizeof prefix - 1) || !*digits || strlen(digits) > 18) return -1;
    for (const char *p = digits; *p; p++)
        if (!isdigit((unsigned char)*p)) return -1;
    return strtoll(digits, NULL, 10);
}

static int is_checkpoint(const struct dirent *e) { return step_of(e->d_name) >= 0; }
static int newest_first(const struct dirent **a, const struct dirent **b)
{
    int64_t x = step_of((*a)->d_name), y = step_of((*b)->d_name);
    return (x < y) - (x > y);
}

static qp_status list(const char *run, struct dirent ***entry, int *n, qp_err *err)
{
    *n = scandir(run, entry, is_checkpoint, newest_first);
    return *n < 0 ? qp_fail(err, QP_IO, "%s: %s", run, strerror(errno)) : QP_OK;
}

qp_status qp_checkpoint_prune(const char *run, int64_t keep, qp_err *err)
{
    struct dirent **entry;
    int n;
    qp_status rc = list(run, &entry, &n, err);
    if (rc) return rc;
    char *link = qp_path_join(run, "best"), best[256] = "";
    ssize_t len = readlink(link, best, sizeof best - 1);
    best[len > 0 ? len : 0] = 0;
    free(link);
    bool best_is_old = false;
    for (int i = 0; i < n; i++) best_is_old |= i >= keep && !strcmp(entry[i]->d_name, best);
    for (int i = 0; i < n; i++) {
        /* the best one takes a place of the keep, but never the newest's */
        bool stays = i == 0 || i < keep - best_is_old || !strcmp(entry[i]->d_name, best);
        char *path = qp_path_join(run, entry[i]->d_name);
        if (!rc && !stays) rc = qp_remove_tree(path, err);
        free(path);
        free(entry[i]);
    }
    free(entry);
    return rc;
}

static qp_status put_aside(const char *at, const char *why, qp_err *err)
{
    char *aside = qp_xformat("%s.broken", at);
    qp_warn("%s; it is put aside as %s and an earlier checkpoint is looked for", why, aside);
    qp_status rc = qp_remove_tree(aside, err);
    if (!rc) rc = move(at, aside, err);
    free(aside);
    return rc;
}

qp_status qp_checkpoint_newest(const char *run, char **path, qp_err *err)
{
    struct dirent **entry;
    int n;
    *path = NULL;
    qp_status rc = list(run, &entry, &n, err);
    for (int i = 0; !rc && !*path && i < n; i++) {
        qp_err why = { 0 };
        char *at = qp_path_join(run, entry[i]->d_name);
        const qp_status state = qp_manifest_verify(at, &why);
        if (!state)
            *path = at;
        else if (state == QP_BADFILE)
            rc = put_aside(at, why.msg, err);
        else
            rc =
                qp_fail(err, state, "%s; whether this checkpoint is whole cannot be told", why.msg);
        if (!*path) free(at);
    }
    for (int i = 0; i < n; i++) free(entry[i]);
    if (n >= 0) free(entry);
    return rc;
}

/* Only names that a run makes: the folder may be somebody's who keeps other things in it. */
static int is_temporary(const struct dirent *e)
{
    static const char *const ours[] = { prefix,      "final.",       "best.",
                                        "latest.",   "config.yaml.", "metrics.jsonl.",
                                        "run.json.", "profile.txt.", "trace.json." };
    size_t n = strlen(e->d_name);
    if (n <= 4 || strcmp(e->d_name + n - 4, ".tmp")) return 0;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (!strncmp(e->d_name, ours[i], strlen(ours[i]))) return 1;
    return 0;
}

/* A commit that ended between its two renames: what it meant to replace comes back. */
static qp_status restore(const char *path, bool *done, qp_err *err)
{
    size_t n = strlen(path), tail = strlen(old_suffix);
    *done = false;
    if (n <= tail || strcmp(path + n - tail, old_suffix)) return QP_OK;
    char *name = qp_xformat("%.*s", (int)(n - tail), path);
    *done = !qp_path_exists(name);
    qp_status rc = *done ? move(path, name, err) : QP_OK;
    free(name);
    return rc;
}

qp_status qp_sweep(const char *run, qp_err *err)
{
    struct dirent **entry;
    int n = scandir(run, &entry, is_temporary, alphasort);
    if (n < 0) return qp_fail(err, QP_IO, "%s: %s", run, strerror(errno));
    qp_status rc = QP_OK;
    for (int i = 0; i < n; i++) {
        char *path = qp_path_join(run, entry[i]->d_name);
        bool restored = false;
        if (!rc) rc = restore(path, &restored, err);
        if (!rc && !restored) rc = qp_remove_tree(path, err);
        free(path);
        free(entry[i]);
    }
    free(entry);
    return rc;
}

static int is_entry(const struct dirent *e)
{
    return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

void qp_remove_unused(const char *run)
{
    struct dirent **entry;
    int n = scandir(run, &entry, is_entry, alphasort);
    char *path = qp_path_join(run, ".lock");
    if (n == 1 && !strcmp(entry[0]->d_name, ".lock") && !unlink(path)) (void)rmdir(run);
    for (int i = 0; i < n; i++) free(entry[i]);
    if (n >= 0) free(entry);
    free(path);
}

/* False when the file was removed, as qp_remove_unused does, between its opening and its lock. */
static bool is_still_there(int fd, const char *path)
{
    struct stat held, there;
    return !fstat(fd, &held) && !stat(path, &there) && held.st_ino == there.st_ino &&
           held.st_dev == there.st_dev;
}

qp_status qp_lock(const char *run, int *fd, qp_err *err)
{
    char *path = qp_path_join(run, ".lock"), host[64] = "", owner[128] = "", text[128];
    qp_status rc = QP_OK;
    gethostname(host, sizeof host - 1);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*fd < 0) {
        rc = qp_fail(err, QP_IO, "%s: %s", path, strerror(errno));
    } else if (flock(*fd, LOCK_EX | LOCK_NB)) {
        bool taken = errno == EWOULDBLOCK;
        ssize_t n = taken ? read(*fd, owner, sizeof owner - 1) : 0;
        owner[n > 0 ? n : 0] = 0;
        owner[strcspn(owner, "\n")] = 0;
        rc = taken ? qp_fail(err, QP_FAIL,
                             "output_dir %s is in use by %s; wait for it or choose another", run,
                             *owner ? owner : "another process")
                   : qp_fail(err, QP_IO, "%s: flock: %s", path, strerror(errno));
        close(*fd);
        *fd = -1;
    } else if (!is_still_there(*fd, path)) {
        close(*fd);
        *fd = -1;
        rc = qp_fail(err, QP_FAIL, "output_dir %s was removed by another process just now", run);
    } else {
        int n = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
        if (ftruncate(*fd, 0) ||
            write(*fd, text, (size_t)n) != n) /* who holds it is only for the message */
            qp_warn("%s: %s", path, strerror(errno));
    }
    free(path);
    return rc;
}
