#include "base/log.h"
#include "base/zio.h"
#include "train/checkpoint.h"
#include "train/fault.h"
#include "train/manifest.h"
#include "train/session.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

char *qp_session_kernels(const qp_session *r)
{
    const qp_backend *be = r->ctx.be;
    const char *origin = qp_kernel_origin(be, "matmul_nt", r->s.compute);
    /* What was refused before it is for `quipu env`. */
    return qp_xformat("%s, %.*s", be->name, (int)strcspn(origin, ";"), origin);
}

/* Have the product serve that the checkpoint at `path` was made with. */
static qp_status prefer_its_product(const qp_session *r, const char *path, qp_err *err)
{
    char *trajectory, *kernels;
    qp_progress ignored;
    qp_status rc = qp_state_peek(path, &ignored, &trajectory, &kernels, err);
    const char *product = rc ? NULL : strstr(kernels, ", "); /* behind the backend's name */
    if (product) qp_cpu_prefer(r->s.compute, product + 2);
    free(trajectory);
    free(kernels);
    return rc;
}

/* Which checkpoint to go on from; *path NULL: none. */
static qp_status choose(qp_session *r, char **path, qp_err *err)
{
    const char *wish = r->o->resume_from_checkpoint;
    *path = NULL;
    if (!strcmp(wish, "auto")) return qp_checkpoint_newest(r->dir, path, err);
    if (!strcmp(wish, "none")) {
        qp_status rc = qp_checkpoint_newest(r->dir, path, err);
        if (!rc && *path)
            rc = qp_fail(err, QP_USAGE,
                         "resume_from_checkpoint none: %s is there already; choose another "
                         "output_dir or delete it",
                         *path);
        free(*path);
        *path = NULL;
        return rc;
    }
    if (!qp_path_is_dir(wish))
        return qp_fail(err, QP_USAGE, "resume_from_checkpoint %s: no such folder", wish);
    *path = qp_xstrdup(wish);
    return qp_manifest_verify(wish, err);
}

static qp_status load(qp_session *r, const char *path, qp_err *err)
{
    char *trajectory, *kernels, *here = qp_session_kernels(r);
    qp_buf diff = { 0 };
    qp_status rc = qp_state_peek(path, &r->p, &trajectory, &kernels, err);
    if (!rc) qp_trajectory_diff(trajectory, r->trajectory.data, &diff);
    if (!rc && diff.len)
        rc = qp_fail(
            err, QP_USAGE,
            "%s was made with other settings: %s; set them back or choose another output_dir", path,
            diff.data);
    if (!rc && strcmp(kernels, here))
        qp_warn("%s was made by kernels %s, this machine has %s: the numbers will not be the same "
                "to the last bit",
                path, kernels, here);
    if (!rc) rc = qp_state_load(path, &r->s.optim, err);
    qp_buf_release(&diff);
    free(trajectory);
    free(kernels);
    free(here);
    return rc;
}

/* A run that was killed between a save and its links, or whose newest checkpoint was broken. */
static qp_status mend_links(qp_session *r, qp_err *err)
{
    const int64_t step[] = { r->p.step, r->p.best_step };
    static const char *const what[] = { "latest", "best" };
    qp_status rc = QP_OK;
    for (int i = 0; !rc && i < 2; i++) {
        char name[QP_CHECKPOINT_NAME];
        qp_checkpoint_name(name, step[i]);
        char *path = qp_path_join(r->dir, name);
        if (qp_path_is_dir(path)) rc = qp_link(r->dir, what[i], name, err);
        free(path);
    }
    return rc;
}

qp_status qp_session_find(qp_session *r, qp_err *err)
{
    qp_status rc = choose(r, &r->from, err);
    return rc || !r->from ? rc : prefer_its_product(r, r->from, err);
}

qp_status qp_session_resume(qp_session *r, qp_err *err)
{
    qp_status rc = QP_OK;
    r->p = (qp_progress){ .last_eval = -1, .best_loss = INFINITY };
    r->saved_step = -1;
    if (r->from) {
        qp_session_describe(r);
        rc = load(r, r->from, err);
        r->saved_step = r->p.step;
        if (!rc) rc = mend_links(r, err);
        if (!rc) qp_info("going on from %s", r->from);
    }
    r->first_step = r->p.step;
    return rc;
}

qp_status qp_session_weights(qp_session *r, const char *dir, qp_err *err)
{
    if (!r->s.adapter) return qp_model_save(r->s.model, dir, r->s.compute, err);
    /* Whole: an adapter is used from other folders than the one that the run was started in. */
    const char *given = r->o->base_model ? r->o->base_model : "";
    char *whole = realpath(given, NULL);
    qp_status rc = qp_model_save_adapter(r->s.model, dir, whole ? whole : given, err);
    free(whole);
    return rc;
}

/* A folder has its own config.json: beside an adapter a second one would tell transformers that the
   adapter's folder holds the base too. A GGUF has none; its sizes are written in the form that
   everybody reads. */
static bool wants_config(const qp_session *r)
{
    return !r->s.adapter || !r->o->base_model || !qp_path_is_dir(r->o->base_model);
}

static qp_status save_config(qp_session *r, const char *dir, qp_err *err)
{
    qp_buf json = { 0 };
    char *path = qp_path_join(dir, "config.json");
    qp_config_json(qp_model_config(r->s.model), r->s.compute, &json);
    qp_status rc = qp_file_write(path, json.data, json.len, err);
    qp_buf_release(&json);
    free(path);
    return rc;
}

qp_status qp_session_final(qp_session *r, qp_err *err)
{
    char *tmp;
    qp_status rc = qp_folder_begin(r->dir, "final", &tmp, err);
    if (rc) return rc;
    rc = qp_session_weights(r, tmp, err);
    qp_fault("final_mid");
    if (!rc && wants_config(r)) rc = save_config(r, tmp, err);
    if (!rc) rc = qp_tokenizer_save(r->s.tokenizer, tmp, err);
    if (!rc) return qp_folder_commit(r->dir, "final", tmp, NULL, err);
    qp_folder_abandon(tmp);
    return rc;
}
