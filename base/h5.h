/* HDF5 for checkpoints and token stores: a flat set of named arrays and attributes, built in memory
   with the core driver, then written by qp_file_write, because HDF5 on a full disk reports nothing
   until close, never syncs and may crash at exit. H5dont_atexit is called first. Equal content
   makes equal bytes. Readable by h5dump and h5py. The library is the serial one: calls from one
   thread at a time. */
#ifndef QP_BASE_H5_H
#define QP_BASE_H5_H
#include "base/dtype.h"
#include "base/zio.h"

enum { QP_H5_DIMS = 8 };
typedef struct qp_h5 qp_h5;

qp_status qp_h5_create(qp_h5 **h, qp_err *err) QP_MUST_CHECK;
/* "/adam/m" makes the group; storage F64, F32, I64, I32 or U8; BF16 and F16 go as 16-bit integers.
 */
qp_status qp_h5_put(qp_h5 *h, const char *name, qp_storage storage, int ndim, const int64_t *shape,
                    const void *data, qp_err *err) QP_MUST_CHECK;
qp_status qp_h5_put_int(qp_h5 *h, const char *name, int64_t v,
                        qp_err *err) QP_MUST_CHECK; /* root attribute */
qp_status qp_h5_put_double(qp_h5 *h, const char *name, double v, qp_err *err) QP_MUST_CHECK;
qp_status qp_h5_put_string(qp_h5 *h, const char *name, const char *s, qp_err *err) QP_MUST_CHECK;
/* Writes the image to path (temporary, fsync, rename) and frees h whatever happens. */
qp_status qp_h5_save(qp_h5 *h, const char *path, qp_err *err) QP_MUST_CHECK;

qp_status qp_h5_open(qp_h5 **h, const char *path, qp_err *err) QP_MUST_CHECK;
/* Reads into caller memory; the stored shape's product must be n and the type the same. */
qp_status qp_h5_get(qp_h5 *h, const char *name, qp_storage storage, int64_t n, void *data,
                    qp_err *err) QP_MUST_CHECK;
qp_status qp_h5_shape(qp_h5 *h, const char *name, int *ndim, int64_t shape[QP_H5_DIMS],
                      qp_err *err) QP_MUST_CHECK;
qp_status qp_h5_get_int(qp_h5 *h, const char *name, int64_t *v, qp_err *err) QP_MUST_CHECK;
qp_status qp_h5_get_double(qp_h5 *h, const char *name, double *v, qp_err *err) QP_MUST_CHECK;
qp_status qp_h5_get_string(qp_h5 *h, const char *name, char **s,
                           qp_err *err) QP_MUST_CHECK; /* caller frees */
void qp_h5_free(qp_h5 *h);
char *qp_h5_version(void); /* the library's; the caller frees */
#endif
