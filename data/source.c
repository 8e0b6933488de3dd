/* Which file a data path stands for: the mlx-lm layout of a folder with train, valid and test
 * files. */
#include "base/zio.h"
#include "data/corpus.h"
#include <stdlib.h>
#include <string.h>

qp_status qp_source_resolve(const char *path, const char *split, char **file, qp_err *err)
{
    static const char *const suffix[] = { "jsonl", "json", "txt" };
    static const char *const also[] = { "validation", "val", "dev" };
    bool train = !strcmp(split, "train"), valid = !strcmp(split, "valid");
    *file = NULL;
    if (!qp_path_is_dir(path)) {
        if (train && !qp_path_exists(path))
            return qp_fail(err, QP_USAGE, "%s: no such file or folder", path);
        if (train) *file = qp_xstrdup(path);
        return QP_OK;
    }
    for (int name = -1; name < (valid ? 3 : 0); name++) {
        for (int i = 0; i < 3; i++) {
            char *base = qp_xformat("%s.%s", name < 0 ? split : also[name], suffix[i]);
            char *full = qp_path_join(path, base);
            free(base);
            if (qp_path_exists(full)) {
                *file = full;
                return QP_OK;
            }
            free(full);
        }
    }
    if (!train) return QP_OK;
    return qp_fail(err, QP_USAGE, "%s: no train.jsonl, train.json or train.txt in this folder",
                   path);
}
