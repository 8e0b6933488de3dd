#include "data/chat.h"
#include "base/log.h"
#include "data/chat_row.h"
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

static const char *detect(const qp_tokenizer *t)
{
    const char *jinja = qp_tokenizer_template(t), *name = jinja ? by_marks(jinja) : by_tokens(t);
    if (!name) {
        qp_warn("the tokenizer's chat template is like none of the built-in ones: chat_template is "
                "none");
        return "none";
    }
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
