#include "base/asan.h"
#include "base/zio.h"
#include "tests/suites.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static qp_err err;

static void set_up(void)
{
    strcpy(dir, "/tmp/qp_zio_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}
static void tear_down(void) { ck_assert_msg(!qp_remove_tree(dir, &err), "%s", err.msg); }

static char *in_dir(const char *name) { return qp_path_join(dir, name); }

static int entries(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

static void check_content(const char *path, const char *want)
{
    qp_buf b = { 0 };
    ck_assert_msg(!qp_file_read(path, &b, &err), "%s", err.msg);
    ck_assert_str_eq(b.data, want);
    qp_buf_release(&b);
}

START_TEST(what_was_written_is_read_and_mapped)
{
    char *path = in_dir("f");
    ck_assert_msg(!qp_file_write(path, "hello", 5, &err), "%s", err.msg);
    check_content(path, "hello");
    qp_map m;
    ck_assert_msg(!qp_map_open(&m, path, &err), "%s", err.msg);
    ck_assert_uint_eq(m.len, 5);
    ck_assert_mem_eq(m.data, "hello", 5);
    qp_map_release(&m);
    qp_map_release(&m);
    ck_assert_int_eq(entries(), 1);
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    ck_assert(!stat(path, &st) && (st.st_mode & 0777) == (0666 & ~mask));
    free(path);
}
END_TEST

START_TEST(an_empty_file_is_read_and_mapped)
{
    char *path = in_dir("f");
    ck_assert_msg(!qp_file_write(path, NULL, 0, &err), "%s", err.msg);
    check_content(path, "");
    qp_map m;
    ck_assert_msg(!qp_map_open(&m, path, &err), "%s", err.msg);
    ck_assert_uint_eq(m.len, 0);
    qp_map_release(&m);
    free(path);
}
END_TEST

START_TEST(missing_files_and_folders_are_usage_errors)
{
    qp_buf b = { 0 };
    qp_map m;
    char *missing = in_dir("no/such"), *want = qp_xformat("%s: no such file", missing);
    ck_assert_int_eq(qp_file_read(missing, &b, &err), QP_USAGE);
    ck_assert_str_eq(err.msg, want);
    ck_assert_int_eq(qp_map_open(&m, missing, &err), QP_USAGE);
    ck_assert_int_eq(qp_file_read(dir, &b, &err), QP_USAGE);
    ck_assert(strstr(err.msg, "a folder, not a file"));
    ck_assert_int_eq(qp_map_open(&m, "/dev/zero", &err), QP_USAGE);
    ck_assert_int_eq(qp_file_write(missing, "x", 1, &err), QP_IO);
    ck_assert(strstr(err.msg, "No such file"));
    ck_assert_int_eq(qp_file_write(dir, "x", 1, &err), QP_USAGE);
    ck_assert_int_eq(qp_file_write("/dev/null", "x", 1, &err), QP_USAGE);
    ck_assert(qp_path_exists("/dev/null"));
    free(missing);
    free(want);
}
END_TEST

START_TEST(a_pipe_without_a_writer_is_refused_at_once)
{
    qp_buf b = { 0 };
    char *pipe = in_dir("pipe");
    ck_assert_int_eq(mkfifo(pipe, 0600), 0);
    ck_assert_int_eq(qp_file_read(pipe, &b, &err), QP_USAGE);
    ck_assert(strstr(err.msg, "not a regular file"));
    free(pipe);
}
END_TEST

START_TEST(reading_takes_no_more_memory_than_the_file)
{
    enum { BYTES = 1 << 20 };
    qp_buf b = { 0 };
    char *path = in_dir("big"), *data = qp_xcalloc(BYTES, 1);
    ck_assert_msg(!qp_file_write(path, data, BYTES, &err), "%s", err.msg);
    ck_assert_msg(!qp_file_read(path, &b, &err), "%s", err.msg);
    ck_assert_uint_eq(b.len, BYTES);
    ck_assert_uint_lt(b.cap, BYTES + 4096);
    qp_buf_release(&b);
    free(data);
    free(path);
}
END_TEST

START_TEST(files_of_unknown_size_are_read_to_the_end)
{
    qp_buf b = { 0 };
    ck_assert_msg(!qp_file_read("/proc/self/status", &b, &err), "%s", err.msg);
    ck_assert(strstr(b.data, "VmRSS") != NULL);
    qp_buf_release(&b);
}
END_TEST

/* From a MiB on they go past the page cache, in whole blocks, and the end does not. */
static const size_t totals[] = {
    0, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 4096, (5 << 20) + 777
};
enum { TOTALS = sizeof totals / sizeof *totals };

START_TEST(pieces_of_any_size_arrive_in_order)
{
    const size_t total = totals[_i];
    char *path = in_dir("f");
    uint8_t *data = qp_xmalloc(total);
    for (size_t i = 0; i < total; i++) data[i] = (uint8_t)(i * 31 + i / 977);
    qp_out o;
    ck_assert_msg(!qp_out_open(&o, path, &err), "%s", err.msg);
    for (size_t at = 0, n = 1; at < total; at += n, n = n * 3 + 1) {
        if (n > total - at) n = total - at;
        ck_assert(!qp_out_add(&o, data + at, n, &err));
    }
    ck_assert(!qp_path_exists(path)); /* not before the end */
    ck_assert_msg(!qp_out_finish(&o, &err), "%s", err.msg);
    qp_map m;
    ck_assert_msg(!qp_map_open(&m, path, &err), "%s", err.msg);
    ck_assert_uint_eq(m.len, total);
    if (total) ck_assert_mem_eq(m.data, data, total);
    qp_map_release(&m);
    qp_out_abandon(&o); /* harmless */
    free(data);
    free(path);
}
END_TEST

START_TEST(an_abandoned_file_leaves_the_old_one)
{
    char *path = in_dir("f");
    ck_assert(!qp_file_write(path, "old", 3, &err));
    qp_out o;
    ck_assert(!qp_out_open(&o, path, &err));
    ck_assert(!qp_out_add(&o, "new", 3, &err));
    qp_out_abandon(&o);
    check_content(path, "old");
    ck_assert_int_eq(entries(), 1);
    free(path);
}
END_TEST

START_TEST(two_writers_of_one_path_do_not_mix)
{
    char *path = in_dir("f");
    qp_out a, b;
    ck_assert(!qp_out_open(&a, path, &err) && !qp_out_open(&b, path, &err));
    ck_assert(!qp_out_add(&a, "aaaa", 4, &err) && !qp_out_add(&b, "bb", 2, &err));
    ck_assert(!qp_out_finish(&a, &err));
    check_content(path, "aaaa");
    ck_assert(!qp_out_finish(&b, &err));
    check_content(path, "bb");
    ck_assert_int_eq(entries(), 1);
    free(path);
}
END_TEST

/* A file size limit stands in for a full disk: the kernel refuses the write in the same way. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit r = { bytes, bytes };
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &r), 0);
}

START_TEST(a_full_disk_leaves_the_old_file_and_no_temporary)
{
    enum { SIZE = 3 << 20 };
    static const rlim_t limit[] = { 0, 1000, SIZE / 2, SIZE - 1 };
    char *path = in_dir("f"), *data = qp_xcalloc(SIZE, 1);
    ck_assert(!qp_file_write(path, "old", 3, &err));
    limit_file_size(limit[_i]);
    ck_assert_int_eq(qp_file_write(path, data, SIZE, &err), QP_IO);
    ck_assert(strstr(err.msg, path) && strstr(err.msg, strerror(EFBIG)));
    qp_out o;
    qp_status rc = qp_out_open(&o, path, &err);
    for (int i = 0; i < SIZE / 1000 + 1 && !rc; i++) rc = qp_out_add(&o, data, 1000, &err);
    if (!rc) rc = qp_out_finish(&o, &err);
    ck_assert_int_eq(rc, QP_IO);
    check_content(path, "old");
    ck_assert_int_eq(entries(), 1);
    free(data);
    free(path);
}
END_TEST

START_TEST(a_failed_rename_leaves_no_temporary)
{
    char *path = in_dir("f");
    qp_out o;
    ck_assert(!qp_out_open(&o, path, &err) && !qp_out_add(&o, "x", 1, &err));
    ck_assert_int_eq(mkdir(path, 0777), 0); /* now in the way */
    ck_assert_int_eq(qp_out_finish(&o, &err), QP_IO);
    ck_assert(strstr(err.msg, "cannot rename"));
    ck_assert_int_eq(entries(), 1);
    free(path);
}
END_TEST

/* The descriptor is swapped for one that fails: fsync of a pipe is refused. */
START_TEST(a_failed_sync_is_reported_and_the_old_file_stays)
{
    char *path = in_dir("f");
    ck_assert(!qp_file_write(path, "old", 3, &err));
    qp_out o;
    int pipe_fd[2];
    ck_assert(!qp_out_open(&o, path, &err) && !qp_out_add(&o, "x", 1, &err));
    ck_assert(!pipe(pipe_fd) && dup2(pipe_fd[1], o.fd) == o.fd);
    ck_assert_int_eq(qp_out_finish(&o, &err), QP_IO);
    ck_assert(strstr(err.msg, "cannot sync"));
    check_content(path, "old");
    ck_assert_int_eq(entries(), 1);
    free(path);
}
END_TEST

START_TEST(folders_are_made_and_removed_with_what_is_in_them)
{
    char *deep = in_dir("a/b//c/"), *file = in_dir("a/b/c/f"), *top = in_dir("a"),
         *link = in_dir("a/l");
    ck_assert_msg(!qp_mkdirs(deep, &err), "%s", err.msg);
    ck_assert_msg(!qp_mkdirs(deep, &err), "%s", err.msg); /* again: fine */
    ck_assert(qp_path_is_dir(deep));
    ck_assert(!qp_file_write(file, "x", 1, &err));
    ck_assert(!qp_path_is_dir(file) && qp_path_exists(file));
    ck_assert_int_eq(qp_mkdirs(file, &err), QP_USAGE);
    char *below = qp_path_join(file, "d");
    ck_assert_int_eq(qp_mkdirs(below, &err), QP_USAGE);
    ck_assert_int_eq(symlink("/proc", link), 0);
    ck_assert_msg(!qp_remove_tree(top, &err), "%s", err.msg);
    ck_assert(!qp_path_exists(top) && qp_path_exists("/proc/self"));
    ck_assert(!qp_remove_tree(top, &err));
    free(below);
    free(deep);
    free(file);
    free(top);
    free(link);
}
END_TEST

START_TEST(paths_join_and_part)
{
    static const char *const want[][3] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "", "b", "b" },
        { "a", "/b", "/b" }, { "/", "b", "/b" },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char *got = qp_path_join(want[i][0], want[i][1]);
        ck_assert_str_eq(got, want[i][2]);
        free(got);
    }
    static const char *const parents[][2] = { { "a", "." }, { "a/b/c", "a/b" }, { "/a", "/" } };
    for (size_t i = 0; i < sizeof parents / sizeof *parents; i++) {
        char *got = qp_path_parent(parents[i][0]);
        ck_assert_str_eq(got, parents[i][1]);
        free(got);
    }
}
END_TEST

#ifdef QP_ASAN
START_TEST(asan_sees_a_read_past_the_end_of_a_map)
{
    qp_map m;
    ck_assert(!qp_map_open(&m, "/proc/self/exe", &err) && m.len % 4096);
    volatile uint8_t last = m.data[m.len - 1], past = m.data[m.len];
    (void)last, (void)past;
}
END_TEST
static void add_asan_tests(TCase *t)
{
    tcase_add_exit_test(t, asan_sees_a_read_past_the_end_of_a_map, 1);
}
#else
static void add_asan_tests(TCase *t) { (void)t; }
#endif

Suite *suite_zio(void)
{
    Suite *s = suite_create("zio");
    TCase *t = tcase_create("zio");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, what_was_written_is_read_and_mapped);
    tcase_add_test(t, an_empty_file_is_read_and_mapped);
    tcase_add_test(t, missing_files_and_folders_are_usage_errors);
    tcase_add_test(t, a_pipe_without_a_writer_is_refused_at_once);
    tcase_add_test(t, reading_takes_no_more_memory_than_the_file);
    tcase_add_test(t, files_of_unknown_size_are_read_to_the_end);
    tcase_add_loop_test(t, pieces_of_any_size_arrive_in_order, 0, TOTALS);
    tcase_add_test(t, an_abandoned_file_leaves_the_old_one);
    tcase_add_test(t, two_writers_of_one_path_do_not_mix);
    tcase_add_loop_test(t, a_full_disk_leaves_the_old_file_and_no_temporary, 0, 4);
    tcase_add_test(t, a_failed_rename_leaves_no_temporary);
    tcase_add_test(t, a_failed_sync_is_reported_and_the_old_file_stays);
    tcase_add_test(t, folders_are_made_and_removed_with_what_is_in_them);
    tcase_add_test(t, paths_join_and_part);
    TCase *stops = tcase_create("stops"); /* no fixture: an exit would leave its folder behind */
    add_asan_tests(stops);
    suite_add_tcase(s, t);
    suite_add_tcase(s, stops);
    return s;
}
