#include "bench/models.h"
#include "base/rng.h"
#include "model/arch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The Llamas of 1, 3 and 8 billion are 3.2 and 3.1; 124m has the sizes of GPT-2 with SwiGLU: three
   matrices of 2048 rows in place of two of 3072, so as many weights and operations. */
static const struct {
    const char *name;
    int vocab, hidden, inner, layers, heads, kv_heads, head;
    bool tied, llama3;
} shapes[] = {
    { "15m", 32000, 288, 768, 6, 6, 6, 48, true, false },
    { "124m", 50257, 768, 2048, 12, 12, 12, 64, true, false },
    { "135m", 49152, 576, 1536, 30, 9, 3, 64, true, false },
    { "1b", 128256, 2048, 8192, 16, 32, 8, 64, true, true },
    { "3b", 128256, 3072, 8192, 28, 24, 8, 128, true, true },
    { "8b", 128256, 4096, 14336, 32, 32, 8, 128, false, true },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };
#define SMOLLM2 "models/SmolLM2-135M-Instruct.Q4_1.gguf"

void bench_check(qp_status rc, const qp_err *err)
{
    if (!rc) return;
    fprintf(stderr, "bench: %s\n", err->msg);
    exit(rc);
}

const char *bench_shared(void)
{
    const char *shared = getenv("QP_SHARED");
    return shared ? shared : "../shared";
}

double bench_free_memory(void)
{
    char line[200];
    double kb = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lf", &kb) == 1) break;
    if (f) fclose(f);
    return kb * 1024;
}

static void config(qp_config *cfg, const char *name)
{
    char json[1000];
    qp_err err = { 0 };
    int i = 0;
    while (i < SHAPES && strcmp(shapes[i].name, name)) i++;
    if (i == SHAPES) bench_check(qp_fail(&err, QP_USAGE, "%s: no such shape", name), &err);
    const int n = snprintf(
        json, sizeof json,
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":%d,"
        "\"hidden_size\":%d,\"intermediate_size\":%d,\"num_hidden_layers\":%d,"
        "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"head_dim\":%d,"
        "\"max_position_embeddings\":%d,\"rms_norm_eps\":1e-5,\"rope_theta\":%s,%s"
        "\"tie_word_embeddings\":%s}",
        shapes[i].vocab, shapes[i].hidden, shapes[i].inner, shapes[i].layers, shapes[i].heads,
        shapes[i].kv_heads, shapes[i].head, shapes[i].llama3 ? 131072 : 8192,
        shapes[i].llama3 ? "500000.0" : "10000.0",
        shapes[i].llama3 ? "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32.0,"
                           "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                           "\"original_max_position_embeddings\":8192},"
                         : "",
        shapes[i].tied ? "true" : "false");
    bench_check(qp_config_parse(cfg, json, (size_t)n, &err), &err);
}

double bench_model_bytes(const char *name, qp_storage stored)
{
    double n = 0;
    for (int i = 0; i < SHAPES; i++) {
        const double h = shapes[i].hidden, e = shapes[i].head;
        const double layer =
            2 * h * e * (shapes[i].heads + shapes[i].kv_heads) + 3 * h * shapes[i].inner;
        if (!strcmp(shapes[i].name, name))
            n = layer * shapes[i].layers + (shapes[i].tied ? 1 : 2) * h * shapes[i].vocab;
    }
    return n / qp_storages[stored].block * qp_storages[stored].bytes;
}

/* A MiB or two of a type's values: normal with deviation 0.02, or about so in blocks of random
   bytes under a scale. */
enum { POOL = 1 << 20 };
static char *random_pool(qp_storage stored)
{
    char *pool = qp_xmalloc(qp_storage_bytes(stored, POOL));
    const size_t block = (size_t)qp_storages[stored].bytes;
    const uint16_t scale = stored == QP_Q8_0 ? 0x0a00 : 0x2000; /* f16: 0.0002, 0.008 */
    if (stored == QP_BF16) {
        float *normal = qp_xmalloc(POOL * sizeof *normal);
        for (int64_t i = 0; i < POOL; i++)
            normal[i] = (float)(0.02 * qp_rng_normal(1, 0, (uint64_t)i));
        qp_cpu_backend()->k[QP_BF16]->cast_in(pool, 0, normal, QP_F32, POOL);
        free(normal);
        return pool;
    }
    for (size_t i = 0; i < qp_storage_bytes(stored, POOL); i++)
        pool[i] = (char)qp_rng_below(1, 0, (uint64_t)i, 256);
    for (size_t i = 0; i < qp_storage_bytes(stored, POOL); i += block)
        memcpy(pool + i, &scale, sizeof scale);
    return pool;
}

/* Matrices are copied from the pool over and over, each at its own offset: a draw for each of a
   billion values would take longer than what is measured. The model reads them as it reads a
   file's, and frozen ones stay here, as they would in a map. */
static void *random_matrices(qp_model *m, qp_storage stored)
{
    char *pool = random_pool(stored);
    const size_t whole = qp_storage_bytes(stored, POOL), step = qp_storage_bytes(stored, 32);
    size_t total = 0, at = 0;
    for (int64_t i = 0; i < m->count; i++)
        if (m->weight[i]->t->ndim == 2)
            total += (qp_storage_bytes(stored, qp_numel(m->weight[i]->t)) + 63) / 64 * 64;
    char *all = qp_xaligned(64, total);
    qp_file_tensor *file = qp_xcalloc((size_t)m->count, sizeof *file);
    for (int64_t i = 0; i < m->count; i++) {
        qp_weight *w = m->weight[i];
        if (w->t->ndim != 2 || w->adapter) continue;
        const int64_t n = qp_numel(w->t);
        const size_t bytes = qp_storage_bytes(stored, n);
        size_t from = (size_t)(i * 7919) * step % whole;
        for (size_t done = 0, part; done < bytes; done += part, from = 0) {
            part = bytes - done < whole - from ? bytes - done : whole - from;
            memcpy(all + at + done, pool + from, part);
        }
        file[i] = (qp_file_tensor){ .storage = stored,
                                    .ndim = 2,
                                    .shape = { w->t->shape[0], w->t->shape[1] },
                                    .numel = n,
                                    .data = all + at,
                                    .bytes = bytes };
        w->file = &file[i];
        at += (bytes + 63) / 64 * 64;
    }
    free(pool);
    return all; /* the small table of tensors is left to the process's end */
}

qp_model *bench_model(const bench_model_options *o)
{
    static const char *const all[] = { "q_proj",    "k_proj",  "v_proj",   "o_proj",
                                       "gate_proj", "up_proj", "down_proj" };
    const qp_lora_options adapter = { .r = 16, .alpha = 32, .targets = all, .n_targets = 7 };
    const bool real = !strcmp(o->name, "smollm2");
    const bool filed = o->compute == QP_BF16 && o->stored != QP_BF16 && !o->widened;
    qp_model_options mo = { .compute = o->compute,
                            .load_in = filed ? QP_AS_FILED : o->compute,
                            .train_base = o->train_base,
                            .seed = 1 };
    qp_err err = { 0 };
    qp_model *m;
    void *weights = NULL;
    if (real) {
        char path[1000];
        snprintf(path, sizeof path, "%s/" SMOLLM2, bench_shared());
        bench_check(qp_model_open(&m, path, &mo, &err), &err);
    } else {
        qp_config cfg;
        config(&cfg, o->name);
        bench_check(qp_model_create(&m, &cfg, &mo, &err), &err);
    }
    if (o->lora) bench_check(qp_model_add_lora(m, &adapter, &err), &err);
    if (!real) weights = random_matrices(m, o->stored);
    bench_check(qp_model_seal(m, &err), &err);
    if (o->train_base || (!filed && o->compute != o->stored)) free(weights); /* all was copied */
    return m;
}

void bench_batch(qp_batch *b, int64_t documents, int64_t rows, int64_t vocab)
{
    int32_t *ids = qp_xmalloc(((size_t)rows + 1) * sizeof *ids);
    for (int64_t d = 0; d < documents; d++) {
        for (int64_t i = 0; i <= rows; i++)
            ids[i] = (int32_t)qp_rng_below(1, (uint64_t)d, (uint64_t)i, (uint64_t)vocab);
        qp_batch_add(b, ids, ids + 1, rows);
    }
    free(ids);
}
