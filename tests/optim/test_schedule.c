#include "base/json.h"
#include "optim/optim.h"
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include <math.h>

START_TEST(factors_are_transformers)
{
    static const struct {
        const char *name;
        qp_schedule_kind kind;
        double min_ratio;
        int64_t lag;
    } k[] = {
        { "constant_with_warmup", QP_SCHEDULE_CONSTANT, 0, 1 },
        { "linear", QP_SCHEDULE_LINEAR, 0, 1 },
        { "cosine", QP_SCHEDULE_COSINE, 0, 1 },
        { "cosine_with_min_lr", QP_SCHEDULE_COSINE, 0.1, 1 },
        { "cosine_warmup_with_min_lr", QP_SCHEDULE_COSINE, 0.1, 0 },
        { "wsd_linear_warmup_cosine_decay", QP_SCHEDULE_WSD, 0.1, 1 },
    };
    qp_err err = { 0 };
    qp_value *root;
    const char *path = shared_path("training/schedules.json");
    if (!path) return;
    ck_assert_msg(!qp_json_load(&root, path, &err), "%s", err.msg);
    const qp_value *factors = qp_json_get(root, "factors");
    int64_t total = qp_json_get(root, "total_steps")->integer;
    for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
        const qp_value *want = qp_json_get(factors, k[i].name);
        qp_schedule s = { k[i].kind,
                          qp_json_get(root, "warmup_steps")->integer,
                          total,
                          k[i].min_ratio,
                          qp_json_get(root, "wsd_decay_steps")->number / (double)total,
                          k[i].lag };
        ck_assert_int_eq(want->count, total);
        for (int64_t step = 1; step <= total; step++)
            ck_assert_double_eq_tol(qp_schedule_factor(&s, step),
                                    qp_json_at(want, step - 1)->number, 1e-12);
    }
    qp_json_free(root);
}
END_TEST

START_TEST(no_step_is_wasted_and_the_end_is_reached)
{
    for (int kind = 0; kind < QP_SCHEDULES; kind++) {
        qp_schedule s = { (qp_schedule_kind)kind, 5, 20, 0.1, 0.25, 0 };
        ck_assert_double_eq_tol(qp_schedule_factor(&s, 1),
                                kind == QP_SCHEDULE_WSD ? 0.1 + 0.9 / 5 : 1.0 / 5, 1e-15);
        ck_assert_double_eq(qp_schedule_factor(&s, 5), 1);
        ck_assert_double_eq_tol(qp_schedule_factor(&s, 20), kind == QP_SCHEDULE_CONSTANT ? 1 : 0.1,
                                1e-15);
        ck_assert_double_eq(qp_schedule_factor(&s, 25), qp_schedule_factor(&s, 20));
        s.warmup = 0;
        ck_assert_double_gt(qp_schedule_factor(&s, 1), 0.95);
        s.total = 1;
        ck_assert(isfinite(qp_schedule_factor(&s, 1)));
    }
}
END_TEST

START_TEST(schedules_are_found_by_name)
{
    qp_schedule_kind k;
    ck_assert(qp_schedule_find("cosine", &k) && k == QP_SCHEDULE_COSINE);
    ck_assert(qp_schedule_find("constant", &k) && k == QP_SCHEDULE_CONSTANT);
    ck_assert(!qp_schedule_find("cosin", &k));
}
END_TEST

Suite *suite_schedule(void)
{
    Suite *s = suite_create("schedule");
    TCase *t = tcase_create("factors");
    tcase_add_test(t, factors_are_transformers);
    tcase_add_test(t, no_step_is_wasted_and_the_end_is_reached);
    tcase_add_test(t, schedules_are_found_by_name);
    suite_add_tcase(s, t);
    return s;
}
