#include "base/word.h"
#include "tests/suites.h"
#include <string.h>

START_TEST(distance_counts_edits)
{
    ck_assert_int_eq(qp_word_distance("", 0, "abc", 3), 3);
    ck_assert_int_eq(qp_word_distance("kitten", 6, "sitting", 7), 3);
    ck_assert_int_eq(qp_word_distance("sitting", 7, "kitten", 6), 3);
    ck_assert_int_eq(qp_word_distance("abc", 3, "abcdef", 3), 0); /* lengths, not endings, count */
    char longest[400];
    memset(longest, 'x', sizeof longest);
    ck_assert_int_eq(qp_word_distance(longest, sizeof longest, "x", 1), 126);
}
END_TEST

START_TEST(the_first_of_the_nearest_is_meant)
{
    const char *const word[] = { "train", "brain", "tokenize" };
    ck_assert_str_eq(qp_word_nearest("trian", word, 3), "train");
    ck_assert_str_eq(qp_word_nearest("rain", word, 3), "train");
    ck_assert_str_eq(qp_word_nearest("tokenise", word, 3), "tokenize");
}
END_TEST

Suite *suite_word(void)
{
    Suite *s = suite_create("word");
    TCase *t = tcase_create("word");
    tcase_add_test(t, distance_counts_edits);
    tcase_add_test(t, the_first_of_the_nearest_is_meant);
    suite_add_tcase(s, t);
    return s;
}
