#include "base/zio.h"
#include "eval/generate.h"
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include <stdlib.h>
#include <string.h>

enum { PROMPT = 7, MORE = 40 };
static int32_t prompt[PROMPT];

static qp_ctx ctx;
static qp_model *model;

static void set_up(void)
{
    qp_config cfg = tiny_config();
    cfg.max_positions = 64;
    tiny_ctx(&ctx);
    model = tiny_sealed(&cfg, QP_F32, true);
    for (int i = 0; i < PROMPT; i++)
        prompt[i] = (int32_t)qp_rng_below(3, 0, (uint64_t)i, (uint64_t)cfg.vocab_size);
}

static void tear_down(void)
{
    qp_ctx_release(&ctx);
    qp_model_free(model);
}

static int64_t generate(const qp_generate_options *o, int32_t *out, qp_generate_stats *stats)
{
    int64_t n;
    qp_err err = { 0 };
    ck_assert_msg(!qp_generate(&ctx, model, prompt, PROMPT, o, out, &n, stats, &err), "%s",
                  err.msg);
    return n;
}

/* The likeliest next token of a whole text, by one pass without a cache. */
static int32_t next_by_one_pass(const int32_t *ids, int64_t n)
{
    qp_batch b = { 0 };
    qp_batch_add(&b, ids, NULL, n);
    qp_scope s;
    qp_scope_open(&ctx.arena, &s);
    ctx.recording = false;
    qp_tensor *y = qp_model_logits(&ctx, model, qp_model_hidden(&ctx, model, &b, NULL));
    const float *row = (const float *)y->data + (n - 1) * qp_cols(y);
    int32_t best = 0;
    for (int32_t i = 1; i < qp_cols(y); i++)
        if (row[i] > row[best]) best = i;
    ctx.recording = true;
    qp_scope_close(&ctx.arena, &s);
    qp_batch_release(&b);
    return best;
}

START_TEST(greedy_with_a_cache_equals_one_pass_for_every_token)
{
    int32_t all[PROMPT + MORE];
    memcpy(all, prompt, sizeof prompt);
    qp_generate_stats stats;
    int64_t n = generate(&(qp_generate_options){ .max_tokens = MORE }, all + PROMPT, &stats);
    ck_assert_int_eq(n, MORE);
    ck_assert(!stats.stopped);
    for (int64_t i = 0; i < MORE; i++)
        ck_assert_int_eq(all[PROMPT + i], next_by_one_pass(all, PROMPT + i));
}
END_TEST

/* _i: how frozen weights are held; the file has f16. */
START_TEST(a_cache_equals_one_pass_however_weights_are_held)
{
    static const qp_storage held[] = { QP_BF16, QP_F32, QP_AS_FILED };
    char dir[] = "/tmp/qp_generate_XXXXXX";
    qp_err err = { 0 };
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_msg(!qp_model_save(model, dir, QP_F16, &err), "%s", err.msg);
    qp_model_free(model);
    qp_model_options o = { .compute = _i % 2 ? QP_F32 : QP_BF16, .load_in = held[_i / 2] };
    ck_assert_msg(!qp_model_open(&model, dir, &o, &err), "%s", err.msg);
    tiny_seal(model);
    int32_t all[PROMPT + MORE];
    memcpy(all, prompt, sizeof prompt);
    generate(&(qp_generate_options){ .max_tokens = MORE }, all + PROMPT, NULL);
    for (int64_t i = 0; i < MORE; i++)
        ck_assert_int_eq(all[PROMPT + i], next_by_one_pass(all, PROMPT + i));
    ck_assert(!qp_remove_tree(dir, &err));
}
END_TEST

START_TEST(a_stop_id_ends_it_and_is_not_given_out)
{
    int32_t whole[MORE], part[MORE];
    generate(&(qp_generate_options){ .max_tokens = MORE }, whole, NULL);
    int64_t at = 0; /* the first place of the id that stands at 5 */
    while (whole[at] != whole[5]) at++;
    qp_generate_stats stats;
    int64_t n = generate(&(qp_generate_options){ .max_tokens = MORE,
                                                 .stop_ids = (int32_t[]){ 96, whole[5] },
                                                 .n_stop = 2 },
                         part, &stats);
    ck_assert_int_le(n, at);
    ck_assert(stats.stopped && !memcmp(part, whole, (size_t)n * sizeof *part));
}
END_TEST

static bool three(void *arg, int32_t id)
{
    int32_t *seen = arg;
    seen[++seen[0]] = id;
    return seen[0] < 3;
}

START_TEST(the_listener_hears_every_token_and_may_stop)
{
    int32_t out[MORE], seen[MORE] = { 0 };
    int64_t n = generate(
        &(qp_generate_options){ .max_tokens = MORE, .on_token = three, .arg = seen }, out, NULL);
    ck_assert_int_eq(n, 3);
    ck_assert(!memcmp(out, seen + 1, 3 * sizeof *out));
}
END_TEST

START_TEST(a_seed_repeats_its_text_and_another_does_not)
{
    qp_generate_options o = { .max_tokens = MORE,
                              .sampling = { .temperature = 2, .top_p = 0.95, .seed = 1 } };
    int32_t a[MORE], b[MORE], c[MORE];
    generate(&o, a, NULL);
    generate(&o, b, NULL);
    o.sampling.seed = 2;
    generate(&o, c, NULL);
    ck_assert(!memcmp(a, b, sizeof a));
    ck_assert(memcmp(a, c, sizeof a));
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
    int32_t out[64], bad[] = { 1, 97 };
    int64_t n;
    qp_err err = { 0 };
    qp_generate_options o = { .max_tokens = 64 - PROMPT + 1 };
    ck_assert_int_eq(qp_generate(&ctx, model, prompt, PROMPT, &o, out, &n, NULL, &err), QP_USAGE);
    ck_assert(strstr(err.msg, "64 positions"));
    o.max_tokens = 64 - PROMPT;
    ck_assert_int_eq(qp_generate(&ctx, model, prompt, PROMPT, &o, out, &n, NULL, &err), QP_OK);
    ck_assert_int_eq(qp_generate(&ctx, model, prompt, 0, &o, out, &n, NULL, &err), QP_USAGE);
    ck_assert_int_eq(qp_generate(&ctx, model, bad, 2, &o, out, &n, NULL, &err), QP_USAGE);
    ck_assert(strstr(err.msg, "token 1 is 97"));
}
END_TEST

Suite *suite_generate(void)
{
    Suite *s = suite_create("generate");
    TCase *t = tcase_create("generate");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, greedy_with_a_cache_equals_one_pass_for_every_token);
    tcase_add_loop_test(t, a_cache_equals_one_pass_however_weights_are_held, 0, 6);
    tcase_add_test(t, a_stop_id_ends_it_and_is_not_given_out);
    tcase_add_test(t, the_listener_hears_every_token_and_may_stop);
    tcase_add_test(t, a_seed_repeats_its_text_and_another_does_not);
    tcase_add_test(t, what_does_not_fit_is_refused);
    suite_add_tcase(s, t);
    return s;
}
