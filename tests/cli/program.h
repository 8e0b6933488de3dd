/* The built program as a user calls it: in a folder of the test's own, its output, its exit code.
 */
#ifndef QP_TESTS_CLI_PROGRAM_H
#define QP_TESTS_CLI_PROGRAM_H
#include "base/json.h"
#include "base/zio.h"
#include "tests/suites.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], *program;
static qp_err err;
static qp_buf out, said; /* standard output and error of the last command */

static inline void read_back(const char *name, qp_buf *b)
{
    char *path = qp_path_join(dir, name);
    qp_buf_clear(b);
    qp_buf_str(b, "");
    ck_assert_msg(!qp_file_read(path, b, &err), "%s", err.msg);
    free(path);
}

/* Runs `quipu WORDS` in the test's folder; the words go through the shell. */
static inline int run(const char *fmt, ...)
{
    char words[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    char *line = qp_xformat("cd %s && %s %s > out.txt 2> err.txt", dir, program, words);
    int status = system(line);
    free(line);
    read_back("out.txt", &out);
    read_back("err.txt", &said);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

static inline void shell(const char *words)
{
    char *line = qp_xformat("cd %s && %s", dir, words);
    ck_assert_int_eq(system(line), 0);
    free(line);
}

static inline void expect(int code, int wanted)
{
    ck_assert_msg(code == wanted, "exit %d, wanted %d: %s", code, wanted, said.data);
}

static inline void expect_error(int code, int wanted, const char *part)
{
    expect(code, wanted);
    ck_assert_msg(strstr(said.data, part) != NULL, "no \"%s\" in: %s", part, said.data);
    ck_assert_int_eq(strcspn(said.data, "\n"), strlen(said.data) - 1); /* one line */
}

static inline void write_file(const char *name, const char *text)
{
    char *path = qp_path_join(dir, name);
    ck_assert_msg(!qp_file_write(path, text, strlen(text), &err), "%s", err.msg);
    free(path);
}

static inline char *folder(const char *name)
{
    char *path = qp_path_join(dir, name);
    ck_assert_msg(!qp_mkdirs(path, &err), "%s", err.msg);
    return path;
}

/* A folder of its own for the test, and the program's place. */
static inline void program_set_up(void)
{
    const char *build = getenv("QP_BUILD");
    char *relative = qp_xformat("%s/quipu", build ? build : "build");
    program = realpath(relative, NULL);
    ck_assert_msg(program != NULL, "%s: build it first", relative);
    free(relative);
    strcpy(dir, "/tmp/qp-commands-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline void program_tear_down(void)
{
    ck_assert_msg(!qp_remove_tree(dir, &err), "%s", err.msg);
    free(program);
    qp_buf_release(&out);
    qp_buf_release(&said);
}

static inline double json_number(const char *key)
{
    qp_value *v;
    ck_assert_msg(!qp_json_parse(&v, out.data, out.len, &err), "%s: %s", err.msg, out.data);
    const qp_value *x = qp_json_get(v, key);
    ck_assert_msg(x && x->kind == QP_JSON_NUMBER, "no number \"%s\" in %s", key, out.data);
    double number = x->number;
    qp_json_free(v);
    return number;
}
#endif
