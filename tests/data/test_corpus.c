#include "data/corpus.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/zio.h"
#include "tests/suites.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static qp_tokenizer *bytes;
static char dir[64];

static void set_up(void)
{
    qp_err err = { 0 };
    ck_assert_msg(!qp_tokenizer_open(&bytes, "bytes", &err), "%s", err.msg);
    strcpy(dir, "/tmp/qp-corpus-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void tear_down(void)
{
    qp_err err = { 0 };
    ck_assert_int_eq(qp_remove_tree(dir, &err), QP_OK);
    qp_tokenizer_free(bytes);
}

static qp_corpus_options plain(void)
{
    return (qp_corpus_options){ .tokenizer = bytes, .sequence_len = 1000, .threads = 1 };
}

/* A file of the test's folder; the path lives until the next call. */
static const char *file(const char *name, const char *text)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(
        path); /* a file cut to nothing and written again is flushed to disk by some file systems */
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert(fputs(text, f) >= 0 && fclose(f) == 0);
    return path;
}

static qp_corpus load(const qp_source *s, const qp_corpus_options *o)
{
    qp_corpus c;
    qp_err err = { 0 };
    ck_assert_msg(!qp_corpus_load(&c, s, 1, o, &err), "%s", err.msg);
    return c;
}

static void refused(const qp_source *s, const qp_corpus_options *o, qp_status rc, const char *part)
{
    qp_corpus c;
    qp_err err = { 0 };
    ck_assert_int_eq(qp_corpus_load(&c, s, 1, o, &err), rc);
    ck_assert_msg(strstr(err.msg, part) != NULL, "%s", err.msg);
    ck_assert_msg(!strchr(err.msg, '\n'), "%s", err.msg);
}

/* A document of bytes as text: what is read, then what is learned with '.' where nothing is. */
static const char *show(const qp_corpus *c, int64_t d)
{
    static char text[2000];
    int64_t n = 0;
    for (int64_t i = c->start[d]; i < c->start[d + 1]; i++) text[n++] = (char)c->tokens[i];
    text[n++] = '|';
    for (int64_t i = c->start[d]; i < c->start[d + 1]; i++)
        text[n++] = c->targets[i] < 0 ? '.' : (char)c->targets[i];
    text[n] = '\0';
    return text;
}

static void check_one(const char *record, const qp_source *source, const char *expected)
{
    qp_source s = *source;
    s.path = file("one.jsonl", record);
    qp_corpus_options o = plain();
    qp_corpus c = load(&s, &o);
    ck_assert_int_eq(c.documents, 1);
    ck_assert_str_eq(show(&c, 0), expected);
    qp_corpus_release(&c);
}

/* ---- plain text ---- */

START_TEST(a_text_is_cut_into_windows_and_each_target_is_used_once)
{
    const char *text = "abcdefghijklm";
    qp_corpus_options o = plain();
    for (o.sequence_len = 1; o.sequence_len < 16; o.sequence_len++) {
        qp_source s = { .path = file("t.txt", text) };
        qp_corpus c = load(&s, &o);
        ck_assert_int_eq(c.n, 12);
        ck_assert_int_eq(c.trained, 12);
        ck_assert_int_eq(c.bytes, 13);
        ck_assert_int_eq(c.documents, (12 + o.sequence_len - 1) / o.sequence_len);
        for (int64_t i = 0; i < c.n; i++) {
            ck_assert_int_eq(c.tokens[i], text[i]);
            ck_assert_int_eq(c.targets[i], text[i + 1]);
        }
        for (int64_t d = 0; d < c.documents; d++)
            ck_assert_int_le(c.start[d + 1] - c.start[d], o.sequence_len);
        qp_corpus_release(&c);
    }
}
END_TEST

START_TEST(a_text_without_a_target_is_refused)
{
    qp_corpus_options o = plain();
    refused(&(qp_source){ .path = file("e.txt", "") }, &o, QP_BADFILE, "e.txt: no text");
    refused(&(qp_source){ .path = file("e.txt", "a") }, &o, QP_BADFILE, "e.txt: no text");
}
END_TEST

/* ---- records ---- */

START_TEST(types_are_found_by_looking)
{
    static const struct {
        const char *record, *expected;
    } cases[] = {
        { "{\"text\":\"abc\"}", "ab|bc" },
        { "{\"prompt\":\"ab\",\"completion\":\"cd\"}", "abc|.cd" },
        { "{\"question\":\"ab\",\"answer\":\"cd\",\"id\":3}", "abc|.cd" },
        { "{\"query\":\"ab\",\"response\":\"cd\"}", "abc|.cd" },
        { "{\"input\":\"ab\",\"output\":\"cd\"}", "abc|.cd" },
        { "{\"segments\":[{\"label\":false,\"text\":\"ab\"},{\"label\":true,\"text\":\"cd\"},{"
          "\"label\":false,\"text\":\"e\"},"
          "{\"label\":true,\"text\":\"f\"}]}",
          "abcde|.cd.f" },
        { "{\"instruction\":\"a\",\"output\":\"cd\"}",
          "### Instruction:\na\n\n### Response:\nc|.................................cd" },
        { "{\"instruction\":\"a\",\"input\":\"b\",\"output\":\"c\"}",
          "### Instruction:\na\n\n### Input:\nb\n\n### "
          "Response:\n|...............................................c" },
        { "{\"instruction\":\"a\",\"input\":null,\"output\":\"c\"}",
          "### Instruction:\na\n\n### Response:\n|.................................c" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_one(cases[i].record, &(qp_source){ 0 }, cases[i].expected);
}
END_TEST

START_TEST(named_fields_decide)
{
    const char *record = "{\"messages\":[],\"text\":\"xyz\",\"question\":\"ab\",\"answer\":\"cd\","
                         "\"solution\":\"ef\"}";
    check_one(record, &(qp_source){ .field_completion = "solution" }, "abe|.ef");
    check_one(record, &(qp_source){ .field_prompt = "text", .field_completion = "answer" },
              "xyzc|..cd");
    check_one(record, &(qp_source){ .field_text = "solution" }, "e|f");
    check_one(record, &(qp_source){ .type = "text" }, "xy|yz");
    check_one(record, &(qp_source){ .type = "completion", .field_text = "answer" }, "c|d");
    check_one(record, &(qp_source){ .type = "prompt_completion" }, "abc|.cd");
}
END_TEST

START_TEST(an_array_a_crlf_file_and_lines_are_the_same)
{
    static const char *const texts[] = {
        "{\"text\":\"abc\"}\n{\"text\":\"de\"}\n",
        "\xef\xbb\xbf{\"text\":\"abc\"}\r\n\r\n  {\"text\":\"de\"}",
        "[{\"text\":\"abc\"},{\"text\":\"de\"}]",
        " [\n {\n\"text\": \"abc\"},\n {\"text\":\"de\"}\n]\n",
    };
    char first[65], hex[65];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        qp_corpus_options o = plain();
        qp_corpus c =
            load(&(qp_source){ .path = file(i % 2 ? "a.json" : "a.jsonl", texts[i]) }, &o);
        ck_assert_int_eq(c.documents, 2);
        qp_corpus_hash(&c, i ? hex : first);
        if (i) ck_assert_str_eq(hex, first);
        qp_corpus_release(&c);
    }
}
END_TEST

START_TEST(errors_name_file_and_line)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        { "{\"text\":\"abc\"}\n\n{\"text\":3}\n",
          "a.jsonl:3: \"text\" is a number, wanted a string" },
        { "{\"text\":\"abc\"}\n{\"txt\":\"abc\", \"id\":1}\n",
          "a.jsonl:2: no \"text\" (found: txt, id)" },
        { "{\"text\":\"abc\"}\n[1]\n", "a.jsonl:2: an array, wanted an object" },
        { "{\"text\":\"abc\"}\n{'text':1}\n", "a.jsonl:2: " },
        { "{\"text\":\"a\"}\n", "a.jsonl:1: nothing to learn" },
        { "{\"question\":\"a\",\"answer\":\"\"}\n", "a.jsonl:1: nothing to learn" },
        { "{\"a\":1,\"b\":2}\n", "a.jsonl:1: found a, b; wanted messages" },
        { "[\n{\"text\":\"abc\"},\n{\"text\":3}]", "a.jsonl:3: \"text\" is a number" },
        { "[{\"text\":\"abc\"},\n{\"text\":\"abc\"\n", "a.jsonl:" },
        { "\n\n", "a.jsonl: no examples" },
        { "[]", "a.jsonl: no examples" },
        { "{\"segments\":[{\"label\":1,\"text\":\"ab\"}]}",
          "a.jsonl:1: segments[0]: \"label\" is a number" },
        { "{\"segments\":[]}", "a.jsonl:1: nothing to learn (0 tokens" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", "chat_template" },
    };
    qp_corpus_options o = plain();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(&(qp_source){ .path = file("a.jsonl", cases[i].text) }, &o,
                strstr(cases[i].text, "messages") ? QP_USAGE : QP_BADFILE, cases[i].part);
    refused(&(qp_source){ .path = file("a.parquet", "x") }, &o, QP_USAGE,
            "a.parquet: unknown kind");
    refused(&(qp_source){ .path = file("a.jsonl", "{\"text\":\"abc\"}"), .type = "alpca" }, &o,
            QP_USAGE, "alpca");
    refused(&(qp_source){ .path = "/nowhere/x.jsonl" }, &o, QP_USAGE, "/nowhere/x.jsonl");
}
END_TEST

START_TEST(an_over_long_record_is_refused_cut_or_left_out)
{
    const char *text =
        "{\"question\":\"abcd\",\"answer\":\"efgh\"}\n{\"question\":\"a\",\"answer\":\"b\"}\n"
        "{\"question\":\"abcdefghi\",\"answer\":\"j\"}\n";
    qp_corpus_options o = plain();
    o.sequence_len = 5;
    qp_source s = { .path = file("l.jsonl", text) };
    refused(&s, &o, QP_BADFILE, "l.jsonl:1: 7 tokens, sequence_len is 5");
    o.excess = QP_EXCESS_TRUNCATE;
    qp_corpus c = load(&s, &o);
    ck_assert_int_eq(c.documents, 2);
    ck_assert_int_eq(c.truncated, 1);
    ck_assert_int_eq(c.dropped, 1); /* its answer lies beyond the cut */
    ck_assert_str_eq(show(&c, 0), "abcde|...ef");
    qp_corpus_release(&c);
    o.excess = QP_EXCESS_DROP;
    c = load(&s, &o);
    ck_assert_int_eq(c.documents, 1);
    ck_assert_int_eq(c.dropped, 2);
    qp_corpus_release(&c);
    o.sequence_len = 7; /* as many rows as there are targets up to the last: fits */
    o.excess = QP_EXCESS_RAISE;
    refused(&s, &o, QP_BADFILE, "l.jsonl:3: 9 tokens");
}
END_TEST

START_TEST(bad_records_may_be_skipped_up_to_a_limit)
{
    const char *text = "{\"txt\":1}\n{\"text\":\"abc\"}\n{\"text\":\n{\"text\":\"def\"}\n";
    qp_corpus_options o = plain();
    o.on_bad = QP_BAD_SKIP;
    o.bad_limit = 50;
    qp_source s = { .path = file("b.jsonl", text) };
    qp_corpus c = load(&s, &o);
    ck_assert_int_eq(c.documents, 2);
    ck_assert_int_eq(c.skipped, 2);
    qp_corpus_release(&c);
    o.bad_limit = 49;
    refused(&s, &o, QP_BADFILE,
            "2 of 4 records are bad (50 %, bad_sample_limit is 49 %), the first: ");
}
END_TEST

/* Any change of a byte or two, any cut: a corpus or a message of one line that names the file. */
START_TEST(damaged_files_never_do_harm)
{
    static const char *const texts[] = {
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":["
        "{\"type\":\"text\",\"text\":\"b\"}]}]}\n"
        "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":"
        "\"b\"}]}\n",
        "[{\"instruction\":\"a\",\"input\":\"\",\"output\":\"b\\u00e9\"},\n "
        "{\"instruction\":\"c\",\"output\":\"d\"}]",
        "{\"segments\":[{\"label\":true,\"text\":\"ab\"}]}\n{\"question\":\"a\",\"answer\":\"b\"}"
        "\n{\"text\":\"xyz\"}\n",
    };
    qp_corpus_options o = plain();
    int loaded = 0, refusals = 0;
    for (uint64_t i = 0; i < 600; i++) {
        char *text = qp_xstrdup(texts[i % 3]);
        uint64_t n = strlen(text);
        for (uint64_t k = 0; k <= i % 2; k++)
            text[qp_rng_below(1, i, 2 * k, n)] =
                "\"{}[]:,\\0\n \xc3"[qp_rng_below(1, i, 2 * k + 1, 12)];
        if (i % 5 == 0) text[qp_rng_below(2, i, 0, n)] = '\0';
        o.on_bad = i % 7 ? QP_BAD_RAISE : QP_BAD_SKIP;
        o.bad_limit = 60;
        qp_corpus c;
        qp_err err = { 0 };
        qp_status rc =
            qp_corpus_load(&c, &(qp_source){ .path = file("d.jsonl", text) }, 1, &o, &err);
        if (!rc)
            qp_corpus_release(&c);
        else
            ck_assert_msg((rc == QP_BADFILE || rc == QP_USAGE) && strstr(err.msg, "d.jsonl") &&
                              !strchr(err.msg, '\n'),
                          "%s", err.msg);
        rc ? refusals++ : loaded++;
        free(text);
    }
    ck_assert_int_gt(loaded, 10);
    ck_assert_int_gt(refusals, 300);
}
END_TEST

START_TEST(a_weight_repeats_or_thins_out)
{
    static const struct {
        double weight;
        int64_t documents;
    } cases[] = { { 0, 4 }, { 1, 4 }, { 2, 8 }, { 0.5, 2 }, { 1.5, 6 }, { 0.25, 1 } };
    const char *text =
        "{\"text\":\"ab\"}\n{\"text\":\"cd\"}\n{\"text\":\"ef\"}\n{\"text\":\"gh\"}\n";
    qp_corpus_options o = plain();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qp_corpus c =
            load(&(qp_source){ .path = file("w.jsonl", text), .weight = cases[i].weight }, &o);
        ck_assert_int_eq(c.documents, cases[i].documents);
        qp_corpus_release(&c);
    }
}
END_TEST

START_TEST(the_number_of_threads_changes_nothing)
{
    qp_buf text = { 0 };
    for (int i = 0; i < 3000; i++)
        qp_buf_printf(&text, "{\"question\":\"q %d\",\"answer\":\"%d\"}\n", i, i * i);
    qp_corpus_options o = plain();
    qp_source s = { .path = file("p.jsonl", text.data) };
    char one[65], many[65];
    qp_corpus c = load(&s, &o);
    ck_assert_int_eq(c.documents, 3000);
    qp_corpus_hash(&c, one);
    qp_corpus_release(&c);
    o.threads = 5;
    c = load(&s, &o);
    qp_corpus_hash(&c, many);
    ck_assert_str_eq(one, many);
    qp_corpus_release(&c);
    qp_buf_release(&text);
}
END_TEST

/* A file with a hole takes no room on the disk. */
START_TEST(a_text_that_is_too_long_is_refused_by_its_file)
{
    qp_corpus_options o = plain();
    qp_source s = { .path = file("huge.txt", "x") };
    qp_corpus c;
    qp_err err = { 0 };
    ck_assert_int_eq(truncate(s.path, (off_t)1 << 31), 0);
    ck_assert_int_eq(qp_corpus_load(&c, &s, 1, &o, &err), QP_BADFILE);
    ck_assert_msg(strstr(err.msg, "huge.txt: a text of 2147483648 bytes: at most 2 GB") != NULL,
                  "%s", err.msg);
}
END_TEST

START_TEST(sources_are_told_one_line_each)
{
    qp_corpus_options o = plain();
    char *a = qp_xstrdup(file("a.jsonl", "{\"question\":\"a\",\"answer\":\"b\"}\n"));
    char *d = qp_xstrdup(file("d.jsonl", "{\"segments\":[{\"label\":true,\"text\":\"ab\"}]}\n"));
    qp_source s[] = { { .path = a }, { .path = d }, { .path = file("b.txt", "hello") } };
    qp_corpus c;
    qp_err err = { 0 };
    ck_assert_int_eq(qp_corpus_load(&c, s, 3, &o, &err), QP_OK);
    ck_assert_int_eq(c.documents, 3);
    ck_assert(strstr(c.found, "a.jsonl: prompt_completion (question, answer), 1 records\n"));
    ck_assert(strstr(c.found, "d.jsonl: input_output, 1 records\n"));
    ck_assert(strstr(c.found, "b.txt: text, 5 bytes"));
    qp_corpus_release(&c);
    free(d);
    free(a);
}
END_TEST

/* ---- folders, split ---- */

static void resolves(const char *split, const char *name)
{
    char *found;
    qp_err err = { 0 };
    ck_assert_msg(!qp_source_resolve(dir, split, &found, &err), "%s", err.msg);
    if (name)
        ck_assert_msg(found && !strcmp(strrchr(found, '/') + 1, name), "%s",
                      found ? found : "nothing");
    else
        ck_assert_ptr_null(found);
    free(found);
}

START_TEST(a_folder_stands_for_its_files)
{
    char *found;
    qp_err err = { 0 };
    ck_assert_int_eq(qp_source_resolve(dir, "train", &found, &err), QP_USAGE);
    ck_assert(strstr(err.msg, "no train.jsonl"));
    file("train.txt", "some text");
    resolves("train", "train.txt");
    resolves("valid", NULL);
    file("val.json", "[]");
    resolves("valid", "val.json");
    file("valid.jsonl", "");
    resolves("valid", "valid.jsonl");
    resolves("test", NULL);
    qp_corpus_options o = plain();
    qp_corpus c = load(&(qp_source){ .path = dir }, &o);
    ck_assert_int_eq(c.n, 8);
    qp_corpus_release(&c);
    ck_assert_int_eq(qp_source_resolve("x.jsonl", "valid", &found, &err), QP_OK);
    ck_assert_ptr_null(found);
}
END_TEST

START_TEST(a_split_moves_documents_and_loses_none)
{
    qp_buf text = { 0 };
    for (int i = 0; i < 50; i++)
        qp_buf_printf(&text, "{\"text\":\"%d%.*s\"}\n", i, i % 7 + 1, "abcdefg");
    qp_corpus_options o = plain();
    const char *path = file("s.jsonl", text.data);
    qp_buf_release(&text);
    static const struct {
        double share;
        int64_t valid;
    } cases[] = { { 0.2, 10 }, { 7, 7 }, { 1, 1 }, { 0.0001, 1 }, { 49, 49 } };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        qp_corpus c = load(&(qp_source){ .path = path }, &o),
                  whole = load(&(qp_source){ .path = path }, &o), valid;
        qp_err err = { 0 };
        ck_assert_int_eq(qp_corpus_split(&c, &valid, cases[k].share, 3, &err), QP_OK);
        ck_assert_int_eq(valid.documents, cases[k].valid);
        ck_assert_int_eq(c.documents + valid.documents, 50);
        ck_assert_int_eq(c.n + valid.n, whole.n);
        ck_assert_int_eq(c.trained + valid.trained, whole.trained);
        int64_t a = 0, b = 0; /* merging the two gives the whole in its order */
        for (int64_t d = 0; d < 50; d++) {
            char *expected = qp_xstrdup(show(&whole, d));
            bool in_valid = b < valid.documents && !strcmp(show(&valid, b), expected);
            if (in_valid)
                b++;
            else
                ck_assert_str_eq(show(&c, a++), expected);
            free(expected);
        }
        ck_assert_int_eq(b, valid.documents);
        qp_corpus_release(&c);
        qp_corpus_release(&whole);
        qp_corpus_release(&valid);
    }
    static const double refused_shares[] = { 0, -1, 50, 51 };
    for (int k = 0; k < 4; k++) {
        qp_corpus c = load(&(qp_source){ .path = path }, &o), valid;
        qp_err err = { 0 };
        ck_assert_int_eq(qp_corpus_split(&c, &valid, refused_shares[k], 3, &err), QP_USAGE);
        ck_assert_int_eq(c.documents, 50);
        qp_corpus_release(&c);
    }
}
END_TEST

/* ---- shared data ---- */

static bool shared(char *path, size_t size, const char *name)
{
    const char *root = getenv("QP_SHARED");
    snprintf(path, size, "%s/%s", root ? root : "../shared", name);
    if (!access(path, R_OK)) return true;
    fprintf(stderr, "corpus: %s is absent: a comparison was not made\n", path);
    return false;
}

/* The golden conversations as a data set: ids and mask of each, up to its last target, are a
 * document. */
START_TEST(chats_are_tokenised_and_masked_as_expected)
{
    char tokenizer[300], chats[300];
    if (!shared(tokenizer, sizeof tokenizer, "golden/tokenizers/smollm2/tokenizer.json") ||
        !shared(chats, sizeof chats, "golden/tokenizers/smollm2/chat.jsonl"))
        return;
    qp_tokenizer *t;
    qp_corpus_options o = plain();
    qp_err err = { 0 };
    ck_assert_msg(!qp_tokenizer_open(&t, tokenizer, &err), "%s", err.msg);
    ck_assert_msg(!qp_chat_find(&o.chat, "smollm2", t, &err), "%s", err.msg);
    o.tokenizer = t;
    o.chat_options.train_on_eos = true;
    o.on_bad = QP_BAD_SKIP; /* those with nothing to learn */
    o.bad_limit = 100;
    qp_corpus c = load(&(qp_source){ .path = chats }, &o);
    qp_buf text = { 0 };
    ck_assert_int_eq(qp_file_read(chats, &text, &err), QP_OK);
    int64_t d = 0;
    for (char *line = text.data, *stop; (stop = strchr(line, '\n')); line = stop + 1) {
        qp_value *v;
        ck_assert_int_eq(qp_json_parse(&v, line, (size_t)(stop - line), &err), QP_OK);
        const qp_value *ids = qp_json_get(v, "ids"), *mask = qp_json_get(v, "loss_mask");
        const qp_value *prompt = qp_json_get(v, "add_generation_prompt");
        int64_t last = 0, n = 0;
        for (const qp_value *m = mask->child; m; m = m->next, n++)
            if (m->integer) last = n;
        if (last && prompt->kind == QP_JSON_FALSE) {
            ck_assert_int_eq(c.start[d + 1] - c.start[d], last);
            const qp_value *id = ids->child, *m = mask->child;
            for (int64_t i = c.start[d]; i < c.start[d + 1]; i++) {
                ck_assert_int_eq(c.tokens[i], id->integer);
                id = id->next;
                m = m->next;
                ck_assert_int_eq(c.targets[i], m->integer ? id->integer : -1);
            }
            d++;
        } else if (last)
            d++;
        qp_json_free(v);
    }
    ck_assert_int_eq(d, c.documents);
    ck_assert_int_gt(d, 3);
    qp_buf_release(&text);
    qp_corpus_release(&c);
    qp_tokenizer_free(t);
}
END_TEST

START_TEST(broken_files_are_refused_by_line)
{
    static const struct {
        const char *name, *part;
        qp_status rc;
    } cases[] = {
        { "invalid_utf8", "invalid_utf8.jsonl:2: ", QP_BADFILE },
        { "missing_field", "jsonl:2: messages[0]: no \"content\"", QP_BADFILE },
        { "null_field", "jsonl:3: messages[0]: \"content\" is null", QP_BADFILE },
        { "empty", "empty.jsonl: no examples", QP_BADFILE },
        { "not_json", "not_json.jsonl:2: ", QP_BADFILE },
        { "huge_line", "huge_line.jsonl:2: ", QP_BADFILE },
        { "ok_crlf_blank_last", NULL, QP_OK },
    };
    char tokenizer[300], path[300], name[100];
    if (!shared(tokenizer, sizeof tokenizer, "golden/tokenizers/smollm2/tokenizer.json")) return;
    qp_tokenizer *t;
    qp_corpus_options o = plain();
    qp_err err = { 0 };
    ck_assert_msg(!qp_tokenizer_open(&t, tokenizer, &err), "%s", err.msg);
    ck_assert_msg(!qp_chat_find(&o.chat, "chatml", t, &err), "%s", err.msg);
    o.tokenizer = t;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(name, sizeof name, "golden/bad/jsonl/%s.jsonl", cases[i].name);
        if (!shared(path, sizeof path, name)) continue;
        if (cases[i].rc) {
            refused(&(qp_source){ .path = path }, &o, cases[i].rc, cases[i].part);
            continue;
        }
        qp_corpus c = load(&(qp_source){ .path = path }, &o);
        ck_assert_int_eq(c.documents, 2);
        qp_corpus_release(&c);
    }
    qp_tokenizer_free(t);
}
END_TEST

Suite *suite_corpus(void)
{
    Suite *s = suite_create("corpus");
    TCase *t = tcase_create("corpus");
    tcase_set_timeout(t, 20); /* busy machines */
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_text_is_cut_into_windows_and_each_target_is_used_once);
    tcase_add_test(t, a_text_without_a_target_is_refused);
    tcase_add_test(t, types_are_found_by_looking);
    tcase_add_test(t, named_fields_decide);
    tcase_add_test(t, an_array_a_crlf_file_and_lines_are_the_same);
    tcase_add_test(t, errors_name_file_and_line);
    tcase_add_test(t, an_over_long_record_is_refused_cut_or_left_out);
    tcase_add_test(t, bad_records_may_be_skipped_up_to_a_limit);
    tcase_add_test(t, damaged_files_never_do_harm);
    tcase_add_test(t, a_weight_repeats_or_thins_out);
    tcase_add_test(t, the_number_of_threads_changes_nothing);
    tcase_add_test(t, a_text_that_is_too_long_is_refused_by_its_file);
    tcase_add_test(t, sources_are_told_one_line_each);
    tcase_add_test(t, a_folder_stands_for_its_files);
    tcase_add_test(t, a_split_moves_documents_and_loses_none);
    tcase_add_test(t, chats_are_tokenised_and_masked_as_expected);
    tcase_add_test(t, broken_files_are_refused_by_line);
    suite_add_tcase(s, t);
    return s;
}
