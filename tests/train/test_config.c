#include "base/log.h"
#include "base/zio.h"
#include "tests/suites.h"
#include "train/option.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64], file[96];
static qp_err err;
static qp_options *o;

static void set_up(void)
{
    qp_log_max = QP_LOG_QUIET;
    strcpy(dir, "/tmp/qp_config_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/run.yaml", dir);
    err = (qp_err){ 0 };
    o = NULL;
}

static void tear_down(void)
{
    qp_options_free(o);
    ck_assert_msg(!qp_remove_tree(dir, &err), "%s", err.msg);
}

static void write_yaml(const char *text)
{
    ck_assert_msg(!qp_file_write(file, text, strlen(text), &err), "%s", err.msg);
}

static qp_status load(const char *yaml, int argc, char **argv)
{
    qp_options_free(o);
    o = NULL;
    err = (qp_err){ 0 };
    if (yaml) write_yaml(yaml);
    return qp_options_load(&o, yaml ? file : NULL, argc, argv, &err);
}

#define ARGS(...)                                                                                  \
    (int)(sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *)), ((char *[]){ __VA_ARGS__ })
static void accept(const char *yaml, int argc, char **argv)
{
    ck_assert_msg(load(yaml, argc, argv) == QP_OK, "%s", err.msg);
}

/* Refused with exit code 2 and a one-line message that holds every one of the words. */
static void refuse_text(const char *yaml, const char *const *words, int n)
{
    ck_assert_int_eq(load(yaml, 0, NULL), QP_USAGE);
    ck_assert_ptr_null(strchr(err.msg, '\n'));
    for (int i = 0; i < n; i++)
        ck_assert_msg(strstr(err.msg, words[i]) != NULL, "%s: no %s", err.msg, words[i]);
}
#define REFUSE(yaml, ...)                                                                          \
    refuse_text(yaml, (const char *[]){ __VA_ARGS__ },                                             \
                (int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)))

static char *printed(void)
{
    qp_buf b = { 0 };
    qp_options_print(o, &b);
    return b.data;
}

START_TEST(defaults_are_those_of_the_interface)
{
    accept(NULL, 0, NULL);
    ck_assert_int_eq(o->lora_r, 16);
    ck_assert_str_eq(o->adapter, "lora");
    ck_assert_str_eq(o->load_in, "bf16");
    ck_assert_int_eq(o->lora_target_modules.n, 7);
    ck_assert_double_eq(o->num_epochs, 3);
    ck_assert_int_eq(o->max_steps, QP_UNSET);
    ck_assert_double_eq(o->learning_rate, 2e-4);
    ck_assert(o->sample_packing);
    ck_assert_int_eq(o->threads, 0);
    ck_assert_ptr_null(o->tokenizer);
}
END_TEST

START_TEST(what_is_printed_loads_back_to_the_same)
{
    accept("model_config: {hidden_size: 32, num_hidden_layers: 2, note: \"a: #b\", deep: [1, "
           "2.5e-3, true, null]}\n"
           "datasets:\n"
           "  - path: \"a b.jsonl\"\n"
           "    field_prompt: question\n"
           "    roles_to_train: [assistant, tool]\n"
           "  - {path: '~', weight: 0.3, type: input_output}\n"
           "memory: 3G\nmax_time: 1h30m\nmax_steps: 12\nlearning_rate: 0.1\nchat_template_date: "
           "'null'\n"
           "output_dir: \"7\"\n",
           0, NULL);
    ck_assert_int_eq(o->memory, INT64_C(3) << 30);
    ck_assert_double_eq(o->max_time, 5400);
    ck_assert(isnan(o->num_epochs));
    ck_assert_str_eq(o->adapter, "none");
    char *once = printed();
    accept(once, 0, NULL);
    char *twice = printed();
    ck_assert_str_eq(once, twice);
    ck_assert_int_eq(o->datasets.n, 2);
    ck_assert_str_eq(o->datasets.v[0].path, "a b.jsonl");
    ck_assert_str_eq(o->datasets.v[1].path, "~");
    ck_assert_double_eq(o->datasets.v[1].weight, 0.3);
    ck_assert_str_eq(o->chat_template_date, "null");
    ck_assert_str_eq(o->output_dir, "7");
    ck_assert_ptr_nonnull(strstr(o->model_config, "\"note\": \"a: #b\""));
    free(once);
    free(twice);
}
END_TEST

START_TEST(the_last_of_file_dashes_and_assignments_wins)
{
    accept("learning_rate: 1.0e-3\nlora_r: 4\n",
           ARGS("--lora-r", "8", "lr=2e-3", "--learning-rate=3e-3"));
    ck_assert_int_eq(o->lora_r, 8);
    ck_assert_double_eq(o->learning_rate, 3e-3);
    accept("sample_packing: false\n",
           ARGS("--sample-packing", "--lora-target-modules", "q_proj, v_proj"));
    ck_assert(o->sample_packing);
    ck_assert_int_eq(o->lora_target_modules.n, 2);
    ck_assert_str_eq(o->lora_target_modules.v[1], "v_proj");
}
END_TEST

START_TEST(nested_keys_can_be_set_by_dotted_paths)
{
    accept("datasets: [{path: a.jsonl}]\nmodel_config: {hidden_size: 32}\n",
           ARGS("datasets.0.field_prompt=question", "datasets.1.path=b.jsonl",
                "model_config.num_hidden_layers=2", "test_datasets.0.path=c.jsonl"));
    ck_assert_int_eq(o->datasets.n, 2);
    ck_assert_str_eq(o->datasets.v[0].path, "a.jsonl");
    ck_assert_str_eq(o->datasets.v[0].field_prompt, "question");
    ck_assert_str_eq(o->datasets.v[1].path, "b.jsonl");
    ck_assert_str_eq(o->test_datasets.v[0].path, "c.jsonl");
    ck_assert_str_eq(o->model_config, "{\"hidden_size\": 32, \"num_hidden_layers\": 2}");
}
END_TEST

START_TEST(words_of_other_tools_are_accepted)
{
    accept("model_name_or_path: m\nper_device_train_batch_size: 3\nmax_seq_length: 99\nuse_rslora: "
           "true\n"
           "lr_scheduler_type: constant_with_warmup\noptim: adamw_torch\nload_in_4bit: false\n"
           "optimizer: {lr: 0.5}\nlora_target_linear: true\n"
           "datasets: [{path: x, type: completion, field: body}]\n",
           0, NULL);
    ck_assert_str_eq(o->base_model, "m");
    ck_assert_int_eq(o->micro_batch_size, 3);
    ck_assert_int_eq(o->sequence_len, 99);
    ck_assert_str_eq(o->lora_variant, "rslora");
    ck_assert_str_eq(o->lr_scheduler, "constant");
    ck_assert_str_eq(o->optimizer, "adamw");
    ck_assert_double_eq(o->learning_rate, 0.5);
    ck_assert_int_eq(o->lora_target_modules.n, 7);
    ck_assert_str_eq(o->datasets.v[0].type, "text");
    ck_assert_str_eq(o->datasets.v[0].field_text, "body");
}
END_TEST

START_TEST(an_unknown_key_is_refused_with_the_nearest_one)
{
    REFUSE("lora_r: 8\nleraning_rate: 1\n", "run.yaml:2", "leraning_rate", "learning_rate");
    REFUSE("datasets:\n  - path: x\n    feild_prompt: q\n", "run.yaml:3", "datasets.0.feild_prompt",
           "field_prompt");
    REFUSE("seed: 111111111111111111111111111111111111111111111111111111111111111111111111111111\n",
           "seed: found 1111", "111..., wanted a whole number");
    REFUSE("wandb_project: x\n", "wandb_project", "metrics.jsonl");
    ck_assert_int_eq(load(NULL, ARGS("lora_rr=8")), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "lora_r"));
}
END_TEST

START_TEST(a_key_given_twice_is_refused)
{
    REFUSE("lora_r: 8\nseed: 1\nlora_r: 9\n", "run.yaml:3", "lora_r twice", "run.yaml:1");
    REFUSE("lora_r: 8\nlora_rank: 9\n", "run.yaml:2", "lora_r twice", "written lora_rank");
    REFUSE("model_config: {a: 1, a: 2}\n", "a twice");
}
END_TEST

START_TEST(a_wrong_type_or_range_names_key_place_found_and_wanted)
{
    REFUSE("\nlearning_rate: fast\n", "run.yaml:2", "learning_rate", "fast", "a number");
    REFUSE("learning_rate: {fast: true}\n", "learning_rate", "a map", "a number");
    REFUSE("model: [1, {2: 3}]\n", "written model", "a list", "a text");
    REFUSE("lora_r: 0\n", "lora_r", "found 0", "[1, 4096]");
    REFUSE("lora_r: 1.5\n", "lora_r", "1.5", "whole number");
    REFUSE("lora_r: '8'\n", "lora_r");
    REFUSE("lora_r: null\n", "lora_r");
    REFUSE("lora_r: 0x8\n", "lora_r");
    REFUSE("lora_dropout: 1.0\n", "lora_dropout", "[0, 1)");
    REFUSE("learning_rate: .nan\n", "learning_rate");
    REFUSE("sample_packing: 2\n", "sample_packing", "true or false");
    REFUSE("lr_scheduler: cosin\n", "cosin", "constant, linear, cosine, wsd");
    REFUSE("memory: 8X\n", "memory", "8X");
    REFUSE("max_time: 5w\n", "max_time", "5w");
    REFUSE("datasets: a.jsonl\n", "datasets", "a list of maps");
    REFUSE("datasets: [{type: text}]\n", "datasets.0.path");
    REFUSE("lora_target_modules: [[q_proj]]\n", "lora_target_modules");
}
END_TEST

START_TEST(what_this_build_lacks_is_refused_by_name)
{
    REFUSE("optimizer: muon\n", "muon is not available in this build", "known: adamw");
    REFUSE("adapter: qlora\n", "nf4 is not available");
    REFUSE("peft_use_dora: true\n", "dora is not available");
    REFUSE("rl: dpo\n", "dpo is not available");
    REFUSE("ema_decay: 0.99\n", "ema_decay", "0.99", "null");
    REFUSE("lora_modules_to_save: [lm_head]\n", "lora_modules_to_save", "lm_head");
    REFUSE("stream: true\n", "stream");
    accept("ema_decay: null\nstream: auto\nlora_modules_to_save: []\nload_in_8bit: false\n", 0,
           NULL);
}
END_TEST

START_TEST(yaml_that_could_grow_or_run_is_refused)
{
    qp_buf deep = { 0 };
    REFUSE("a: &x 1\n", "run.yaml:1", "anchors");
    REFUSE("lora_r: *x\n", "run.yaml:1", "aliases");
    REFUSE("lora_r: !!int 8\n", "tags");
    REFUSE("lora_r: 8\n---\nlora_r: 9\n", "run.yaml:2", "second document");
    REFUSE("[1, 2]\n", "key: value");
    REFUSE("? [a, b]\n: 1\n", "plain text");
    for (int i = 0; i < 20; i++) qp_buf_str(&deep, i ? "[" : "model_config: {x: ");
    REFUSE(deep.data, "nested deeper than 16");
    qp_buf_clear(&deep);
    qp_buf_str(&deep, "lora_target_modules: [a");
    for (int i = 0; i < 20000; i++) qp_buf_str(&deep, ",a");
    qp_buf_str(&deep, "]\n");
    REFUSE(deep.data, "more than 10000 values");
    while (deep.len < (1 << 20) + 10) qp_buf_str(&deep, "# comment comment comment\n");
    REFUSE(deep.data, "bytes");
    qp_buf_release(&deep);
}
END_TEST

/* The shared broken files, appended to a configuration that loads. */
START_TEST(broken_fragments_are_refused)
{
    static const char *const valid = "base_model: m\nlora_r: 8\n";
    const char *shared = getenv("QP_SHARED");
    char *folder = qp_xformat("%s/golden/bad/yaml", shared ? shared : "../shared");
    DIR *d = opendir(folder);
    if (!d) fprintf(stderr, "config: NOT CHECKED against broken files: %s is absent\n", folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        qp_buf text = { 0 };
        if (e->d_name[0] == '.') continue;
        char *path = qp_path_join(folder, e->d_name);
        ck_assert(!qp_file_read(path, &text, &err));
        for (int appended = 0; appended < 2; appended++) {
            char *yaml = qp_xformat("%s%s", appended ? valid : "", text.data);
            ck_assert_msg(load(yaml, 0, NULL) == QP_USAGE, "%s loads", e->d_name);
            ck_assert_msg(strstr(err.msg, "run.yaml:") != NULL, "%s: %s", e->d_name, err.msg);
            free(yaml);
        }
        qp_buf_release(&text);
        free(path);
    }
    if (d) closedir(d);
    free(folder);
}
END_TEST

START_TEST(a_data_folder_fills_the_sources)
{
    char *train = qp_path_join(dir, "train.jsonl"), *valid = qp_path_join(dir, "valid.jsonl");
    ck_assert(!qp_file_write(train, "{}\n", 3, &err));
    accept(NULL, ARGS("--data", dir));
    ck_assert_int_eq(o->datasets.n, 1);
    ck_assert_str_eq(o->datasets.v[0].path, train);
    ck_assert_int_eq(o->test_datasets.n, 0);
    ck_assert(!qp_file_write(valid, "{}\n", 3, &err));
    accept(NULL, ARGS("--data", dir));
    ck_assert_str_eq(o->test_datasets.v[0].path, valid);
    ck_assert_str_eq(o->datasets.v[0].roles_to_train.v[0], "assistant");
    accept(NULL, ARGS("--data", train));
    ck_assert_str_eq(o->datasets.v[0].path, train);
    ck_assert_int_eq(load(NULL, ARGS("--data", "/no/such")), QP_USAGE);
    ck_assert_ptr_nonnull(strstr(err.msg, "/no/such"));
    free(train);
    free(valid);
}
END_TEST

START_TEST(a_folder_of_texts_is_taken_in_order_of_names)
{
    char *b = qp_path_join(dir, "b.txt"), *a = qp_path_join(dir, "a.txt");
    ck_assert(!qp_file_write(b, "b", 1, &err) && !qp_file_write(a, "a", 1, &err));
    accept(NULL, ARGS("--data", dir));
    ck_assert_int_eq(o->datasets.n, 2);
    ck_assert_str_eq(o->datasets.v[0].path, a);
    ck_assert_str_eq(o->datasets.v[1].path, b);
    free(a);
    free(b);
}
END_TEST

static char *trajectory(const char *yaml)
{
    qp_buf b = { 0 };
    accept(yaml, 0, NULL);
    qp_options_trajectory(o, &b);
    return b.data;
}

START_TEST(only_what_changes_the_numbers_is_in_the_trajectory)
{
    char *a = trajectory("lr_scheduler: cosine\nnum_epochs: 2\n"), *b;
    b = trajectory("lr_scheduler: cosine\nnum_epochs: 2\nlogging_steps: 7\nsave_steps: "
                   "9\noutput_dir: x\nthreads: 1\n"
                   "gradient_checkpointing: true\nbase_model: elsewhere\n");
    ck_assert_str_eq(a, b);
    free(b);
    b = trajectory("lr_scheduler: cosine\nnum_epochs: 3\n");
    ck_assert_str_ne(a, b);
    free(a);
    free(b);
    a = trajectory("lr_scheduler: constant\nwarmup_steps: 5\nnum_epochs: 2\n");
    b = trajectory("lr_scheduler: constant\nwarmup_steps: 5\nnum_epochs: 3\n");
    ck_assert_str_eq(a, b);
    free(a);
    free(b);
}
END_TEST

START_TEST(what_excludes_each_other_is_refused)
{
    REFUSE("base_model: a\nmodel_config: {hidden_size: 1}\n", "base_model and model_config");
    REFUSE("dtype: f64\nload_in: bf16\n", "f64");
    REFUSE("load_in: f64\n", "f64");
    REFUSE("sequence_len: 1048576\nmicro_batch_size: 65536\n", "sequence_len", "micro_batch_size");
    REFUSE("data: x\ndatasets: [{path: y}]\n", "datasets");
}
END_TEST

/* Every word of the table once: its own names and other tools' words for them. */
static void check_unique(const qp_option_table *t)
{
    bool synonym;
    for (int i = 0; i < t->count; i++) {
        const qp_option *r = &t->row[i];
        ck_assert_ptr_eq(qp_option_find(t, r->name, &synonym), r);
        ck_assert(!synonym);
        for (const char *w = r->synonyms; *w; w += strspn(w, " ")) {
            char *word = qp_xformat("%.*s", (int)strcspn(w, " "), w);
            ck_assert_msg(qp_option_find(t, word, &synonym) == r && synonym, "%s is taken", word);
            w += strlen(word);
            free(word);
        }
    }
}

START_TEST(no_word_stands_for_two_options)
{
    check_unique(&qp_top_options);
    check_unique(&qp_source_options);
}
END_TEST

Suite *suite_config(void)
{
    Suite *s = suite_create("config");
    TCase *t = tcase_create("options");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, defaults_are_those_of_the_interface);
    tcase_add_test(t, what_is_printed_loads_back_to_the_same);
    tcase_add_test(t, the_last_of_file_dashes_and_assignments_wins);
    tcase_add_test(t, nested_keys_can_be_set_by_dotted_paths);
    tcase_add_test(t, words_of_other_tools_are_accepted);
    tcase_add_test(t, an_unknown_key_is_refused_with_the_nearest_one);
    tcase_add_test(t, a_key_given_twice_is_refused);
    tcase_add_test(t, a_wrong_type_or_range_names_key_place_found_and_wanted);
    tcase_add_test(t, what_this_build_lacks_is_refused_by_name);
    tcase_add_test(t, yaml_that_could_grow_or_run_is_refused);
    tcase_add_test(t, broken_fragments_are_refused);
    tcase_add_test(t, a_data_folder_fills_the_sources);
    tcase_add_test(t, a_folder_of_texts_is_taken_in_order_of_names);
    tcase_add_test(t, only_what_changes_the_numbers_is_in_the_trajectory);
    tcase_add_test(t, what_excludes_each_other_is_refused);
    tcase_add_test(t, no_word_stands_for_two_options);
    suite_add_tcase(s, t);
    return s;
}
