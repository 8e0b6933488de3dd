#include "base/log.h"
#include "base/zio.h"
#include "tests/suites.h"
#include "train/checkpoint.h"
#include "train/manifest.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char run[64];
static qp_err err;

static void set_up(void)
{
    qp_log_max = QP_LOG_QUIET;
    strcpy(run, "/tmp/qp_ckpt_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(run));
    err = (qp_err){ 0 };
}
static void tear_down(void) { ck_assert_msg(!qp_remove_tree(run, &err), "%s", err.msg); }

static void good(qp_status rc) { ck_assert_msg(rc == QP_OK, "%s", err.msg); }

static bool there(const char *name)
{
    char *path = qp_path_join(run, name);
    bool is = qp_path_exists(path);
    free(path);
    return is;
}

static void write_in(const char *dir, const char *name, const char *text)
{
    char *path = qp_path_join(dir, name);
    good(qp_file_write(path, text, strlen(text), &err));
    free(path);
}

static void write_checkpoint(int64_t step, const char *text)
{
    char name[QP_CHECKPOINT_NAME], *tmp;
    qp_checkpoint_name(name, step);
    good(qp_folder_begin(run, name, &tmp, &err));
    write_in(tmp, "weights", text);
    write_in(tmp, "state", "state");
    good(qp_folder_commit(run, name, tmp, NULL, &err));
}

static void corrupt(const char *name, const char *file, long at)
{
    char *dir = qp_path_join(run, name), *path = qp_path_join(dir, file);
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
    free(dir);
    free(path);
}

static void newest_is(const char *name)
{
    char *path, *want = name ? qp_path_join(run, name) : NULL;
    good(qp_checkpoint_newest(run, &path, &err));
    if (want)
        ck_assert_str_eq(path, want);
    else
        ck_assert_ptr_null(path);
    free(path);
    free(want);
}

START_TEST(a_committed_folder_is_whole_and_nothing_else_is_left)
{
    write_checkpoint(7, "abc");
    ck_assert(there("checkpoint-000007/MANIFEST.json") && there("checkpoint-000007/weights"));
    ck_assert(!there("checkpoint-000007.tmp"));
    newest_is("checkpoint-000007");
}
END_TEST

START_TEST(every_flipped_byte_of_a_checkpoint_is_found)
{
    write_checkpoint(1, "abcdefgh");
    char *path = qp_path_join(run, "checkpoint-000001");
    for (long i = 0; i < 8; i++) {
        corrupt("checkpoint-000001", "weights", i);
        ck_assert_int_eq(qp_manifest_verify(path, &err), QP_BADFILE);
        ck_assert_ptr_nonnull(strstr(err.msg, "weights"));
        corrupt("checkpoint-000001", "weights", i);
    }
    good(qp_manifest_verify(path, &err));
    free(path);
}
END_TEST

START_TEST(a_shorter_or_missing_file_is_found)
{
    write_checkpoint(1, "abcdefgh");
    char *dir = qp_path_join(run, "checkpoint-000001"), *file = qp_path_join(dir, "weights");
    ck_assert_int_eq(truncate(file, 5), 0);
    ck_assert_int_eq(qp_manifest_verify(dir, &err), QP_BADFILE);
    ck_assert_ptr_nonnull(strstr(err.msg, "5 bytes"));
    unlink(file);
    ck_assert_int_eq(qp_manifest_verify(dir, &err), QP_BADFILE);
    free(dir);
    free(file);
}
END_TEST

START_TEST(a_broken_newest_is_put_aside_for_the_one_before)
{
    write_checkpoint(50, "old");
    write_checkpoint(100, "new");
    corrupt("checkpoint-000100", "state", 2);
    newest_is("checkpoint-000050");
    ck_assert(there("checkpoint-000100.broken") && !there("checkpoint-000100"));
    newest_is("checkpoint-000050");
}
END_TEST

/* As with EIO or too many open files, which pass; a link to itself cannot be read by root either.
 */
static void make_unreadable(const char *name, const char *file)
{
    char *dir = qp_path_join(run, name), *path = qp_path_join(dir, file);
    ck_assert(!unlink(path) && !symlink(file, path));
    free(dir);
    free(path);
}

START_TEST(a_newest_that_cannot_be_read_is_an_error_and_stays)
{
    static const char *const file[] = { "weights", QP_MANIFEST };
    write_checkpoint(1, "one");
    write_checkpoint(2, "two");
    char *path;
    make_unreadable("checkpoint-000002", file[_i]);
    ck_assert_int_eq(qp_checkpoint_newest(run, &path, &err), QP_IO);
    ck_assert_ptr_null(path);
    ck_assert_msg(strstr(err.msg, file[_i]) && strstr(err.msg, "cannot be told"), "%s", err.msg);
    ck_assert(there("checkpoint-000002") && !there("checkpoint-000002.broken"));
}
END_TEST

START_TEST(a_folder_without_a_manifest_is_no_checkpoint)
{
    write_checkpoint(50, "old");
    char *dir = qp_path_join(run, "checkpoint-000060");
    good(qp_mkdirs(dir, &err));
    write_in(dir, "weights", "half");
    newest_is("checkpoint-000050");
    free(dir);
}
END_TEST

START_TEST(steps_are_compared_as_numbers)
{
    write_checkpoint(999999, "a");
    write_checkpoint(1000000, "b");
    newest_is("checkpoint-1000000");
}
END_TEST

START_TEST(an_empty_run_has_no_newest) { newest_is(NULL); }
END_TEST

START_TEST(pruning_keeps_the_newest_and_the_best)
{
    for (int step = 10; step <= 50; step += 10) {
        write_checkpoint(step, "x");
        if (step == 20) good(qp_link(run, "best", "checkpoint-000020", &err));
    }
    good(qp_checkpoint_prune(run, 3, &err));
    ck_assert(there("checkpoint-000050") && there("checkpoint-000040") &&
              there("checkpoint-000020"));
    ck_assert(!there("checkpoint-000030") && !there("checkpoint-000010"));
    good(qp_checkpoint_prune(run, 1, &err));
    ck_assert(there("checkpoint-000050") && there("checkpoint-000020") &&
              !there("checkpoint-000040"));
}
END_TEST

START_TEST(a_link_is_replaced_in_one_go)
{
    write_checkpoint(1, "x");
    write_checkpoint(2, "x");
    good(qp_link(run, "latest", "checkpoint-000001", &err));
    good(qp_link(run, "latest", "checkpoint-000002", &err));
    char *path = qp_path_join(run, "latest"), target[64] = "";
    ck_assert_int_gt(readlink(path, target, sizeof target - 1), 0);
    ck_assert_str_eq(target, "checkpoint-000002");
    ck_assert(!there("latest.tmp"));
    free(path);
}
END_TEST

START_TEST(a_folder_of_the_same_name_is_replaced)
{
    write_checkpoint(1, "first");
    write_checkpoint(1, "second, longer");
    newest_is("checkpoint-000001");
    char *dir = qp_path_join(run, "checkpoint-000001"), *path = qp_path_join(dir, "weights");
    qp_buf b = { 0 };
    good(qp_file_read(path, &b, &err));
    ck_assert_str_eq(b.data, "second, longer");
    qp_buf_release(&b);
    free(dir);
    free(path);
}
END_TEST

START_TEST(sweeping_removes_what_a_killed_save_left)
{
    char *tmp;
    write_checkpoint(1, "x");
    good(qp_folder_begin(run, "checkpoint-000002", &tmp, &err));
    write_in(tmp, "weights", "half");
    write_in(run, "config.yaml.77.0.tmp", "half");
    write_in(run, "my-notes.tmp", "not of this program");
    good(qp_sweep(run, &err));
    ck_assert(!there("checkpoint-000002.tmp") && !there("config.yaml.77.0.tmp") &&
              there("my-notes.tmp") && there("checkpoint-000001"));
    free(tmp);
}
END_TEST

START_TEST(a_folder_whose_replacement_never_came_is_restored)
{
    write_checkpoint(1, "x");
    char *path = qp_path_join(run, "checkpoint-000001"), *old = qp_xformat("%s.old.tmp", path);
    ck_assert_int_eq(rename(path, old), 0);
    good(qp_sweep(run, &err));
    newest_is("checkpoint-000001");
    ck_assert(!there("checkpoint-000001.old.tmp"));
    free(path);
    free(old);
}
END_TEST

START_TEST(a_second_process_is_refused_until_the_first_ends)
{
    int locked[2], fd = -1;
    char c, words[32];
    ck_assert_int_eq(pipe(locked), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (qp_lock(run, &fd, &err) || write(locked[1], "x", 1) != 1) _exit(1);
        for (;;) pause();
    }
    close(locked[1]);
    ck_assert_int_eq(read(locked[0], &c, 1), 1);
    ck_assert_int_eq(qp_lock(run, &fd, &err), QP_FAIL);
    snprintf(words, sizeof words, "process %ld on ", (long)pid);
    ck_assert_msg(strstr(err.msg, words) != NULL, "%s", err.msg);
    kill(pid, SIGKILL); /* the lock goes with its process, also when that ends like this */
    waitpid(pid, NULL, 0);
    good(qp_lock(run, &fd, &err));
    close(fd);
}
END_TEST

START_TEST(a_folder_with_nothing_but_its_lock_is_removed)
{
    int fd = -1;
    good(qp_lock(run, &fd, &err));
    write_in(run, "config.yaml", "x: 1");
    qp_remove_unused(run);
    ck_assert(there("config.yaml") && there(".lock"));
    char *path = qp_path_join(run, "config.yaml");
    ck_assert_int_eq(unlink(path), 0);
    qp_remove_unused(run);
    ck_assert(!qp_path_exists(run));
    close(fd);
    free(path);
}
END_TEST

Suite *suite_checkpoint(void)
{
    Suite *s = suite_create("checkpoint");
    TCase *t = tcase_create("folders");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_committed_folder_is_whole_and_nothing_else_is_left);
    tcase_add_test(t, every_flipped_byte_of_a_checkpoint_is_found);
    tcase_add_test(t, a_shorter_or_missing_file_is_found);
    tcase_add_test(t, a_broken_newest_is_put_aside_for_the_one_before);
    tcase_add_loop_test(t, a_newest_that_cannot_be_read_is_an_error_and_stays, 0, 2);
    tcase_add_test(t, a_folder_without_a_manifest_is_no_checkpoint);
    tcase_add_test(t, steps_are_compared_as_numbers);
    tcase_add_test(t, an_empty_run_has_no_newest);
    tcase_add_test(t, pruning_keeps_the_newest_and_the_best);
    tcase_add_test(t, a_link_is_replaced_in_one_go);
    tcase_add_test(t, a_folder_of_the_same_name_is_replaced);
    tcase_add_test(t, sweeping_removes_what_a_killed_save_left);
    tcase_add_test(t, a_folder_whose_replacement_never_came_is_restored);
    tcase_add_test(t, a_second_process_is_refused_until_the_first_ends);
    tcase_add_test(t, a_folder_with_nothing_but_its_lock_is_removed);
    suite_add_tcase(s, t);
    return s;
}
