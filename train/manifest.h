/* MANIFEST.json: size and SHA-256 of every file of a folder, written last. A folder is whole when
   it has one and every file agrees; HDF5's own checks miss most flipped bits, so nothing is parsed
   before that. */
#ifndef QP_TRAIN_MANIFEST_H
#define QP_TRAIN_MANIFEST_H
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

#define QP_MANIFEST "MANIFEST.json"
/* Syncs every file in dir, then writes the manifest and syncs dir. bytes: sum of the sizes; may be
 * NULL. */
qp_status qp_manifest_write(const char *dir, int64_t *bytes, qp_err *err) QP_MUST_CHECK;
/* QP_BADFILE naming the first file that is missing, of another size or of another digest. */
qp_status qp_manifest_verify(const char *dir, qp_err *err) QP_MUST_CHECK;
/* Whether the files that two folders have in common are the same, by their manifests' word; false
   when one has none. */
bool qp_manifest_agrees(const char *dir, const char *other);
#endif
