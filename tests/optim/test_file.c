/* Stores and optimisers in files. */
#include "base/safetensors.h"
#include "autograd/general.h"
#include "optim/optim.h"
#include "tests/base/files.h"
#include "tests/support/gradcheck.h"
#include <math.h>

static const qp_optim_settings settings = { 0.9, 0.95, 1e-8, 0.1 };

/* A matrix, a vector, one value, and nothing. */
static qp_params *store(qp_storage compute, uint64_t seed)
{
    qp_err err = { 0 };
    qp_params *p = qp_params_new(compute);
    qp_params_add(p, "w", QP_SHAPE(3, 5));
    qp_params_add(p, "b", QP_SHAPE(5));
    qp_params_add(p, "scale", 0, NULL);
    qp_params_add(p, "none", QP_SHAPE(0, 4));
    ck_assert_msg(!qp_params_seal(p, &err), "%s", err.msg);
    for (int64_t i = 0; i < p->count; i++) qp_params_fill(p, p->item[i].t, qp_init_normal(1), seed);
    return p;
}

static size_t master_bytes(const qp_params *p)
{
    return qp_storage_bytes(qp_sum_storage(p->compute), p->n);
}

START_TEST(a_store_comes_back_bit_for_bit)
{
    const qp_storage compute = (qp_storage)_i;
    char *dir = test_dir(), *path = qp_path_join(dir, "p.safetensors");
    qp_err err = { 0 };
    qp_params *p = store(compute, 1), *q = store(compute, 2);
    if (compute == QP_F64)
        ((double *)p->master)[2] = NAN;
    else
        ((float *)p->master)[2] = NAN;
    ((char *)p->master)[master_bytes(p) - 1] ^= 1; /* no bf16 or f32 value would have it */
    ck_assert_msg(!qp_params_save(p, path, &err), "%s", err.msg);
    ck_assert_msg(!qp_params_load(q, path, &err), "%s", err.msg);
    ck_assert_mem_eq(p->master, q->master, master_bytes(p));
    qp_params_publish(p);
    ck_assert_mem_eq(p->value, q->value, qp_storage_bytes(compute, p->n));
    qp_params_free(p);
    qp_params_free(q);
    free(path);
    test_remove_dir(dir);
}
END_TEST

/* One write of a tensor of another kind, and what a store of store()'s says to it. */
static void refused(const qp_save_tensor *t, int64_t count, const char *message)
{
    char *dir = test_dir(), *path = qp_path_join(dir, "p.safetensors");
    qp_err err = { 0 };
    qp_params *p = store(QP_F32, 1), *same = store(QP_F32, 1);
    ck_assert_msg(!qp_safetensors_write(path, t, count, &err), "%s", err.msg);
    ck_assert_int_eq(qp_params_load(p, path, &err), QP_BADFILE);
    char *wanted = qp_xformat("%s: %s", path, message);
    ck_assert_str_eq(err.msg, wanted);
    ck_assert_mem_eq(p->master, same->master, master_bytes(p));
    qp_params_free(p);
    qp_params_free(same);
    free(wanted);
    free(path);
    test_remove_dir(dir);
}

START_TEST(another_files_tensors_are_refused_by_name_and_nothing_changes)
{
    static const double data[20];
    qp_save_tensor t[] = {
        { "w", QP_F64, 2, { 3, 5 }, data },     { "b", QP_F32, 1, { 5 }, data },
        { "scale", QP_BF16, 0, { 0 }, data },   { "none", QP_F16, 2, { 0, 4 }, data },
        { "other", QP_F32, 2, { 2, 2 }, data },
    };
    refused(t, 5, "tensor other f32(2, 2) is not among the 4 parameters");
    refused(t, 3, "no tensor none, wanted: f32(0, 4)");
    t[1].shape[0] = 4;
    refused(t, 4, "tensor b is f32(4), wanted: f32(5)");
    t[1] = (qp_save_tensor){ "b", QP_I64, 1, { 5 }, data };
    refused(t, 4, "tensor b has type I64, wanted: f64, f32, bf16 or f16");
}
END_TEST

START_TEST(other_floating_types_are_converted)
{
    static const uint16_t half[] = { 0x3C00, 0x4000, 0xC200, 0, 0x3800 }; /* f16: 1 2 -3 0 .5 */
    static const double value[] = { 1, 2, -3, 0, 0.5 }, zero[20];
    const qp_save_tensor t[] = {
        { "w", QP_F64, 2, { 3, 5 }, zero },
        { "b", QP_F16, 1, { 5 }, half },
        { "scale", QP_BF16, 0, { 0 }, zero },
        { "none", QP_F16, 2, { 0, 4 }, zero },
    };
    char *dir = test_dir(), *path = qp_path_join(dir, "p.safetensors");
    qp_err err = { 0 };
    qp_params *p = store(QP_BF16, 1);
    ck_assert(!qp_safetensors_write(path, t, 4, &err));
    ck_assert_msg(!qp_params_load(p, path, &err), "%s", err.msg);
    const qp_param *b = qp_params_find(p, "b");
    for (int i = 0; i < 5; i++) {
        ck_assert_double_eq(test_get(p->master, QP_F32, b->lo + i), value[i]);
        ck_assert_double_eq(test_get(b->t->data, QP_BF16, i), value[i]);
    }
    qp_params_free(p);
    free(path);
    test_remove_dir(dir);
}
END_TEST

START_TEST(no_file_and_no_room_are_statuses)
{
    qp_err err = { 0 };
    qp_params *p = store(QP_F32, 1);
    ck_assert_int_eq(qp_params_load(p, "/nowhere/p.safetensors", &err), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "/nowhere/p.safetensors"));
    ck_assert_int_ne(qp_params_save(p, "/nowhere/p.safetensors", &err), QP_OK);
    qp_params_free(p);
}
END_TEST

/* loss = sum of w^2 b scale, a step each; nothing else is in it. */
static void steps(qp_optim *o, int64_t from, int64_t to)
{
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_params *p = o->params;
    for (int64_t step = from; step < to; step++) {
        qp_scope s;
        qp_scope_open(&c.arena, &s);
        qp_tensor *w = qp_params_find(p, "w")->t, *b = qp_params_find(p, "b")->t,
                  *scale = qp_params_find(p, "scale")->t;
        qp_tensor *y = qp_mul(&c, qp_mul(&c, qp_square(&c, w), b), scale);
        qp_optim_minimize(o, &c, qp_sum(&c, y, QP_ALL, false), 0.1, 1, step);
        qp_scope_close(&c.arena, &s);
    }
    qp_ctx_release(&c);
}

START_TEST(stopped_and_resumed_equals_never_stopped)
{
    const qp_storage compute = (qp_storage)_i;
    char *dir = test_dir(), *path = qp_path_join(dir, "o.safetensors");
    qp_err err = { 0 };
    qp_optim whole, first, second;
    qp_params *p = store(compute, 1), *q = store(compute, 1), *r = store(compute, 2);
    ck_assert(!qp_optim_init(&whole, "adamw", &settings, p, &err));
    ck_assert(!qp_optim_init(&first, "adamw", &settings, q, &err));
    ck_assert(!qp_optim_init(&second, "adamw", &settings, r, &err));
    steps(&whole, 1, 7);
    steps(&first, 1, 4);
    ck_assert_int_ne(memcmp(p->master, q->master, master_bytes(p)), 0);
    ck_assert_msg(!qp_optim_save(&first, 3, path, &err), "%s", err.msg);
    int64_t done = 0;
    ck_assert_msg(!qp_optim_load(&second, &done, path, &err), "%s", err.msg);
    ck_assert_int_eq(done, 3);
    steps(&second, done + 1, 7);
    ck_assert_mem_eq(p->master, r->master, master_bytes(p));
    ck_assert_mem_eq(p->value, r->value, qp_storage_bytes(compute, p->n));
    for (int k = 0; k < 2; k++) ck_assert_mem_eq(whole.state[k], second.state[k], master_bytes(p));
    /* Parameters alone may be read from it too. */
    ck_assert_msg(!qp_params_load(q, path, &err), "%s", err.msg);
    qp_optim_release(&whole);
    qp_optim_release(&first);
    qp_optim_release(&second);
    qp_params_free(p);
    qp_params_free(q);
    qp_params_free(r);
    free(path);
    test_remove_dir(dir);
}
END_TEST

START_TEST(parameters_alone_are_no_optimizer)
{
    char *dir = test_dir(), *path = qp_path_join(dir, "p.safetensors");
    qp_err err = { 0 };
    qp_optim o;
    int64_t step = 5;
    qp_params *p = store(QP_F32, 1);
    ck_assert(!qp_optim_init(&o, "adamw", &settings, p, &err));
    ck_assert(!qp_params_save(p, path, &err));
    ck_assert_int_eq(qp_optim_load(&o, &step, path, &err), QP_BADFILE);
    ck_assert_ptr_nonnull(strstr(err.msg, "no tensor optimizer/step"));
    ck_assert_int_eq(step, 5);
    qp_optim_release(&o);
    qp_params_free(p);
    free(path);
    test_remove_dir(dir);
}
END_TEST

Suite *suite_file(void)
{
    Suite *s = suite_create("file");
    TCase *t = tcase_create("file");
    tcase_add_loop_test(t, a_store_comes_back_bit_for_bit, 0, QP_NCOMPUTE);
    tcase_add_test(t, another_files_tensors_are_refused_by_name_and_nothing_changes);
    tcase_add_test(t, other_floating_types_are_converted);
    tcase_add_test(t, no_file_and_no_room_are_statuses);
    tcase_add_loop_test(t, stopped_and_resumed_equals_never_stopped, 0, QP_NCOMPUTE);
    tcase_add_test(t, parameters_alone_are_no_optimizer);
    suite_add_tcase(s, t);
    return s;
}
