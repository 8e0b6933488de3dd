/* What the tests of file readers share: a temporary folder, and the broken files beside the golden
 * data. */
#ifndef QP_TESTS_BASE_FILES_H
#define QP_TESTS_BASE_FILES_H
#include "base/json.h"
#include "base/zio.h"
#include "tests/suites.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* $QP_SHARED/name when it is there, else NULL and a loud line. The caller frees. */
static inline char *test_shared(const char *name)
{
    const char *shared = getenv("QP_SHARED");
    char *path = qp_path_join(shared ? shared : "../shared", name);
    if (qp_path_exists(path)) return path;
    fprintf(stderr, "NOT TESTED: %s is absent (set QP_SHARED)\n", path);
    free(path);
    return NULL;
}

/* A new temporary folder; the caller removes it with test_remove_dir. */
static inline char *test_dir(void)
{
    char *dir = qp_xstrdup("/tmp/qp_test_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    return dir;
}

static inline void test_remove_dir(char *dir)
{
    qp_err err = { 0 };
    ck_assert_msg(!qp_remove_tree(dir, &err), "%s", err.msg);
    free(dir);
}

/* Without an fsync: some tests write a thousand files. */
static inline void test_write(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, len, f), len);
    ck_assert_int_eq(fclose(f), 0);
}

typedef struct {
    const char *file,
        *message; /* under golden/bad; a part of the message wanted, NULL: must be accepted */
} test_bad;

/* Opens every file that golden/bad's manifest lists in the category: the table and the manifest
 * must agree. */
static inline void test_bad_files(const char *category, const test_bad *table, int count,
                                  qp_status (*try)(const char *path, qp_err *err))
{
    char *manifest = test_shared("golden/bad/manifest.json"), *dir = test_shared("golden/bad");
    if (!manifest || !dir) return;
    qp_err err = { 0 };
    qp_value *root;
    ck_assert_msg(!qp_json_load(&root, manifest, &err), "%s", err.msg);
    int seen = 0;
    for (const qp_value *v = qp_json_get(root, "inputs")->child; v; v = v->next) {
        if (strcmp(qp_json_get(v, "category")->str, category)) continue;
        const char *file = qp_json_get(v, "file")->str;
        int i = 0;
        while (i < count && strcmp(table[i].file, file)) i++;
        ck_assert_msg(i < count, "%s is in the manifest, not in the test's table", file);
        bool must_fail = qp_json_get(v, "must_fail")->kind == QP_JSON_TRUE;
        ck_assert_msg(must_fail == (table[i].message != NULL), "%s: table and manifest differ",
                      file);
        char *path = qp_path_join(dir, file);
        err = (qp_err){ 0 };
        qp_status rc = try(path, &err);
        ck_assert_msg(rc == (must_fail ? QP_BADFILE : QP_OK), "%s: status %d: %s", file, rc,
                      err.msg);
        if (must_fail)
            ck_assert_msg(strstr(err.msg, path) && strstr(err.msg, table[i].message),
                          "%s: wanted: %s", err.msg, table[i].message);
        free(path);
        seen++;
    }
    ck_assert_int_eq(seen, count);
    qp_json_free(root);
    free(manifest);
    free(dir);
}
#endif
