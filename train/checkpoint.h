/* The folders a run leaves: each is filled under a temporary name, gets its manifest, is synced and
   renamed, so that under its own name there is never anything but a whole one; only then is an
   older one deleted. */
#ifndef QP_TRAIN_CHECKPOINT_H
#define QP_TRAIN_CHECKPOINT_H
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

/* Makes the empty folder run/NAME.tmp; *tmp is its path, the caller's to free. */
qp_status qp_folder_begin(const char *run, const char *name, char **tmp, qp_err *err) QP_MUST_CHECK;
/* Manifest, syncs, rename to run/NAME, whatever had that name before going away. Frees tmp; after a
   failure nothing of it remains. bytes: size of its files; may be NULL. */
qp_status qp_folder_commit(const char *run, const char *name, char *tmp, int64_t *bytes,
                           qp_err *err) QP_MUST_CHECK;
/* The other ending: removes it, keeps err. */
void qp_folder_abandon(char *tmp);

enum { QP_CHECKPOINT_NAME = 32 };
void qp_checkpoint_name(char name[QP_CHECKPOINT_NAME], int64_t step); /* "checkpoint-000150" */
/* Link run/what -> target, replaced in one go. */
qp_status qp_link(const char *run, const char *what, const char *target, qp_err *err) QP_MUST_CHECK;
/* Deletes the oldest checkpoints beyond `keep`, never the newest nor the one that run/best names.
 */
qp_status qp_checkpoint_prune(const char *run, int64_t keep, qp_err *err) QP_MUST_CHECK;
/* Path of the newest checkpoint that is whole, NULL when there is none. Broken ones, whose bytes
   are not those of the manifest, are reported and put aside as NAME.broken; one that cannot be read
   now is an error, for it may be whole. The caller frees it. */
qp_status qp_checkpoint_newest(const char *run, char **path, qp_err *err) QP_MUST_CHECK;
/* Removes what a killed run left half-written, *.tmp; a folder that was about to be replaced and
   has no successor gets its name back. */
qp_status qp_sweep(const char *run, qp_err *err) QP_MUST_CHECK;

/* One process a folder: an flock on run/.lock, which the kernel drops when the process ends,
 * however it ends. */
qp_status qp_lock(const char *run, int *fd, qp_err *err) QP_MUST_CHECK;
/* Removes a locked folder that holds nothing but the lock. */
void qp_remove_unused(const char *run);
#endif
