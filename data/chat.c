#include "data/chat.h"
#include "base/log.h"
#include "base/sha256.h"
#include "data/chat_row.h"
#include "data/unicode.h"
#include <string.h>

#define LLAMA3                                                                                     \
    .bos = "<|begin_of_text|>", .open = "<|start_header_id|>", .named = "<|end_header_id|>",       \
    .close = "<|eot_id|>", .head = "\n\n"
#define CHATML .open = "<|im_start|>", .head = "\n", .close = "<|im_end|>", .tail = "\n"

/* llama3: Meta's chat_format.py. llama3-hf, llama3.1-hf, llama3.2-hf: the templates of the Instruct
   models on the hub, which trim; the last two differ in the date they show when none is given, and
   here none of them asks the clock. */
static const qp_chat rows[] = {
    { .name = "llama3", LLAMA3, .apart = true },
    { .name = "llama3-hf", LLAMA3, .trim = true },
    { .name = "llama3.1-hf", LLAMA3, .trim = true, .dated = true, .quote_tools = true },
    { .name = "llama3.2-hf", LLAMA3, .trim = true, .dated = true, .quote_tools = true },
    { .name = "chatml", CHATML },
    { .name = "smollm2",
      CHATML,
      .system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face" },
    { .name = "none" },
};
enum { ROWS = sizeof rows / sizeof *rows };

/* How a jinja text is recognised: it holds all the marks; the first row that fits is taken. */
static const struct {
    const char *mark[3], *name;
} marks[] = {
    { { "<|start_header_id|>", "Cutting Knowledge Date", "strftime_now" }, "llama3.2-hf" },
    { { "<|start_header_id|>", "Cutting Knowledge Date" }, "llama3.1-hf" },
    { { "<|start_header_id|>", "trim" }, "llama3-hf" },
    { { "<|start_header_id|>" }, "llama3" },
    { { "<|im_start|>", "named SmolLM, trained by Hugging Face" }, "smollm2" },
    { { "<|im_start|>" }, "chatml" },
};

static const qp_chat *row(const char *name)
{
    for (int i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

static const char *by_marks(const char *jinja)
{
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        bool all = true;
        for (int k = 0; k < 3 && marks[i].mark[k]; k++)
            all &= strstr(jinja, marks[i].mark[k]) != NULL;
        if (all) return marks[i].name;
    }
    return NULL;
}

static const char *by_tokens(const qp_tokenizer *t)
{
    if (qp_tokenizer_id(t, "<|start_header_id|>") >= 0 && qp_tokenizer_id(t, "<|eot_id|>") >= 0)
        return "llama3";
    if (qp_tokenizer_id(t, "<|im_start|>") >= 0 && qp_tokenizer_id(t, "<|im_end|>") >= 0)
        return "chatml";
    return "none";
}

/* SHA-256 of the jinja texts that the rows are known to equal, without white space at either end.
 */
static const char *const known[] = {
    "93c0e9aa3629bbd77e68dbc0f5621f6e6b23aa8d74b932595cdb8d64684526d7", /* llama3.1-hf */
    "d82792f95932f1c9cef5c4bd992f171225e3bf8c7b609b4557c9e1ec96be819f", /* llama3.2-hf */
    "153280e3ff55d19da1398bdb3914ee2a51b80429bfaedde11d7d216c39db80f3", /* chatml */
    "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788", /* smollm2 */
};

static bool is_known(const char *jinja)
{
    size_t len = strlen(jinja), from = qp_space_after(jinja, 0, len, qp_is_space);
    qp_sha256 s;
    char hex[65];
    qp_sha256_init(&s);
    qp_sha256_add(&s, jinja + from, qp_space_before(jinja, from, len, qp_is_space) - from);
    qp_sha256_hex(&s, hex);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(hex, known[i]) == 0) return true;
    return false;
}

static const char *detect(const qp_tokenizer *t)
{
    const char *jinja = qp_tokenizer_template(t), *name = jinja ? by_marks(jinja) : by_tokens(t);
    if (!name) {
        qp_warn("the tokenizer's chat template is like none of the built-in ones: chat_template is "
                "none");
        return "none";
    }
    if (jinja && !is_known(jinja))
        qp_warn(
            "the tokenizer's chat template is taken as %s, which it may not equal in every word",
            name);
    return name;
}

static qp_status check_tokens(const qp_chat *c, const qp_tokenizer *t, qp_err *err)
{
    const char *const need[] = { c->bos, c->open, c->named, c->close };
    for (int i = 0; i < 4; i++)
        if (need[i] && qp_tokenizer_id(t, need[i]) < 0)
            return qp_fail(err, QP_USAGE, "chat_template %s: this tokenizer (%s) has no token %s",
                           c->name, qp_tokenizer_kind(t), need[i]);
    return QP_OK;
}

qp_status qp_chat_find(const qp_chat **chat, const char *name, const qp_tokenizer *t, qp_err *err)
{
    const qp_chat *c = row(strcmp(name, "auto") == 0 ? detect(t) : name);
    *chat = c;
    if (c) return check_tokens(c, t, err);
    qp_buf all = { 0 };
    for (int i = 0; i < ROWS; i++) qp_buf_printf(&all, ", %s", rows[i].name);
    qp_fail(err, QP_USAGE, "chat_template %s: wanted one of auto%s", name, all.data);
    qp_buf_release(&all);
    return QP_USAGE;
}

const char *qp_chat_name(const qp_chat *chat) { return chat->name; }
