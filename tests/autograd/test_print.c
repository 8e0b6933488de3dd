#include "autograd/print.h"
#include "autograd/general.h"
#include "autograd/segment.h"
#include "tests/suites.h"
#include "tests/support/gradcheck.h"
#include <string.h>

/* A layer of a network, and an adapter that adds into it. */
static qp_params *record(qp_ctx *c)
{
    qp_err err = { 0 };
    qp_params *p = qp_params_new(QP_F32);
    qp_tensor *w = qp_params_add(p, "w1", QP_SHAPE(3, 4)),
              *b = qp_params_add(p, "b\"1", QP_SHAPE(3)),
              *down = qp_params_add(p, "down", QP_SHAPE(2, 4)),
              *up = qp_params_add(p, "up", QP_SHAPE(3, 2));
    ck_assert_msg(!qp_params_seal(p, &err), "%s", err.msg);
    qp_tensor *x = qp_full(c, QP_F32, QP_SHAPE(5, 4), 1);
    qp_tensor *h = qp_lora(c, qp_linear(c, x, w), x, down, up, 1, 0);
    h = qp_tanh(c, qp_add(c, h, b));
    qp_sum(c, qp_mul(c, h, h), QP_ALL, false);
    return p;
}

START_TEST(a_tape_as_text)
{
    qp_ctx c;
    qp_buf text = { 0 };
    test_ctx(&c, NULL);
    qp_params *p = record(&c);
    qp_tape_print(&c, p, &text);
    ck_assert_str_eq(text.data,
                     "x1                                       f32(5, 4)            no gradient\n"
                     "w1                                       f32(3, 4)            gradient\n"
                     "down                                     f32(2, 4)            gradient\n"
                     "up                                       f32(3, 2)            gradient\n"
                     "b\"1                                      f32(3)               gradient\n"
                     "%1 = linear(x1, w1)                      f32(5, 3)\n"
                     "%2 = lora(x1, down, up) into %1          f32(5, 3)\n"
                     "%3 = add(%2, b\"1)                        f32(5, 3)\n"
                     "%4 = tanh(%3)                            f32(5, 3)\n"
                     "%5 = mul(%4, %4)                         f32(5, 3)\n"
                     "%6 = sum(%5)                             f32()\n");
    qp_buf_clear(&text);
    qp_tape_print(&c, NULL, &text);
    ck_assert_ptr_nonnull(strstr(text.data, "%2 = lora(x1, p2, p3) into %1 "));
    qp_buf_release(&text);
    qp_params_free(p);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(a_tape_as_a_graph)
{
    qp_ctx c;
    qp_buf text = { 0 };
    test_ctx(&c, NULL);
    qp_params *p = record(&c);
    qp_tape_dot(&c, p, &text);
    const char *parts[] = { "digraph tape {\n",
                            "x1 [label=\"w1\\nf32(3, 4)\", shape=ellipse",
                            "[label=\"b\\\"1\\nf32(3)\"",
                            "n3 [label=\"tanh\\nf32(5, 3)\"]",
                            "x0 -> n0 [style=dotted]\n",
                            "x1 -> n0\n",
                            "n0 -> n1\n",
                            "n1 -> n2\n" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        ck_assert_msg(strstr(text.data, parts[i]) != NULL, "%s: not in\n%s", parts[i], text.data);
    ck_assert_str_eq(text.data + text.len - 2, "}\n");
    qp_buf_release(&text);
    qp_params_free(p);
    qp_ctx_release(&c);
}
END_TEST

static qp_tensor *inside(qp_ctx *c, void *module, const void *env, qp_tensor *x)
{
    (void)module;
    (void)env;
    return qp_exp(c, x);
}

START_TEST(a_recomputed_segment_is_one_node_of_its_input)
{
    qp_ctx c;
    qp_buf text = { 0 };
    test_ctx(&c, NULL);
    c.recompute = true;
    qp_tensor *x = test_leaf(&c, QP_F64, 1, (int64_t[]){ 3 }, 1);
    qp_segment(&c, inside, NULL, NULL, x, 1, x->shape);
    qp_tape_print(&c, NULL, &text);
    ck_assert_ptr_nonnull(strstr(text.data, "%1 = segment(x1) "));
    qp_buf_release(&text);
    qp_ctx_release(&c);
}
END_TEST

START_TEST(an_empty_tape_prints_nothing)
{
    qp_ctx c;
    qp_buf text = { 0 };
    test_ctx(&c, NULL);
    qp_tape_print(&c, NULL, &text);
    ck_assert_uint_eq(text.len, 0);
    qp_tape_dot(&c, NULL, &text);
    ck_assert_ptr_null(strstr(text.data, "->"));
    qp_buf_release(&text);
    qp_ctx_release(&c);
}
END_TEST

Suite *suite_print(void)
{
    Suite *s = suite_create("print");
    TCase *t = tcase_create("print");
    tcase_add_test(t, a_tape_as_text);
    tcase_add_test(t, a_tape_as_a_graph);
    tcase_add_test(t, a_recomputed_segment_is_one_node_of_its_input);
    tcase_add_test(t, an_empty_tape_prints_nothing);
    suite_add_tcase(s, t);
    return s;
}
