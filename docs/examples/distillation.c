/* Distillation: a Llama teaches a smaller one.      Hinton, Vinyals & Dean 2015, arXiv:1503.02531

       loss = (1 - mix) H(text, student) + mix T^2 KL(teacher_T || student_T)

   where a subscript T means softmax(logits / T). The teacher is trained here first, on
   Shakespeare's characters; qp_model_open would read one from a folder or a GGUF.

   Shows: models through model/model.h, a loss of one's own on their logits, forward without a tape.

   Prints:
       teacher 233952 weights, loss 2.063 nats a character; student 33936 weights
                 KL from the teacher   same likeliest   loss
       before    2.855                  2.4 %           4.923
       after     0.121                 80.3 %           2.170
       the student follows
*/
#include <quipu.h>
#include <stdio.h>

enum { VOCAB = 128, WINDOW = 96, WINDOWS = 6, TEACHER_STEPS = 250, STUDENT_STEPS = 400 };
static const double temperature = 2, mix = 0.8, peak_lr = 4e-3;

static qp_model *new_llama(int64_t hidden, int64_t layers, uint64_t seed)
{
    const qp_config shape = { .architecture = "LlamaForCausalLM",
                              .vocab_size = VOCAB,
                              .hidden_size = hidden,
                              .intermediate_size = 3 * hidden,
                              .layers = layers,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = hidden / 4,
                              .max_positions = WINDOW,
                              .rope_theta = 10000,
                              .norm_eps = 1e-5,
                              .initializer_range = 0.05,
                              .tied = true,
                              .bos_id = -1 };
    const qp_model_options options = {
        .compute = QP_F32, .load_in = QP_F32, .train_base = true, .seed = seed
    };
    qp_err err = { 0 };
    qp_model *m;
    qp_must(qp_model_create(&m, &shape, &options, &err), &err);
    qp_must(qp_model_seal(m, &err), &err);
    return m;
}

/* Windows that begin anywhere in lo .. hi-1 of the text; each row's target is the next character.
 */
static void draw(qp_batch *b, const qp_buf *text, double lo, double hi, uint64_t stream)
{
    qp_batch_clear(b);
    for (uint64_t w = 0; w < WINDOWS; w++) {
        const double at = qp_rng_uniform(3, stream, w);
        const size_t from = (size_t)((lo + (hi - lo) * at) * (double)(text->len - WINDOW - 1));
        int32_t ids[WINDOW];
        for (int i = 0; i < WINDOW; i++) ids[i] = text->data[from + (size_t)i] & 127;
        qp_batch_add(b, ids, NULL, WINDOW);
    }
}

static qp_tensor *logits(qp_ctx *c, qp_model *m, const qp_batch *b)
{
    return qp_model_logits(c, m, qp_model_hidden(c, m, b, NULL));
}

/* The same without a tape: a teacher is only asked. */
static qp_tensor *fixed_logits(qp_ctx *c, qp_model *m, const qp_batch *b)
{
    const bool was = c->recording;
    c->recording = false;
    qp_tensor *z = logits(c, m, b);
    c->recording = was;
    return z;
}

/* T^2 KL(p || q) of softened logits, the mean over rows. */
static qp_tensor *divergence(qp_ctx *c, qp_tensor *teacher, qp_tensor *student, double t)
{
    qp_tensor *p = qp_log_softmax(c, qp_affine(c, teacher, 1 / t, 0), -1);
    qp_tensor *q = qp_log_softmax(c, qp_affine(c, student, 1 / t, 0), -1);
    qp_tensor *rows = qp_sum(c, qp_mul(c, qp_exp(c, p), qp_sub(c, p, q)), QP_AXES(-1), false);
    return qp_affine(c, qp_mean(c, rows, QP_ALL, false), t * t, 0);
}

static qp_tensor *distillation_loss(qp_ctx *c, qp_model *student, qp_model *teacher,
                                    const qp_batch *b)
{
    qp_tensor *z = logits(c, student, b);
    qp_tensor *soft = divergence(c, fixed_logits(c, teacher, b), z, temperature);
    qp_tensor *hard = qp_cross_entropy(c, z, b->targets, 0, QP_MEAN);
    return qp_add(c, qp_affine(c, soft, mix, 0), qp_affine(c, hard, 1 - mix, 0));
}

/* The library's own loss is a sum over the targets, and never holds all the logits. */
static qp_tensor *text_loss(qp_ctx *c, qp_model *m, const qp_batch *b)
{
    return qp_affine(c, qp_model_loss(c, m, b, NULL), 1 / (double)b->targets_n, 0);
}

/* teacher NULL: from the text alone. */
static void train(qp_ctx *c, qp_model *m, qp_model *teacher, const qp_buf *text, int64_t steps)
{
    qp_err err = { 0 };
    qp_optim adamw;
    qp_batch b = { 0 };
    const qp_optim_settings settings = { 0.9, 0.99, 1e-8, .weight_decay = 0.1 };
    const qp_schedule cosine = { QP_SCHEDULE_COSINE, .warmup = 20, .total = steps,
                                 .min_ratio = 0.1 };
    qp_must(qp_optim_init(&adamw, "adamw", &settings, qp_model_params(m), &err), &err);
    for (int64_t step = 1; step <= steps; step++) {
        qp_scope scope;
        qp_scope_open(&c->arena, &scope);
        draw(&b, text, 0, 0.9, (uint64_t)step);
        qp_tensor *loss = teacher ? distillation_loss(c, m, teacher, &b) : text_loss(c, m, &b);
        qp_optim_minimize(&adamw, c, loss, peak_lr * qp_schedule_factor(&cosine, step), 1, step);
        qp_scope_close(&c->arena, &scope);
    }
    qp_batch_release(&b);
    qp_optim_release(&adamw);
}

typedef struct {
    double kl, agreement, loss; /* nats; share of rows with the same likeliest token; nats */
} score;

/* On text that neither has seen. */
static score compare(qp_ctx *c, qp_model *student, qp_model *teacher, const qp_buf *text)
{
    enum { BATCHES = 8 };
    score s = { 0 };
    qp_batch b = { 0 };
    c->recording = false;
    for (int i = 0; i < BATCHES; i++) {
        qp_scope scope;
        qp_scope_open(&c->arena, &scope);
        draw(&b, text, 0.9, 1, (uint64_t)i);
        qp_tensor *t = logits(c, teacher, &b), *z = logits(c, student, &b);
        const int32_t *best = qp_argmax(c, t, -1)->data, *own = qp_argmax(c, z, -1)->data;
        for (int64_t row = 0; row < b.n; row++) s.agreement += best[row] == own[row];
        s.kl += qp_item(divergence(c, t, z, 1)) / BATCHES;
        s.loss += qp_item(qp_cross_entropy(c, z, b.targets, 0, QP_MEAN)) / BATCHES;
        qp_scope_close(&c->arena, &scope);
    }
    s.agreement /= BATCHES * (double)b.n;
    c->recording = true;
    qp_batch_release(&b);
    return s;
}

int main(int argc, char **argv)
{
    qp_err err = { 0 };
    qp_ctx c;
    qp_buf text = { 0 };
    qp_must(qp_ctx_init(&c, qp_cpu_backend(), 0, &err), &err);
    qp_must(qp_file_read(argc > 1 ? argv[1] : "configs/demo/tinyshakespeare.txt", &text, &err),
            &err);

    qp_model *teacher = new_llama(96, 2, 1), *student = new_llama(48, 1, 2);
    train(&c, teacher, NULL, &text, TEACHER_STEPS);
    score before = compare(&c, student, teacher, &text);
    train(&c, student, teacher, &text, STUDENT_STEPS);
    score after = compare(&c, student, teacher, &text);
    printf("teacher %lld weights, loss %.3f nats a character; student %lld weights\n",
           (long long)qp_model_parameters(teacher), compare(&c, teacher, teacher, &text).loss,
           (long long)qp_model_parameters(student));
    printf("          KL from the teacher   same likeliest   loss\n");
    printf("before    %5.3f                 %4.1f %%           %.3f\n", before.kl,
           100 * before.agreement, before.loss);
    printf("after     %5.3f                 %4.1f %%           %.3f\n", after.kl,
           100 * after.agreement, after.loss);
    /* From the text alone, mix = 0, the same student ends at 0.184 and 71.8 %. */
    const bool ok = after.kl < 0.15 && after.agreement > 0.76;
    printf("%s\n", ok ? "the student follows" : "FAILED");

    qp_model_free(student);
    qp_model_free(teacher);
    qp_buf_release(&text);
    qp_ctx_release(&c);
    return ok ? 0 : 1;
}
