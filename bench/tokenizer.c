/* Text to ids with SmolLM2's vocabulary: MB/s, on one thread as data is read. */
#include "bench/bench.h"
#include "base/thread.h"
#include "base/zio.h"
#include "bench/models.h"
#include "data/tokenizer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BYTES_S, IDS };
static void run(const void *arg, double *value)
{
    char path[1000];
    qp_err err = { 0 };
    qp_tokenizer *t;
    qp_buf text = { 0 };
    (void)arg;
    snprintf(path, sizeof path, "%s/models/SmolLM2-135M-Instruct.Q4_1.gguf", bench_shared());
    bench_check(qp_tokenizer_open(&t, path, &err), &err);
    snprintf(path, sizeof path, "%s/data/tinyshakespeare.txt", bench_shared());
    bench_check(qp_file_read(path, &text, &err), &err);
    for (int i = 0; i < 5; i++) {
        qp_ids ids = { 0 };
        const double start = qp_now();
        bench_check(qp_tokenizer_encode(t, text.data, text.len, 0, &ids, &err), &err);
        value[BYTES_S] = fmax(value[BYTES_S], (double)text.len / (qp_now() - start));
        value[IDS] = (double)ids.n;
        qp_ids_release(&ids);
    }
    qp_buf_release(&text);
    qp_tokenizer_free(t);
}

int bench_tokenizer_row(const char *name)
{
    bench_result r;
    if (strcmp(name, "tokenizer")) return BENCH_OTHER;
    if (!bench_child(run, NULL, &r)) return 1;
    bench_print("text_bytes_per_s", r.value[BYTES_S]);
    bench_print("ids", r.value[IDS]);
    return 0;
}

int bench_tokenizer(void)
{
    bench_result r;
    if (!bench_child(run, NULL, &r)) return 1;
    printf("%.1f MB/s, %.0f ids\n", r.value[BYTES_S] / 1e6, r.value[IDS]);
    return 0;
}
