#include "data/pack.h"
#include "tests/data/corpora.h"
#include "tests/suites.h"
#include <stdlib.h>
#include <string.h>

static const qp_loader_options usual = {
    .sequence_len = 128, .micro_batch_size = 1, .packing = true, .shuffle = true, .seed = 7
};

static void check_every_document_once(const qp_packing *p, const qp_corpus *c, int64_t length)
{
    int *seen = qp_xcalloc((size_t)c->documents, sizeof *seen);
    ck_assert_int_eq(p->first[0], 0);
    ck_assert_int_eq(p->first[p->rows], c->documents);
    for (int64_t r = 0; r < p->rows; r++) {
        int64_t tokens = 0;
        ck_assert_int_lt(p->first[r], p->first[r + 1]);
        for (int64_t i = p->first[r]; i < p->first[r + 1]; i++) {
            int64_t d = p->document[i];
            ck_assert_int_eq(seen[d]++, 0);
            tokens += c->start[d + 1] - c->start[d];
        }
        ck_assert_int_le(tokens, length);
    }
    free(seen);
}

START_TEST(every_document_is_in_one_row_and_no_row_overflows)
{
    static const int64_t shapes[][3] = { /* documents, longest, row */
                                         { 1, 1, 1 },      { 1, 128, 128 },    { 500, 128, 128 },
                                         { 500, 20, 128 }, { 300, 64, 64 },    { 300, 63, 64 },
                                         { 1000, 5, 5 },   { 2000, 700, 2048 }
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int packing = 0; packing < 2; packing++)
            for (int shuffle = 0; shuffle < 2; shuffle++) {
                qp_corpus c = test_corpus(shapes[i][0], shapes[i][1], i);
                qp_loader_options o = usual;
                o.sequence_len = shapes[i][2];
                o.packing = packing;
                o.shuffle = shuffle;
                qp_packing p;
                qp_pack(&p, c.start, c.documents, &o, 3);
                check_every_document_once(&p, &c, o.sequence_len);
                qp_packing_release(&p);
                qp_corpus_release(&c);
            }
}
END_TEST

START_TEST(without_packing_a_row_is_a_document)
{
    qp_corpus c = test_corpus(200, 30, 1);
    qp_loader_options o = usual;
    o.packing = o.shuffle = false;
    qp_packing p;
    qp_pack(&p, c.start, c.documents, &o, 0);
    ck_assert_int_eq(p.rows, c.documents);
    for (int64_t i = 0; i < p.rows; i++) ck_assert_int_eq(p.document[i], i);
    qp_packing_release(&p);
    qp_corpus_release(&c);
}
END_TEST

START_TEST(order_depends_on_seed_and_epoch_only)
{
    qp_corpus c = test_corpus(400, 100, 2);
    qp_loader_options o = usual, other = usual;
    other.seed = 8;
    qp_packing a, b, epoch, seed;
    qp_pack(&a, c.start, c.documents, &o, 5);
    qp_pack(&b, c.start, c.documents, &o, 5);
    qp_pack(&epoch, c.start, c.documents, &o, 6);
    qp_pack(&seed, c.start, c.documents, &other, 5);
    size_t bytes = (size_t)c.documents * sizeof *a.document;
    ck_assert_int_eq(a.rows, b.rows);
    ck_assert(!memcmp(a.document, b.document, bytes));
    ck_assert(!memcmp(a.first, b.first, (size_t)(a.rows + 1) * sizeof *a.first));
    ck_assert(memcmp(a.document, epoch.document, bytes));
    ck_assert(memcmp(a.document, seed.document, bytes));
    qp_packing *all[] = { &a, &b, &epoch, &seed };
    for (int i = 0; i < 4; i++) qp_packing_release(all[i]);
    qp_corpus_release(&c);
}
END_TEST

/* Best fit leaves at most 1.7 rows for each row that the tokens fill (Johnson et al. 1974);
   documents much shorter than a row leave almost nothing. */
START_TEST(short_documents_leave_less_than_three_percent_of_the_rows_empty)
{
    qp_corpus c = test_corpus(3000, 400, 3);
    qp_loader_options o = usual;
    o.sequence_len = 2048;
    qp_packing p;
    qp_pack(&p, c.start, c.documents, &o, 0);
    double used = (double)c.n / (double)(p.rows * o.sequence_len);
    ck_assert_double_gt(used, 0.97);
    qp_packing_release(&p);
    qp_corpus_release(&c);
}
END_TEST

START_TEST(shuffled_epochs_put_a_document_anywhere)
{
    qp_corpus c = test_corpus(16, 1, 4);
    qp_loader_options o = usual;
    o.packing = false;
    int at[16][16] = { 0 };
    for (int64_t e = 0; e < 1600; e++) {
        qp_packing p;
        qp_pack(&p, c.start, c.documents, &o, e);
        for (int i = 0; i < 16; i++) at[p.document[i]][i]++;
        qp_packing_release(&p);
    }
    /* Each cell is about 100 with a deviation of 10: six of those either way. */
    for (int d = 0; d < 16; d++)
        for (int i = 0; i < 16; i++) ck_assert(at[d][i] > 40 && at[d][i] < 160);
    qp_corpus_release(&c);
}
END_TEST

START_TEST(a_document_longer_than_a_row_exits_70)
{
    int64_t start[] = { 0, 129 };
    qp_packing p;
    qp_pack(&p, start, 1, &usual, 0);
}
END_TEST

Suite *suite_pack(void)
{
    Suite *s = suite_create("pack");
    TCase *t = tcase_create("pack");
    tcase_add_test(t, every_document_is_in_one_row_and_no_row_overflows);
    tcase_add_test(t, without_packing_a_row_is_a_document);
    tcase_add_test(t, order_depends_on_seed_and_epoch_only);
    tcase_add_test(t, short_documents_leave_less_than_three_percent_of_the_rows_empty);
    tcase_add_test(t, shuffled_epochs_put_a_document_anywhere);
    tcase_add_exit_test(t, a_document_longer_than_a_row_exits_70, QP_BUG);
    suite_add_tcase(s, t);
    return s;
}
