/* HDF5 for checkpoints and token stores: a flat set of named arrays and attributes. HDF5 itself
   only lays the file out and describes it, in memory; the arrays are written by qp_out, from where
   they lie, because HDF5 on a full disk reports nothing until close, never syncs, may crash at
   exit, and in memory holds a copy of everything. H5dont_atexit is called first. Equal content
   makes equal bytes. Readable by h5dump and h5py. The library is the serial one: calls from one
   thread at a time. */
#ifndef QP_BASE_H5_H
#define QP_BASE_H5_H
#include "base/dtype.h"
#include "base/zio.h"

enum { QP_H5_DIMS = 8 };
typedef struct qp_h5 qp_h5;

/* arrays: about how many are to come; with more, saving takes memory. Each costs HDF5's tables this
   much until the file is saved: 6.4 KB measured with names of 50 letters. */
enum { QP_H5_ARRAY_BYTES = 8192 };
qp_status qp_h5_create(qp_h5 **h, int64_t arrays, qp_err *err) QP_MUST_CHECK;
/* "/adam/m/f" makes the groups; storage F64, F32, I64, I32 or U8; BF16 and F16 go as 16-bit
   integers. The data stay the caller's and are read when the file is saved, in the order of these
   calls. */
qp_status qp_h5_put(qp_h5 *h, const char *name, qp_storage storage, int ndim, const int64_t *shape,
                    const void *data, qp_err *err) QP_MUST_CHECK;
qp_status qp_h5_put_int(qp_h5 *h, const char *name, int64_t v,
                        qp_err *err) QP_MUST_CHECK; /* root attribute */
qp_status qp_h5_put_double(qp_h5 *h, const char *name, double v, qp_err *err) QP_MUST_CHECK;
qp_status qp_h5_put_string(qp_h5 *h, const char *name, const char *s, qp_err *err) QP_MUST_CHECK;
/* Writes the file (temporary, fsync, rename) and frees h whatever happens. */
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
