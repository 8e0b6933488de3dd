/* Merging against a plain implementation that looks for the best pair each time. */
#include "data/bpe.h"
#include "tests/suites.h"
#include <stdlib.h>

typedef struct {
    int left, right;
} rule;

/* One of a .. e or of what was made from them. */
static int pick(uint32_t *seed, int tokens)
{
    *seed = *seed * 1664525 + 1013904223;
    int k = (int)(*seed >> 8) % (5 + tokens - 26);
    return k < 5 ? k : 26 + k - 5;
}

/* 26 letters and random merges of what is there already: token 26 + r is made by rule r. */
static int make(qp_bpe *b, rule *rules, int n, uint32_t seed)
{
    char text[200][64];
    size_t len[200];
    int tokens = 0;
    for (; tokens < 26; tokens++) {
        text[tokens][0] = (char)('a' + tokens);
        len[tokens] = 1;
        ck_assert(qp_vocab_add(&b->vocab, tokens, text[tokens], 1, true));
    }
    for (int made = 0; made < n;) {
        int l = pick(&seed, tokens), r = pick(&seed, tokens);
        if (len[l] + len[r] > 60) continue;
        memcpy(text[tokens], text[l], len[l]);
        memcpy(text[tokens] + len[l], text[r], len[r]);
        len[tokens] = len[l] + len[r];
        if (!qp_vocab_add(&b->vocab, tokens, text[tokens], len[tokens], true)) continue;
        ck_assert(qp_bpe_add_merge(b, made, text[l], len[l], text[r], len[r], NULL));
        rules[made++] = (rule){ l, r };
        tokens++;
    }
    qp_bpe_ready(b);
    return tokens;
}

static int plain(const rule *rules, int n, const char *word, int len, int32_t *ids)
{
    for (int i = 0; i < len; i++) ids[i] = word[i] - 'a';
    for (;;) {
        int best = n, at = 0;
        for (int i = 0; i + 1 < len; i++)
            for (int r = 0; r < best; r++)
                if (rules[r].left == ids[i] && rules[r].right == ids[i + 1]) best = r, at = i;
        if (best == n) return len;
        ids[at] = 26 + best;
        memmove(ids + at + 1, ids + at + 2, (size_t)(len - at - 2) * sizeof *ids);
        len--;
    }
}

START_TEST(merging_equals_the_plain_search)
{
    for (uint32_t seed = 1; seed < 30; seed++) {
        qp_bpe b = { 0 };
        qp_bpe_work w = { 0 };
        rule rules[150];
        make(&b, rules, 150, seed);
        for (int len = 1; len < 80; len++) {
            char word[80];
            int32_t want[80];
            qp_ids got = { 0 }, at = { 0 };
            for (int i = 0; i < len; i++)
                word[i] = (char)('a' + (seed * 7 + (uint32_t)(i * i * len)) % 5);
            int n = plain(rules, 150, word, len, want);
            qp_bpe_word(&b, &w, word, (size_t)len, qp_hash_bytes(word, (size_t)len), &got, &at);
            ck_assert_int_eq(got.n, n);
            int place = 0;
            for (int i = 0; i < n; i++) {
                size_t bytes;
                ck_assert_int_eq(got.id[i], want[i]);
                ck_assert_int_eq(at.id[i], place);
                qp_vocab_bytes(&b.vocab, got.id[i], &bytes);
                place += (int)bytes;
            }
            qp_ids_release(&got);
            qp_ids_release(&at);
        }
        qp_bpe_work_release(&w);
        qp_bpe_release(&b);
    }
}
END_TEST

START_TEST(a_byte_without_a_token_vanishes_before_merging)
{
    qp_bpe b = { 0 };
    qp_bpe_work w = { 0 };
    qp_ids ids = { 0 }, at = { 0 };
    rule rules[1];
    make(&b, rules, 0, 1);
    ck_assert(qp_vocab_add(&b.vocab, 26, "ab", 2, true));
    ck_assert(qp_bpe_add_merge(&b, 0, "a", 1, "b", 1, NULL));
    qp_bpe_word(&b, &w, "#a#b#", 5, 0, &ids, &at);
    ck_assert_int_eq(ids.n, 1);
    ck_assert_int_eq(ids.id[0], 26);
    ck_assert_int_eq(at.id[0], 1);
    qp_bpe_word(&b, &w, "##", 2, 0, &ids, &at);
    ck_assert_int_eq(ids.n, 1);
    qp_ids_release(&ids);
    qp_ids_release(&at);
    qp_bpe_work_release(&w);
    qp_bpe_release(&b);
}
END_TEST

START_TEST(a_merge_wants_its_pieces_and_its_result)
{
    qp_bpe b = { 0 };
    qp_buf missing = { 0 };
    rule rules[1];
    make(&b, rules, 0, 1);
    ck_assert(!qp_bpe_add_merge(&b, 0, "a", 1, "xy", 2, &missing));
    ck_assert_str_eq(missing.data, "xy");
    ck_assert(!qp_bpe_add_merge(&b, 0, "a", 1, "b", 1, &missing));
    ck_assert_str_eq(missing.data, "ab");
    qp_buf_release(&missing);
    qp_bpe_release(&b);
}
END_TEST

START_TEST(ids_and_texts_are_taken_once)
{
    qp_vocab v = { 0 };
    size_t len;
    ck_assert(qp_vocab_add(&v, 70000, "x", 1, true));
    ck_assert(!qp_vocab_add(&v, 70000, "y", 1, true));
    ck_assert(!qp_vocab_add(&v, 1, "x", 1, true));
    ck_assert(qp_vocab_add(&v, 1, "x", 1, false));
    ck_assert(qp_vocab_add(&v, 2, "", 0, false));
    ck_assert_int_eq(qp_vocab_find(&v, "x", 1, qp_hash_bytes("x", 1)), 70000);
    qp_vocab_hide(&v, 70000);
    ck_assert_int_eq(qp_vocab_find(&v, "x", 1, qp_hash_bytes("x", 1)), -1);
    ck_assert_ptr_null(qp_vocab_bytes(&v, 3, &len));
    ck_assert_ptr_null(qp_vocab_bytes(&v, 70001, &len));
    ck_assert_ptr_nonnull(qp_vocab_bytes(&v, 2, &len));
    qp_vocab_release(&v);
}
END_TEST

Suite *suite_bpe(void)
{
    Suite *s = suite_create("bpe");
    TCase *t = tcase_create("bpe");
    tcase_add_test(t, merging_equals_the_plain_search);
    tcase_add_test(t, a_byte_without_a_token_vanishes_before_merging);
    tcase_add_test(t, a_merge_wants_its_pieces_and_its_result);
    tcase_add_test(t, ids_and_texts_are_taken_once);
    suite_add_tcase(s, t);
    return s;
}
