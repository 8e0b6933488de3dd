#include "tests/support/rows.h"
#include <check.h>
#include <omp.h>
#include <string.h>

enum { INPUTS = 4 };

/* y and gradients, gradient k in got[k + 1], copied where backward leaves them alone. */
static void run(qp_ctx *c, test_op op, int count, qp_tensor **in, const qp_tensor *dy, char **got)
{
    for (int k = 0; k < count; k++) in[k]->grad = NULL;
    qp_tensor *y = op(c, in);
    const size_t bytes = qp_value_bytes(y);
    got[0] = memcpy(qp_arena_alloc(&c->arena, bytes), y->data, bytes);
    qp_backward_from(c, y, dy->data);
    for (int k = 0; k < count; k++) {
        const size_t size = qp_storage_bytes(qp_grad_storage(in[k]), qp_numel(in[k]));
        got[k + 1] = memcpy(qp_arena_alloc(&c->arena, size), in[k]->grad, size);
    }
}

static void one_build(qp_storage type, test_op op, int64_t n, int64_t d, int vectors)
{
    const int threads = omp_get_max_threads(), count = vectors + 1;
    qp_ctx c;
    test_ctx(&c, NULL);
    qp_tensor *in[INPUTS] = { test_leaf(&c, type, 2, (int64_t[]){ n, d }, 1) };
    for (int k = 1; k < count; k++) in[k] = test_param(&c, type, 1, (int64_t[]){ d }, (uint64_t)k);
    qp_tensor *y = op(&c, in), *dy = test_leaf(&c, y->storage, y->ndim, y->shape, 9);
    const size_t row = qp_value_bytes(y) / (size_t)n, wide = qp_storage_bytes(type, d);
    c.tape = NULL;
    char *whole[INPUTS + 1], *other[INPUTS + 1];
    omp_set_num_threads(1);
    run(&c, op, count, in, dy, whole);
    for (int t = 2; t <= 3; t++) {
        omp_set_num_threads(t);
        run(&c, op, count, in, dy, other);
        ck_assert_mem_eq(whole[0], other[0], row * (size_t)n);
        ck_assert_mem_eq(whole[1], other[1], wide * (size_t)n);
        for (int k = 1; k < count; k++)
            ck_assert_mem_eq(whole[k + 1], other[k + 1], qp_sum_bytes(in[k], d));
    }
    omp_set_num_threads(threads);
    for (int64_t i = 0; i<n; i += n> 20 ? 13 : 1) {
        qp_tensor *alone[INPUTS] = { test_leaf(&c, type, 2, (int64_t[]){ 1, d }, 1) };
        memcpy(alone[0]->data, (char *)in[0]->data + (size_t)i * wide, wide);
        for (int k = 1; k < count; k++) alone[k] = in[k];
        qp_tensor part = *dy;
        part.data = (char *)dy->data + (size_t)i * row;
        run(&c, op, count, alone, &part, other);
        ck_assert_mem_eq(whole[0] + (size_t)i * row, other[0], row);
        ck_assert_mem_eq(whole[1] + (size_t)i * wide, other[1], wide);
    }
    qp_ctx_release(&c);
}

void test_row_bits(test_op op, int64_t n, int64_t d, int vectors)
{
    for (int b = 0; b < TEST_BUILDS; b++) {
        qp_storage type;
        if (test_build(b, &type)) one_build(type, op, n, d, vectors);
    }
}
