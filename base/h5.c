#include "base/h5.h"
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "files are little-endian, memory is written as it is");

/* Where an array will lie, and where it lies now. */
typedef struct {
    size_t offset, bytes;
    const void *data; /* the caller's */
} part;

struct qp_h5 {
    hid_t file;
    char *path; /* NULL while being written */
    /* Of one that is being written: what HDF5 says about the arrays, and the arrays. */
    uint8_t *image;
    size_t image_bytes;
    part *parts;
    int64_t count;
};

/* ---- errors ---- */

static herr_t innermost(unsigned n, const H5E_error2_t *e, void *arg)
{
    if (!n) snprintf(arg, 300, "%s (%s)", e->desc ? e->desc : "no reason given", e->func_name);
    return 0;
}

/* Fails with HDF5's own reason, taken from where the trouble began. */
static qp_status fail(qp_h5 *h, const char *name, const char *doing, qp_err *err)
{
    char reason[300] = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, reason);
    return qp_fail(err, h->path ? QP_BADFILE : QP_FAIL, "%s: %s: cannot %s: HDF5: %s",
                   h->path ? h->path : "new HDF5 file", name, doing, reason);
}

/* Before any other call: without H5dont_atexit the library's own clean-up can crash at exit after a
   failed write, and without H5Eset_auto2 it prints. Repeating both is harmless. */
static void set_up(void)
{
    (void)H5dont_atexit();
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* Ends the use of any kind of object; false when that failed. */
static bool drop(hid_t id) { return id < 0 || H5Idec_ref(id) >= 0; }

/* ---- types ---- */

static hid_t type_of(qp_storage storage)
{
    switch (storage) {
    case QP_F64:
        return H5T_IEEE_F64LE;
    case QP_F32:
        return H5T_IEEE_F32LE;
    case QP_BF16:
    case QP_F16:
        return H5T_STD_U16LE;
    case QP_I64:
        return H5T_STD_I64LE;
    case QP_I32:
        return H5T_STD_I32LE;
    case QP_U8:
        return H5T_STD_U8LE;
    default:
        qp_fatal(QP_BUG, __FILE__, __LINE__, "HDF5 files hold no %s", qp_storages[storage].name);
    }
}

/* HDF5 has no bf16: an attribute of the array says what its 16-bit integers are. */
static const char *const half_key = "dtype";
static bool is_half(qp_storage s) { return s == QP_BF16 || s == QP_F16; }

/* ---- writing ---- */

/* Times left out, so that equal content makes equal bytes. Attributes in an index of their own, for
   in the object's header they are limited to 64 KiB. */
static hid_t quiet_list(hid_t class, bool attributes)
{
    hid_t list = H5Pcreate(class);
    if (list >= 0 && H5Pset_obj_track_times(list, false) >= 0 &&
        (!attributes || H5Pset_attr_phase_change(list, 0, 0) >= 0))
        return list;
    drop(list);
    return -1;
}

/* HDF5 writes to memory that it asks for here. Closing the file is what makes the image complete,
   so its memory then stays ours. */
static void *grow_image(void *old, size_t bytes, H5FD_file_image_op_t why, void *of)
{
    qp_h5 *h = of;
    uint8_t *new = why == H5FD_FILE_IMAGE_OP_FILE_RESIZE ? realloc(old, bytes) : NULL;
    if (!new) return NULL;
    h->image_bytes = bytes;
    return h->image = new;
}

static herr_t keep_image(void *image, H5FD_file_image_op_t why, void *of)
{
    qp_h5 *h = of;
    return image == h->image && why == H5FD_FILE_IMAGE_OP_FILE_CLOSE ? 0 : -1;
}

static void *same_h5(void *of) { return of; }
static herr_t leave_h5(void *of) { return of ? 0 : -1; }

/* In memory, where all that is said about `arrays` arrays has one block in front of them: a
   kilobyte each is enough for names of 60 letters. What does not fit follows behind the arrays, and
   the image then has zeros in their place. The 1.8 format: its metadata have checksums too, and
   unlike later ones it has no open-for-write mark. */
static hid_t memory_list(qp_h5 *h, int64_t arrays)
{
    enum { STEP = 1 << 14 };
    H5FD_file_image_callbacks_t memory = { .image_realloc = grow_image,
                                           .image_free = keep_image,
                                           .udata_copy = same_h5,
                                           .udata_free = leave_h5,
                                           .udata = h };
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    if (list >= 0 && H5Pset_fapl_core(list, STEP, false) >= 0 &&
        H5Pset_file_image_callbacks(list, &memory) >= 0 &&
        H5Pset_meta_block_size(list, STEP + 1024 * (hsize_t)arrays) >= 0 &&
        H5Pset_libver_bounds(list, H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 &&
        H5Pset_fclose_degree(list, H5F_CLOSE_STRONG) >= 0)
        return list;
    drop(list);
    return -1;
}

/* Arrays have their place at once and are written by us: HDF5 would hold a copy of each. */
static hid_t array_list(void)
{
    hid_t list = quiet_list(H5P_DATASET_CREATE, false);
    if (list >= 0 && H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY) >= 0 &&
        H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) >= 0)
        return list;
    drop(list);
    return -1;
}

qp_status qp_h5_create(qp_h5 **h, int64_t arrays, qp_err *err)
{
    set_up();
    *h = qp_xcalloc(1, sizeof **h);
    hid_t access = memory_list(*h, arrays), creation = quiet_list(H5P_FILE_CREATE, true);
    /* A name that no file can have: HDF5 looks for one first, and reads it. */
    (*h)->file = access >= 0 && creation >= 0
                     ? H5Fcreate("/dev/null/quipu", H5F_ACC_TRUNC, creation, access)
                     : -1;
    qp_status rc = (*h)->file < 0 ? fail(*h, "/", "create", err) : QP_OK;
    drop(access);
    drop(creation);
    if (rc) {
        qp_h5_free(*h);
        *h = NULL;
    }
    return rc;
}

/* Makes the groups of "/a/b/name" that are not there yet. */
static bool make_groups(hid_t file, const char *name)
{
    hid_t creation = quiet_list(H5P_GROUP_CREATE, false);
    bool ok = creation >= 0;
    for (const char *slash = strchr(name + 1, '/'); slash && ok; slash = strchr(slash + 1, '/')) {
        char *path = qp_xformat("%.*s", (int)(slash - name), name);
        htri_t there = H5Lexists(file, path, H5P_DEFAULT);
        if (!there) {
            hid_t group = H5Gcreate2(file, path, H5P_DEFAULT, creation, H5P_DEFAULT);
            ok = group >= 0 && drop(group);
        } else {
            ok = there > 0;
        }
        free(path);
    }
    return drop(creation) && ok;
}

static bool put_attribute(hid_t object, const char *name, hid_t type, const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t a = space < 0 ? -1 : H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = a >= 0 && H5Awrite(a, type, value) >= 0;
    return drop(a) && drop(space) && ok;
}

/* Fixed length, UTF-8; an empty string takes one NUL, for HDF5 knows no length 0. */
static hid_t text_type(size_t len)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && H5Tset_size(type, len ? len : 1) >= 0 &&
        H5Tset_cset(type, H5T_CSET_UTF8) >= 0 && H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0)
        return type;
    drop(type);
    return -1;
}

static bool put_text(hid_t object, const char *name, const char *s)
{
    hid_t type = text_type(strlen(s));
    bool ok = type >= 0 && put_attribute(object, name, type, s);
    return drop(type) && ok;
}

/* To be written to where HDF5 has put the array. */
static bool add_part(qp_h5 *h, hid_t set, size_t bytes, const void *data)
{
    const haddr_t at = H5Dget_offset(set);
    if (at == HADDR_UNDEF) return false;
    h->parts = qp_xrealloc(h->parts, (size_t)h->count + 1, sizeof *h->parts);
    h->parts[h->count++] = (part){ (size_t)at, bytes, data };
    return true;
}

qp_status qp_h5_put(qp_h5 *h, const char *name, qp_storage storage, int ndim, const int64_t *shape,
                    const void *data, qp_err *err)
{
    QP_ASSERT(ndim >= 0 && ndim <= QP_H5_DIMS, "%s: %d dimensions", name, ndim);
    hsize_t dims[QP_H5_DIMS];
    for (int i = 0; i < ndim; i++) dims[i] = (hsize_t)shape[i];
    hid_t type = type_of(storage), creation = array_list();
    hid_t space = ndim ? H5Screate_simple(ndim, dims, NULL) : H5Screate(H5S_SCALAR), set = -1;
    bool ok = creation >= 0 && space >= 0 && make_groups(h->file, name);
    if (ok) set = H5Dcreate2(h->file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    ok = set >= 0;
    if (ok && is_half(storage)) ok = put_text(set, half_key, qp_storages[storage].name);
    hssize_t n = ok ? H5Sget_simple_extent_npoints(space) : 0;
    if (n) ok = n > 0 && add_part(h, set, qp_storage_bytes(storage, n), data);
    qp_status rc = ok ? QP_OK : fail(h, name, "write", err);
    if (!drop(set) && !rc) rc = fail(h, name, "close", err);
    drop(space), drop(creation);
    return rc;
}

qp_status qp_h5_put_int(qp_h5 *h, const char *name, int64_t v, qp_err *err)
{
    return put_attribute(h->file, name, H5T_STD_I64LE, &v) ? QP_OK : fail(h, name, "write", err);
}

qp_status qp_h5_put_double(qp_h5 *h, const char *name, double v, qp_err *err)
{
    return put_attribute(h->file, name, H5T_IEEE_F64LE, &v) ? QP_OK : fail(h, name, "write", err);
}

qp_status qp_h5_put_string(qp_h5 *h, const char *name, const char *s, qp_err *err)
{
    return put_text(h->file, name, s) ? QP_OK : fail(h, name, "write", err);
}

static int by_offset(const void *a, const void *b)
{
    const part *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Of the file, by its superblock (HDF5 File Format Specification, II.A, version 2). */
static uint64_t end_of(const qp_h5 *h)
{
    enum { VERSION = 8, OFFSET_BYTES = 9, END = 28 };
    uint64_t end;
    QP_ASSERT(h->image_bytes >= END + sizeof end && h->image[VERSION] == 2 &&
                  h->image[OFFSET_BYTES] == sizeof end,
              "HDF5 made a superblock of another version than was asked for");
    memcpy(&end, h->image + END, sizeof end);
    return end;
}

/* Bytes lo .. hi-1 of what HDF5 wrote; zeros behind it. */
static qp_status add_image(const qp_h5 *h, qp_out *out, size_t lo, size_t hi, qp_err *err)
{
    static const uint8_t zeros[4096];
    qp_status rc = QP_OK;
    if (lo < h->image_bytes && lo < hi) {
        const size_t n = (hi < h->image_bytes ? hi : h->image_bytes) - lo;
        rc = qp_out_add(out, h->image + lo, n, err);
        lo += n;
    }
    for (size_t n; !rc && lo < hi; lo += n) {
        n = hi - lo < sizeof zeros ? hi - lo : sizeof zeros;
        rc = qp_out_add(out, zeros, n, err);
    }
    return rc;
}

static qp_status write_file(qp_h5 *h, const char *path, qp_err *err)
{
    const size_t end = (size_t)end_of(h);
    size_t at = 0;
    qp_out out;
    qp_status rc = qp_out_open(&out, path, err);
    if (h->count) qsort(h->parts, (size_t)h->count, sizeof *h->parts, by_offset);
    for (int64_t i = 0; i < h->count && !rc; i++) {
        const part *p = &h->parts[i];
        QP_ASSERT(p->offset >= at && p->offset <= end && p->bytes <= end - p->offset,
                  "HDF5 gave two arrays the same place");
        rc = add_image(h, &out, at, p->offset, err);
        if (!rc) rc = qp_out_add(&out, p->data, p->bytes, err);
        at = p->offset + p->bytes;
    }
    if (!rc) rc = add_image(h, &out, at, end, err);
    return rc ? rc : qp_out_finish(&out, err);
}

qp_status qp_h5_save(qp_h5 *h, const char *path, qp_err *err)
{
    const bool complete = drop(h->file);
    h->file = -1;
    qp_status rc = complete ? write_file(h, path, err) : fail(h, "/", "make the image", err);
    qp_h5_free(h);
    return rc;
}

void qp_h5_free(qp_h5 *h)
{
    if (!h) return;
    drop(h->file);
    free(h->image);
    free(h->parts);
    free(h->path);
    free(h);
}

/* ---- reading ---- */

qp_status qp_h5_open(qp_h5 **h, const char *path, qp_err *err)
{
    *h = NULL;
    qp_map map; /* HDF5 calls a missing file and a folder the same */
    qp_status rc = qp_map_open(&map, path, err);
    if (rc) return rc;
    qp_map_release(&map);
    set_up();
    qp_h5 *new = qp_xcalloc(1, sizeof *new);
    new->path = qp_xstrdup(path);
    new->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (new->file < 0) {
        rc = fail(new, "/", "open", err);
        qp_h5_free(new);
    } else {
        *h = new;
    }
    return rc;
}

static qp_status wrong(qp_h5 *h, const char *name, const char *what, qp_err *err)
{
    return qp_fail(err, QP_BADFILE, "%s: %s: %s", h->path, name, what);
}

/* Reads an attribute that must be one value of `type`. */
static qp_status get_attribute(qp_h5 *h, const char *name, hid_t type, const char *wanted, void *v,
                               qp_err *err)
{
    hid_t a = H5Aopen(h->file, name, H5P_DEFAULT);
    if (a < 0) return fail(h, name, "open", err);
    hid_t has = H5Aget_type(a), space = H5Aget_space(a);
    qp_status rc = QP_OK;
    if (has < 0 || space < 0)
        rc = fail(h, name, "read", err);
    else if (H5Tequal(has, type) <= 0 || H5Sget_simple_extent_npoints(space) != 1)
        rc = wrong(h, name, wanted, err);
    else if (H5Aread(a, type, v) < 0)
        rc = fail(h, name, "read", err);
    drop(has), drop(space), drop(a);
    return rc;
}

qp_status qp_h5_get_int(qp_h5 *h, const char *name, int64_t *v, qp_err *err)
{
    return get_attribute(h, name, H5T_STD_I64LE, "one i64 wanted", v, err);
}

qp_status qp_h5_get_double(qp_h5 *h, const char *name, double *v, qp_err *err)
{
    return get_attribute(h, name, H5T_IEEE_F64LE, "one f64 wanted", v, err);
}

/* The text of an object's attribute, of fixed length; the caller frees. */
static qp_status get_text(qp_h5 *h, hid_t object, const char *name, char **s, qp_err *err)
{
    *s = NULL;
    hid_t a = H5Aopen(object, name, H5P_DEFAULT);
    if (a < 0) return fail(h, name, "open", err);
    hid_t type = H5Aget_type(a), space = H5Aget_space(a);
    qp_status rc = QP_OK;
    if (type < 0 || space < 0)
        rc = fail(h, name, "read", err);
    else if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) ||
             H5Sget_simple_extent_npoints(space) != 1)
        rc = wrong(h, name, "one string of fixed length wanted", err);
    if (!rc) {
        *s = qp_xcalloc(H5Tget_size(type) + 1, 1);
        if (H5Aread(a, type, *s) < 0) rc = fail(h, name, "read", err);
    }
    drop(type), drop(space), drop(a);
    if (rc) {
        free(*s);
        *s = NULL;
    }
    return rc;
}

qp_status qp_h5_get_string(qp_h5 *h, const char *name, char **s, qp_err *err)
{
    return get_text(h, h->file, name, s, err);
}

/* Whether the array's 16-bit integers are of the wanted kind. */
static qp_status check_half(qp_h5 *h, const char *name, hid_t set, qp_storage storage, qp_err *err)
{
    char *kind;
    qp_status rc = get_text(h, set, half_key, &kind, err);
    if (rc) return rc;
    if (strcmp(kind, qp_storages[storage].name))
        rc = qp_fail(err, QP_BADFILE, "%s: %s: type %s, %s wanted", h->path, name, kind,
                     qp_storages[storage].name);
    free(kind);
    return rc;
}

qp_status qp_h5_get(qp_h5 *h, const char *name, qp_storage storage, int64_t n, void *data,
                    qp_err *err)
{
    hid_t want = type_of(storage), set = H5Dopen2(h->file, name, H5P_DEFAULT);
    if (set < 0) return fail(h, name, "open", err);
    hid_t has = H5Dget_type(set), space = H5Dget_space(set);
    qp_status rc = QP_OK;
    if (has < 0 || space < 0) {
        rc = fail(h, name, "read", err);
    } else if (H5Tequal(has, want) <= 0) {
        rc = qp_fail(err, QP_BADFILE, "%s: %s: another type than %s", h->path, name,
                     qp_storages[storage].name);
    } else if (H5Sget_simple_extent_npoints(space) != n) {
        rc = qp_fail(err, QP_BADFILE, "%s: %s: %lld values, %lld wanted", h->path, name,
                     (long long)H5Sget_simple_extent_npoints(space), (long long)n);
    } else if (is_half(storage)) {
        rc = check_half(h, name, set, storage, err);
    }
    if (!rc && n && H5Dread(set, want, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        rc = fail(h, name, "read", err);
    drop(has), drop(space), drop(set);
    return rc;
}

qp_status qp_h5_shape(qp_h5 *h, const char *name, int *ndim, int64_t shape[QP_H5_DIMS], qp_err *err)
{
    hid_t set = H5Dopen2(h->file, name, H5P_DEFAULT);
    if (set < 0) return fail(h, name, "open", err);
    hsize_t dims[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set);
    *ndim = space < 0 ? -1 : H5Sget_simple_extent_dims(space, dims, NULL);
    qp_status rc = QP_OK;
    if (*ndim < 0)
        rc = fail(h, name, "read", err);
    else if (*ndim > QP_H5_DIMS)
        rc = wrong(h, name, "more than 8 dimensions", err);
    for (int i = 0; !rc && i < *ndim; i++) shape[i] = (int64_t)dims[i];
    drop(space), drop(set);
    return rc;
}

char *qp_h5_version(void)
{
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    return qp_xformat("%u.%u.%u", major, minor, release);
}
