#include "train/manifest.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/zio.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_content(const struct dirent *e)
{
    return strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, QP_MANIFEST);
}

static qp_status sync_file(const char *path, qp_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return qp_fail(err, QP_IO, "%s: %s", path, strerror(errno));
    int bad = fsync(fd), why = errno;
    close(fd);
    return bad ? qp_fail(err, QP_IO, "%s: fsync: %s", path, strerror(why)) : QP_OK;
}

static qp_status file_size(const char *path, int64_t *bytes, qp_err *err)
{
    struct stat st;
    if (stat(path, &st))
        return qp_fail(err, errno == ENOENT || errno == ENOTDIR ? QP_BADFILE : QP_IO, "%s: %s",
                       path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return qp_fail(err, QP_BADFILE, "%s: not a regular file", path);
    *bytes = st.st_size;
    return QP_OK;
}

static qp_status add_entry(qp_json_writer *w, const char *dir, const char *name, int64_t *bytes,
                           qp_err *err)
{
    char hex[65], *path = qp_path_join(dir, name);
    qp_status rc = sync_file(path, err);
    if (!rc) rc = file_size(path, bytes, err);
    if (!rc) rc = qp_sha256_written(path, hex, err);
    free(path);
    if (rc) return rc;
    qp_json_open_object(w);
    qp_json_key(w, "name");
    qp_json_cstring(w, name);
    qp_json_key(w, "bytes");
    qp_json_int(w, *bytes);
    qp_json_key(w, "sha256");
    qp_json_cstring(w, hex);
    qp_json_close_object(w);
    return QP_OK;
}

qp_status qp_manifest_write(const char *dir, int64_t *bytes, qp_err *err)
{
    struct dirent **entry;
    int n = scandir(dir, &entry, is_content, alphasort);
    if (n < 0) return qp_fail(err, QP_IO, "%s: %s", dir, strerror(errno));
    qp_buf text = { 0 };
    qp_json_writer w = { .out = &text, .indent = 1 };
    qp_status rc = QP_OK;
    int64_t sum = 0, one = 0;
    qp_json_open_object(&w);
    qp_json_key(&w, "files");
    qp_json_open_array(&w);
    for (int i = 0; i < n; i++) {
        if (!rc) rc = add_entry(&w, dir, entry[i]->d_name, &one, err);
        sum += one;
        free(entry[i]);
    }
    free(entry);
    qp_json_close_array(&w);
    qp_json_close_object(&w);
    qp_buf_char(&text, '\n');
    char *path = qp_path_join(dir, QP_MANIFEST);
    if (!rc) rc = qp_file_write(path, text.data, text.len, err); /* syncs the folder as well */
    free(path);
    qp_buf_release(&text);
    if (bytes) *bytes = sum;
    return rc;
}

static qp_status check_entry(const char *dir, const qp_value *e, qp_err *err)
{
    const qp_value *name = qp_json_get(e, "name"), *bytes = qp_json_get(e, "bytes"),
                   *sha = qp_json_get(e, "sha256");
    if (!name || name->kind != QP_JSON_STRING || !name->str_len || strchr(name->str, '/') ||
        strlen(name->str) != name->str_len || !bytes || !bytes->is_integer || !sha ||
        sha->kind != QP_JSON_STRING)
        return qp_fail(err, QP_BADFILE, "%s/%s: an entry without name, bytes, sha256", dir,
                       QP_MANIFEST);
    char hex[65], *path = qp_path_join(dir, name->str);
    int64_t size = 0;
    qp_status rc = file_size(path, &size, err);
    if (!rc && size != bytes->integer)
        rc = qp_fail(err, QP_BADFILE, "%s: %lld bytes, the manifest says %lld", path,
                     (long long)size, (long long)bytes->integer);
    if (!rc) rc = qp_sha256_file(path, hex, err);
    if (!rc && strcmp(hex, sha->str))
        rc = qp_fail(err, QP_BADFILE, "%s: SHA-256 %.12s..., the manifest says %.12s...", path, hex,
                     sha->str);
    free(path);
    return rc;
}

static qp_status load_manifest(qp_value **v, const char *dir, const char *path, qp_err *err)
{
    int64_t bytes;
    qp_status rc = file_size(path, &bytes, err);
    if (rc == QP_BADFILE)
        return qp_fail(err, rc, "%s: no %s: not written to the end", dir, QP_MANIFEST);
    return rc ? rc : qp_json_load(v, path, err);
}

qp_status qp_manifest_verify(const char *dir, qp_err *err)
{
    char *path = qp_path_join(dir, QP_MANIFEST);
    qp_value *v = NULL;
    qp_status rc = load_manifest(&v, dir, path, err);
    const qp_value *files = rc ? NULL : qp_json_get(v, "files");
    if (!rc && (!files || files->kind != QP_JSON_ARRAY || !files->count))
        rc = qp_fail(err, QP_BADFILE, "%s: no list of files", path);
    for (const qp_value *e = files ? files->child : NULL; !rc && e; e = e->next)
        rc = check_entry(dir, e, err);
    qp_json_free(v);
    free(path);
    return rc;
}

static const qp_value *list_of(qp_value **v, const char *dir)
{
    qp_err ignored = { 0 };
    char *path = qp_path_join(dir, QP_MANIFEST);
    const qp_value *files = qp_json_load(v, path, &ignored) ? NULL : qp_json_get(*v, "files");
    free(path);
    return files && files->kind == QP_JSON_ARRAY ? files : NULL;
}

static bool is_text(const qp_value *v) { return v && v->kind == QP_JSON_STRING; }

/* The digest that a manifest gives for a name; NULL: none. */
static const char *digest_of(const qp_value *files, const char *name)
{
    for (const qp_value *e = files->child; e; e = e->next) {
        const qp_value *n = qp_json_get(e, "name"), *sha = qp_json_get(e, "sha256");
        if (is_text(n) && is_text(sha) && !strcmp(n->str, name)) return sha->str;
    }
    return NULL;
}

bool qp_manifest_agrees(const char *dir, const char *other)
{
    qp_value *a = NULL, *b = NULL;
    const qp_value *here = list_of(&a, dir), *there = list_of(&b, other);
    bool same = here && there;
    for (const qp_value *e = same ? here->child : NULL; same && e; e = e->next) {
        const qp_value *name = qp_json_get(e, "name"), *sha = qp_json_get(e, "sha256");
        const char *its = is_text(name) ? digest_of(there, name->str) : NULL;
        same = !its || (is_text(sha) && !strcmp(its, sha->str));
    }
    qp_json_free(a);
    qp_json_free(b);
    return same;
}
