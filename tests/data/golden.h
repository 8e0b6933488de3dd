/* Rows of golden .jsonl files, and small tokenizer.json texts for tests that need no shared data.
 */
#ifndef QP_TESTS_DATA_GOLDEN_H
#define QP_TESTS_DATA_GOLDEN_H
#include "base/json.h"
#include "data/tokenizer.h"

/* The path under the shared folder (static buffer), or NULL, said loudly, when it is absent there.
 */
const char *golden_path(const char *name);
/* Calls fn for each line; returns how many there were. */
int64_t golden_rows(const char *path, void (*fn)(void *arg, const qp_value *row, int64_t line),
                    void *arg);
bool golden_same_ids(const qp_ids *ids, const qp_value *want);

/* A folder for the test: a checked fixture makes and removes it. */
void scratch_open(void);
void scratch_close(void);
const char *scratch_path(const char *name); /* static buffer */
/* Writes the text to that file in the folder; returns its path. */
const char *scratch_file(const char *name, const char *text, size_t len);
/* A byte-level tokenizer: all 256 bytes (id = place in the printable alphabet), then `merges` ("a
   b" strings, comma between, each in quotes), with what further members of the file's object and of
   its model are given. */
const char *scratch_tokenizer(const char *merges, const char *pre, const char *added,
                              const char *model);
qp_tokenizer *open_or_die(const char *path);
#endif
