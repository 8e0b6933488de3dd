#include "data/loader.h"
#include "tests/data/corpora.h"
#include "tests/suites.h"
#include <stdlib.h>
#include <string.h>

static const qp_loader_options usual = {
    .sequence_len = 128, .micro_batch_size = 3, .packing = true, .shuffle = true, .seed = 7
};

static qp_loader *open_loader(const qp_corpus *c, const qp_loader_options *o)
{
    qp_loader *l;
    qp_err err = { 0 };
    ck_assert_msg(qp_loader_new(&l, c, o, &err) == QP_OK, "%s", err.msg);
    return l;
}

/* Documents of a batch are where `first` changes; each must be the corpus's, whole: tokens are
 * numbered through. */
static void check_documents(const qp_batch *b, const qp_corpus *c, int *seen)
{
    int64_t documents = 0;
    for (int64_t i = 0; i < b->n;) {
        int64_t d = 0, at = b->tokens[i];
        while (c->start[d] != at) ck_assert_int_lt(++d, c->documents);
        seen[d]++;
        documents++;
        int64_t rows = c->start[d + 1] - at, first = i;
        for (int64_t k = 0; k < rows; k++, i++) {
            ck_assert_int_eq(b->tokens[i], at + k);
            ck_assert_int_eq(b->targets[i], c->targets[at + k]);
            ck_assert_int_eq(b->pos[i], k);
            ck_assert_int_eq(b->first[i], first);
            ck_assert_int_eq(b->last[i], i);
        }
    }
    ck_assert_int_eq(b->documents, documents);
}

START_TEST(an_epoch_holds_every_document_once_and_all_targets)
{
    qp_corpus c = test_corpus(300, 128, 1);
    for (int packing = 0; packing < 2; packing++) {
        qp_loader_options o = usual;
        o.packing = packing;
        qp_loader *l = open_loader(&c, &o);
        int *seen = qp_xcalloc((size_t)c.documents, sizeof *seen);
        qp_batch b = { 0 };
        int64_t targets = 0, rows = 0, batches = 0;
        for (qp_position p = { .epoch = 2 }; p.epoch == 2; batches++) {
            qp_loader_next(l, &p, &b);
            check_documents(&b, &c, seen);
            ck_assert_int_le(b.n, o.sequence_len * o.micro_batch_size);
            targets += b.targets_n;
            rows += b.n;
        }
        for (int64_t d = 0; d < c.documents; d++) ck_assert_int_eq(seen[d], 1);
        ck_assert_int_eq(rows, c.n);
        ck_assert_int_eq(targets, c.trained);
        ck_assert_int_eq(batches, qp_loader_batches(l, 2));
        free(seen);
        qp_batch_release(&b);
        qp_loader_free(l);
    }
    qp_corpus_release(&c);
}
END_TEST

static void check_same(const qp_batch *a, const qp_batch *b)
{
    size_t bytes = (size_t)a->n * sizeof(int32_t);
    ck_assert_int_eq(a->n, b->n);
    ck_assert_int_eq(a->targets_n, b->targets_n);
    ck_assert_int_eq(a->documents, b->documents);
    ck_assert(!memcmp(a->tokens, b->tokens, bytes) && !memcmp(a->targets, b->targets, bytes));
    ck_assert(!memcmp(a->pos, b->pos, bytes) && !memcmp(a->first, b->first, bytes) &&
              !memcmp(a->last, b->last, bytes));
}

START_TEST(from_any_position_the_batches_are_the_same)
{
    qp_corpus c = test_corpus(60, 100, 2);
    qp_loader *whole = open_loader(&c, &usual);
    qp_position p = { 0 };
    qp_batch a = { 0 }, b = { 0 };
    while (p.epoch < 3) {
        qp_position saved = p;
        qp_loader *fresh = open_loader(&c, &usual);
        qp_loader_next(whole, &p, &a);
        qp_loader_next(fresh, &saved, &b);
        check_same(&a, &b);
        ck_assert_int_eq(saved.epoch, p.epoch);
        ck_assert_int_eq(saved.position, p.position);
        qp_loader_free(fresh);
    }
    qp_batch_release(&a);
    qp_batch_release(&b);
    qp_loader_free(whole);
    qp_corpus_release(&c);
}
END_TEST

START_TEST(asking_for_another_epoch_changes_nothing)
{
    qp_corpus c = test_corpus(60, 100, 3);
    qp_loader *l = open_loader(&c, &usual), *other = open_loader(&c, &usual);
    qp_batch a = { 0 }, b = { 0 };
    for (qp_position p = { 0 }, q = { 0 }; p.epoch < 1;) {
        qp_loader_batches(other, 4);
        qp_loader_next(l, &p, &a);
        qp_loader_next(other, &q, &b);
        check_same(&a, &b);
    }
    qp_batch_release(&a);
    qp_batch_release(&b);
    qp_loader_free(l);
    qp_loader_free(other);
    qp_corpus_release(&c);
}
END_TEST

START_TEST(what_cannot_make_batches_is_refused)
{
    qp_corpus c = test_corpus(10, 100, 4), none = { 0 };
    qp_loader *l;
    qp_err err = { 0 };
    qp_loader_options o = usual;
    o.sequence_len = 5;
    ck_assert_int_eq(qp_loader_new(&l, &c, &o, &err), QP_USAGE);
    ck_assert(strstr(err.msg, "sequence_len is 5"));
    o = usual;
    o.micro_batch_size = 0;
    ck_assert_int_eq(qp_loader_new(&l, &c, &o, &err), QP_USAGE);
    ck_assert_int_eq(qp_loader_new(&l, &none, &usual, &err), QP_BADFILE);
    qp_loader_free(NULL);
    qp_corpus_release(&c);
}
END_TEST

Suite *suite_loader(void)
{
    Suite *s = suite_create("loader");
    TCase *t = tcase_create("loader");
    tcase_add_test(t, an_epoch_holds_every_document_once_and_all_targets);
    tcase_add_test(t, from_any_position_the_batches_are_the_same);
    tcase_add_test(t, asking_for_another_epoch_changes_nothing);
    tcase_add_test(t, what_cannot_make_batches_is_refused);
    suite_add_tcase(s, t);
    return s;
}
