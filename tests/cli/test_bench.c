/* `quipu bench`, and the file that its --tune writes: what later runs make of it. */
#include "tests/cli/program.h"

/* Small products: it is the command that is tested here. */
static int bench(const char *words)
{
    return run("bench --shape 24x32x40 --shape 1x16x16 --seconds 0 %s", words);
}

/* The product that bench's file names for a type. */
static void written(const char *type, char name[80])
{
    read_back("cache/quipu/products", &out);
    char *line = strstr(out.data, type);
    ck_assert_msg(line && sscanf(line + strlen(type), "\t%79[^\n]", name) == 1, "%s", out.data);
}

START_TEST(bench_measures_every_product_and_remembers_the_fastest)
{
    char *cache = folder("cache");
    setenv("XDG_CACHE_HOME", cache, 1);
    expect(bench("--json"), 0);
    qp_value *v;
    ck_assert_msg(!qp_json_parse(&v, out.data, out.len, &err), "%s", err.msg);
    ck_assert(json_number("memory_bytes_per_s") > 1e8);
    int sound = 0;
    const qp_value *products = qp_json_get(v, "products");
    for (const qp_value *p = products->child; p; p = p->next)
        for (const qp_value *s = qp_json_get(p, "shapes")->child; s; s = s->next, sound++) {
            ck_assert(qp_json_get(s, "nt")->number > 0);
            ck_assert((qp_json_get(s, "tn") != NULL) == (qp_json_get(s, "rows")->number > 1));
        }
    ck_assert_int_ge(sound, 4);
    qp_json_free(v);
    char *path = qp_path_join(cache, "quipu/products");
    ck_assert(!qp_path_exists(path));
    expect(bench("--tune"), 0);
    ck_assert(strstr(out.data, "written to ") && strstr(out.data, path));
    char name[80];
    written("bf16", name);
    written("f32", name);
    free(path);
    free(cache);
}
END_TEST

/* The product for bf16 that serves, by `quipu env`. */
static void serves(char name[80])
{
    qp_value *v;
    expect(run("env --json"), 0);
    ck_assert_msg(!qp_json_parse(&v, out.data, out.len, &err), "%s", err.msg);
    const qp_value *by = qp_json_get(qp_json_get(qp_json_get(v, "origin"), "matmul_nt"), "bf16");
    snprintf(name, 80, "%s", by->str);
    qp_json_free(v);
}

START_TEST(the_file_of_bench_says_what_is_tried_first_and_a_bad_one_nothing)
{
    char *cache = folder("cache"), usual[80], now[80], f32[80];
    setenv("XDG_CACHE_HOME", cache, 1);
    serves(usual);
    expect(bench("--tune"), 0);
    written("f32", f32);
    /* The product for f32 serves every type, whatever the machine. */
    shell(
        "sed -n 's/\tf32\t/\tbf16\t/p; /^#/p' cache/quipu/products > p; mv p cache/quipu/products");
    serves(now);
    ck_assert_msg(!strncmp(now, f32, strlen(f32)), "%s, not %s", now, f32);
    shell("sed -i 's/^[^#]*-/other-cpu-/' cache/quipu/products");
    serves(now);
    ck_assert_str_eq(now, usual);
    expect(bench("--tune"), 0); /* another class's line stays */
    read_back("cache/quipu/products", &out);
    ck_assert(strstr(out.data, "other-cpu-") != NULL);
    shell("head -c 5000 /dev/urandom > cache/quipu/products");
    serves(now);
    ck_assert_str_eq(now, usual);
    expect(bench("--tune"), 0); /* what is none of ours is replaced */
    shell("grep -q '^# quipu' cache/quipu/products && rm cache/quipu/products && "
          "mkdir cache/quipu/products");
    serves(now);
    ck_assert_str_eq(now, usual);
    free(cache);
}
END_TEST

START_TEST(bench_names_its_mistakes)
{
    expect_error(run("bench --shape 3x4"), QP_USAGE, "ROWSxOUTxIN");
    expect_error(run("bench --shape 3x4x0"), QP_USAGE, "3x4x0");
    expect_error(run("bench --seconds -1"), QP_USAGE, "--seconds");
    setenv("XDG_CACHE_HOME", "relative", 1);
    char *home = getenv("HOME") ? qp_xstrdup(getenv("HOME")) : NULL;
    unsetenv("HOME");
    expect_error(bench("--tune"), QP_USAGE, "neither XDG_CACHE_HOME nor HOME");
    if (home) setenv("HOME", home, 1);
    free(home);
    write_file("text.txt", "no folder");
    char *file = qp_path_join(dir, "text.txt");
    setenv("XDG_CACHE_HOME", file, 1);
    ck_assert_int_ne(bench("--tune"), 0);
    ck_assert_msg(strstr(said.data, "text.txt") != NULL, "%s", said.data);
    free(file);
}
END_TEST

Suite *suite_bench(void)
{
    Suite *s = suite_create("bench");
    TCase *t = tcase_create("command");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, program_set_up, program_tear_down);
    tcase_add_test(t, bench_measures_every_product_and_remembers_the_fastest);
    tcase_add_test(t, the_file_of_bench_says_what_is_tried_first_and_a_bad_one_nothing);
    tcase_add_test(t, bench_names_its_mistakes);
    suite_add_tcase(s, t);
    return s;
}
