/* Commands as a user types them: the built program, its output, its exit code. */
#include "base/asan.h"
#include "model/model.h"
#include "tests/base/files.h"
#include "tests/cli/program.h"
#include "tests/model/tiny.h"
#include "tests/suites.h"
#include "train/manifest.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* base/: a small model that reads bytes; run/final/: an adapter on it. */
static void write_models(void)
{
    qp_config cfg = tiny_config();
    cfg.vocab_size = 256;
    cfg.bos_id = -1;
    cfg.n_eos = 0;
    char *base = folder("base"), *adapter = folder("run/final");
    qp_model *m = tiny_sealed(&cfg, QP_F32, true);
    ck_assert_msg(!qp_model_save(m, base, QP_F32, &err), "%s", err.msg);
    qp_model_free(m);
    qp_model_options o = { .compute = QP_F32, .load_in = QP_F32 };
    ck_assert_msg(!qp_model_open(&m, base, &o, &err), "%s", err.msg);
    tiny_add_lora(m, 0);
    tiny_seal(m);
    tiny_randomise(m, "lora_B", 0.5);
    ck_assert_msg(!qp_model_save_adapter(m, adapter, "base", &err), "%s", err.msg);
    qp_model_free(m);
    free(base);
    free(adapter);
}

static void set_up(void)
{
    program_set_up();
    write_models();
    qp_buf text = { 0 };
    for (int i = 0; i < 40; i++) qp_buf_printf(&text, "%d knots on cord %d\n", 3 * i + 1, i);
    write_file("text.txt", text.data);
    qp_buf_release(&text);
}

static double perplexity(const char *words)
{
    expect(run("perplexity -f text.txt -c 32 --dtype f32 --load-in f32 --json %s", words), 0);
    ck_assert_double_eq(exp(json_number("nll")), json_number("ppl"));
    return json_number("ppl");
}

START_TEST(perplexity_ends_with_the_two_lines)
{
    long long windows, tokens;
    double nll, bits, ppl, error;
    int end = 0;
    expect(run("perplexity -m base -f text.txt -c 32 --stride 8 --dtype f32 --load-in f32"), 0);
    sscanf(out.data,
           "method hf | windows %lld | tokens scored %lld | nll %lf | bits/byte %lf\nFinal "
           "estimate: PPL = %lf +/- %lf\n%n",
           &windows, &tokens, &nll, &bits, &ppl, &error, &end);
    ck_assert_msg(end == (int)out.len, "%s", out.data);
    ck_assert_int_gt(windows, 10);
    ck_assert_double_lt(fabs(log(ppl) - nll), 1e-4);      /* four digits are printed */
    ck_assert_double_lt(fabs(nll / M_LN2 - bits), 0.006); /* a token is a byte */
    ck_assert(error > 0 && error < ppl);
    ck_assert_str_eq(said.data, "");
}
END_TEST

START_TEST(a_model_is_found_by_any_of_its_folders)
{
    double base = perplexity("-m base"), adapter = perplexity("-m base --adapter run/final");
    ck_assert_double_ne(base, adapter);
    ck_assert_double_eq(perplexity("-m run"), adapter);
    ck_assert_double_eq(perplexity("-m run/final"), adapter);
    ck_assert_double_eq(perplexity("-m base --adapter run"), adapter);
    ck_assert_double_eq(perplexity("-m base --tokenizer bytes"), base);
    ck_assert_double_eq(perplexity("-m base --threads 2"), base);
    ck_assert_double_eq(perplexity("-m base --rows 1"), base);
}
END_TEST

/* Meta's vocabulary is found, and this one seen to be another model's. */
START_TEST(a_tokenizer_model_beside_the_weights_is_taken)
{
    write_file("base/tokenizer.model", "YQ== 0\nYg== 1\n");
    expect_error(run("perplexity -m base -f text.txt"), QP_USAGE,
                 "base has 258 tokens, the model 256");
    expect(run("tokenize -m base -p ab"), 0);
    ck_assert_str_eq(out.data, "2 0 1\n");
}
END_TEST

START_TEST(a_killed_run_stands_for_its_latest_checkpoint)
{
    double adapter = perplexity("-m run");
    shell("mv run/final run/checkpoint-000002 && ln -s checkpoint-000002 run/latest");
    ck_assert_double_eq(perplexity("-m run"), adapter);
}
END_TEST

START_TEST(mistakes_are_named_and_have_their_exit_codes)
{
    expect_error(run("perplexity -m base -f text.txt --strde 3"), QP_USAGE,
                 "--strde (nearest: --stride");
    expect_error(run("perplexity -m base -f text.txt -c many"), QP_USAGE,
                 "--context many: wanted a whole number");
    expect_error(run("perplexity -m base -f text.txt -c"), QP_USAGE, "--context wants a value");
    expect_error(run("perplexity -m base -f text.txt extra"), QP_USAGE, "\"extra\"");
    expect_error(run("perplexity -m base"), QP_USAGE, "-f FILE");
    expect_error(run("perplexity -f text.txt"), QP_USAGE, "-m MODEL");
    expect_error(run("perplexity -m nowhere -f text.txt"), QP_USAGE,
                 "nowhere: no such file or folder");
    expect_error(run("perplexity -m . -f text.txt"), QP_USAGE, "no model here");
    expect_error(run("perplexity -m base -f nothing.txt"), QP_USAGE, "nothing.txt");
    expect_error(run("perplexity -m base -f text.txt --dtype f16"), QP_USAGE, "--dtype f16");
    expect_error(run("perplexity -m run --adapter run/final -f text.txt"), QP_USAGE,
                 "adapter itself");
    expect(run("perplexity -m base -f text.txt --method llama.cpp -c 9000000000000000000"),
           QP_USAGE); /* after a warning */
    ck_assert(strstr(said.data, "context 9000000000000000000: wanted 2 to ") != NULL);
    expect_error(run("perplexity -m base -f text.txt -c 32 --rows -1"), QP_USAGE, "rows -1");
    expect_error(run("generate -m base"), QP_USAGE, "-p TEXT");
    expect_error(run("generate -m base -f text.txt -n 9223372036854775807"), QP_USAGE,
                 "the model has 512 positions");
    expect_error(run("generate -m base -p a --chat"), QP_USAGE, "template");
    expect_error(run("generate -m base -p ''"), QP_USAGE, "no tokens");
    expect_error(run("generate -m base -p a --temperature -1"), QP_USAGE,
                 "--temperature -1: wanted 0 or more");
    expect_error(run("generate -m base -p a --top-p 0"), QP_USAGE, "--top-p 0");
    expect_error(run("generate -m base -p a --repetition-penalty 0"), QP_USAGE,
                 "--repetition-penalty 0");
    expect_error(run("generate -m base/model.safetensors -p a"), QP_USAGE, "wanted its folder");
    expect_error(run("perplexty -m base"), QP_USAGE, "'perplexty' (nearest: perplexity");
    expect_error(run("inspect"), QP_USAGE, "one PATH");
    expect_error(run("inspect text.txt"), QP_USAGE, "text.txt");
    shell("truncate -s -8 base/model.safetensors");
    expect_error(run("perplexity -m base -f text.txt"), QP_BADFILE, "base/model.safetensors");
}
END_TEST

START_TEST(mistakes_in_a_run_leave_nothing_behind)
{
#define TRAIN                                                                                      \
    "train --data text.txt tokenizer=bytes output_dir=out/try max_steps=1 sequence_len=32 "
    static const struct {
        const char *words, *part;
        int code;
    } wrong[] = {
        { TRAIN, "base_model: missing", QP_USAGE },
        { TRAIN "base_model=base learnin_rate=1", "nearest known one is learning_rate", QP_USAGE },
        { TRAIN "base_model=base data=nothing.txt", "nothing.txt: no such file", QP_USAGE },
        { TRAIN "base_model=base data=null datasets.0.path=nothing", "nothing: no such file",
          QP_USAGE },
        { TRAIN "base_model=base data=null datasets.0.path=text.txt datasets.0.type=alpaca",
          "type alpaca wants records", QP_USAGE },
        { TRAIN "base_model=base sequence_len=4096", "base's max_position_embeddings", QP_USAGE },
        { TRAIN "base_model=base memory=1K", "memory 1.0K: this run needs", QP_NOMEM },
        { TRAIN "adapter=lora 'model_config={hidden_size: 8}'", "adapter lora: wants a base_model",
          QP_USAGE },
        { TRAIN "base_model=.", "base_model .: no config.json", QP_USAGE },
        { TRAIN "base_model=run", "an adapter: lora_model_dir", QP_USAGE },
        { TRAIN "base_model=base tokenizer=null", "base: no tokenizer.json", QP_USAGE },
        { TRAIN "base_model=base/config.json", "wanted its folder", QP_USAGE },
        { TRAIN "'model_config={hidden_size: 8, hiden_act: silu}'",
          "nearest known one is hidden_act", QP_USAGE },
        { TRAIN "'model_config={hidden_size: 8}'", "model_config: intermediate_size is missing",
          QP_USAGE },
    };
#undef TRAIN
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *words = qp_xformat("%s", wrong[i].words);
        expect_error(run("%s", words), wrong[i].code, wrong[i].part);
        char *left = qp_path_join(dir, "out/try");
        ck_assert_msg(!qp_path_exists(left), "%s left %s", words, left);
        free(left);
        free(words);
    }
}
END_TEST

/* Exit code of a whole line for the shell, `quipu` in it being the program. */
static int shell_code(const char *line)
{
    char *whole = qp_xformat("cd %s && quipu() { %s \"$@\"; }; (%s) > out.txt 2> err.txt", dir,
                             program, line);
    int status = system(whole);
    free(whole);
    read_back("err.txt", &said);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

START_TEST(output_that_is_lost_is_an_error)
{
    static const char *const words[] = { "--help",       "--version",
                                         "inspect base", "env",
                                         "train --help", "train --print-config",
                                         "env --json",   "perplexity -m base -f text.txt" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char *line = qp_xformat("quipu %s > /dev/full", words[i]);
        expect_error(shell_code(line), QP_IO, "standard output: No space left on device");
        free(line);
        line = qp_xformat("quipu %s >&-", words[i]);
        expect_error(shell_code(line), QP_IO, "standard output: Bad file descriptor");
        free(line);
    }
}
END_TEST

#define TRAIN                                                                                      \
    "quipu train --data text.txt base_model=base tokenizer=bytes max_steps=2 "                     \
    "sequence_len=32 output_dir=out/try "

START_TEST(a_run_goes_on_without_a_reader)
{
    static const char *const line[] = { TRAIN ">&-", TRAIN "> /dev/full", TRAIN ">&- 2>&- <&-",
                                        "{ " TRAIN "; echo $? > code; } | true; exit $(cat code)" };
    for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
        expect(shell_code(line[i]), 0);
        char *lock = qp_path_join(dir, "out/try/.lock"),
             *final = qp_path_join(dir, "out/try/final");
        qp_buf text = { 0 };
        ck_assert(qp_path_is_dir(final));
        ck_assert(!qp_file_read(lock, &text, &err));
        /* what is printed must not end in a file that was given a closed stream's number */
        ck_assert_msg(strcspn(text.data, "\n") == text.len - 1, "%s", text.data);
        qp_buf_release(&text);
        free(lock);
        free(final);
        shell("rm -rf out");
    }
}
END_TEST

START_TEST(a_folder_called_final_that_is_not_ours_stays)
{
    free(folder("out/try/final"));
    write_file("out/try/final/notes.txt", "mine");
    expect_error(shell_code(TRAIN), QP_USAGE, "out/try/final is in the way");
    read_back("out/try/final/notes.txt", &said);
    ck_assert_str_eq(said.data, "mine");
}
END_TEST

START_TEST(a_damaged_result_is_written_again)
{
    expect(shell_code(TRAIN), 0);
    shell("cp out/try/final/adapter_model.safetensors whole && "
          "truncate -s -1 out/try/final/adapter_model.safetensors");
    expect(shell_code(TRAIN), 0);
    ck_assert_msg(strstr(said.data, "it is written again") != NULL, "%s", said.data);
    shell("cmp whole out/try/final/adapter_model.safetensors");
    expect(shell_code(TRAIN), 0);
    read_back("out.txt", &out);
    ck_assert_msg(strstr(out.data, "this run is finished") != NULL, "%s", out.data);
}
END_TEST

/* transformers loads an adapter's base by the path in adapter_config.json, unless config.json lies
   beside: then it looks for the base's weights there too. */
START_TEST(an_adapter_works_from_any_folder)
{
    expect(shell_code(TRAIN), 0);
    shell("test ! -e out/try/final/config.json && test -e out/try/final/adapter_config.json");
    double here = perplexity("-m out/try --tokenizer bytes");
    expect(shell_code("cd out && quipu perplexity -m try --tokenizer bytes -f ../text.txt -c 32 "
                      "--dtype f32 --load-in f32 --json"),
           0);
    read_back("out.txt", &out);
    ck_assert_double_eq(json_number("ppl"), here);
}
END_TEST

/* A checkpoint holds no tokenizer: the run's settings name it. This one has more ids than bytes. */
START_TEST(a_stopped_run_knows_its_tokenizer)
{
    write_file("ids.json",
               "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, "
               "\"merges\": [\"a b\"]}, \"decoder\": {\"type\": \"ByteLevel\"}, "
               "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}}");
    write_file("ab.txt", "abaababbbabab");
    expect(shell_code(TRAIN "base_model=null adapter=none tokenizer=ids.json data=ab.txt "
                            "'model_config={hidden_size: 8, intermediate_size: 8, "
                            "num_hidden_layers: 1, num_attention_heads: 1}'"),
           0);
    shell("rm -r out/try/final");
    expect(run("generate -m out/try -p ab -n 3"), 0);
    expect(run("tokenize -m out/try/checkpoint-000002 -p abb"), 0);
    ck_assert_str_eq(out.data, "2 1\n");
    shell("mv ids.json elsewhere.json");
    expect_error(run("generate -m out/try -p ab -n 3"), QP_USAGE, "--tokenizer FILE");
}
END_TEST

START_TEST(an_adapter_on_a_gguf_has_the_config_that_it_lacks)
{
    const char *gguf = shared_path("gguf/tiny-llama31.gguf");
    if (!gguf) return;
    char *whole = realpath(gguf, NULL), *line = qp_xformat(TRAIN "base_model=%s", whole);
    expect(shell_code(line), 0);
    shell("test -e out/try/final/config.json && grep -q tiny-llama31.gguf "
          "out/try/final/adapter_config.json");
    free(whole);
    free(line);
}
END_TEST
#undef TRAIN

START_TEST(a_plan_counts_no_more_rows_than_there_are)
{
    static const char *const micro[] = { "1000", "65536" };
    double bytes[2];
    for (int i = 0; i < 2; i++) {
        expect(run("plan --json base_model=base tokenizer=bytes data=text.txt sequence_len=32 "
                   "micro_batch_size=%s",
                   micro[i]),
               0);
        bytes[i] = json_number("peak_rss_bytes");
    }
    ck_assert_double_lt(bytes[1], bytes[0] * 1.1); /* the process itself is counted, as measured */
}
END_TEST

static double children_peak(void)
{
    struct rusage u;
    ck_assert_int_eq(getrusage(RUSAGE_CHILDREN, &u), 0);
    return 1024.0 * (double)u.ru_maxrss;
}

#define SIZES                                                                                      \
    "tokenizer=bytes data=text.txt chat_template=none adapter=none "                               \
    "'model_config={hidden_size: %d, intermediate_size: %d, num_hidden_layers: %d, "               \
    "num_attention_heads: %d, num_key_value_heads: 8, vocab_size: %d}' "

/* The room above: what was reserved for libraries, of which this machine uses a part, and the
   larger of two work areas. Below there is none: a plan that is too low ends in the kernel's
   killing. */
START_TEST(a_small_run_takes_what_was_planned)
{
    static const char *const more[] = { "", "dtype=f32", "profile=true", "threads=1" };
    const double room = 44 << 20;
    char *words = qp_xformat(SIZES "sequence_len=32 max_steps=4 save_steps=2 save_total_limit=1 %s",
                             64, 128, 2, 8, 256, more[_i]);
    expect(run("plan --json %s", words), 0);
    const double planned = json_number("peak_rss_bytes");
    expect(run("train output_dir=small %s", words), 0);
    const double peak = children_peak();
#ifdef QP_ASAN
    const bool compared = false; /* its shadow and quarantine are not ours to plan */
#else
    const bool compared = true;
#endif
    ck_assert_msg(!compared || (peak <= planned && peak > planned - room),
                  "%s: planned %.1f MB, measured %.1f MB", more[_i], planned / 1e6, peak / 1e6);
    free(words);
}
END_TEST

/* Llama 3.1 405B's sizes: 18 bytes a parameter, 7.3 TB. */
START_TEST(planning_the_largest_model_touches_nothing_of_it)
{
    char *words = qp_xformat(SIZES "sequence_len=32", 16384, 53248, 126, 128, 128256);
    expect(run("plan --json %s", words), 0);
    ck_assert_double_gt(json_number("peak_rss_bytes"), 18 * 405e9);
#ifdef QP_ASAN
    const double most = 2e9; /* with the sanitizer's shadow: 0.42 GB seen */
#else
    const double most = 200e6;
#endif
    ck_assert_double_lt(children_peak(), most);
    free(words);
}
END_TEST
#undef SIZES

START_TEST(the_configuration_may_stand_behind_print_config)
{
    write_file("c.yaml", "base_model: base\ntokenizer: bytes\nseed: 7\n");
    expect(run("train --print-config c.yaml seed=8"), 0);
    ck_assert_msg(strstr(out.data, "seed: 8\n") != NULL, "%s", out.data);
    expect(run("train c.yaml --print-config"), 0);
    ck_assert_msg(strstr(out.data, "seed: 7\n") != NULL, "%s", out.data);
    expect(run("help train"), 0);
    ck_assert(strstr(out.data, "--print-config"));
}
END_TEST

START_TEST(every_command_has_a_page_of_help)
{
    static const char *const commands[] = {
#define COMMAND(name, aliases, summary) #name,
#include "cli/commands.def"
#undef COMMAND
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        expect(run("%s --help", commands[i]), 0);
        ck_assert_str_eq(said.data, "");
        char *example = qp_xformat("quipu %s ", commands[i]);
        ck_assert_msg(strstr(out.data, example) != NULL, "%s--help shows no whole example",
                      example);
        free(example);
    }
}
END_TEST

/* Only what this build can do is offered. */
START_TEST(help_of_train_shows_choices_and_the_entries_of_datasets)
{
    expect(run("train --help"), 0);
    ck_assert(strstr(out.data, "(lora, none) [null]") && strstr(out.data, "(bf16, f32, f64)"));
    ck_assert(strstr(out.data, "  roles_to_train ") && !strstr(out.data, "adamw_8bit"));
#define OPT(kind, name, ...) ck_assert_msg(strstr(out.data, " " #name) != NULL, "no " #name);
#define SRC OPT
#include "train/options.def"
}
END_TEST

START_TEST(generation_repeats_itself_by_its_seed)
{
    char *first;
    expect(run("generate -m base -p 'knot' -n 30 --temperature 1 --seed 3"), 0);
    first = qp_xstrdup(out.data);
    ck_assert_msg(strstr(said.data, "prompt 4 tokens") && strstr(said.data, "generated 30 tokens"),
                  "%s", said.data);
    expect(run("generate -m base -p 'knot' -n 30 --temperature 1 --seed 3"), 0);
    ck_assert_str_eq(out.data, first);
    expect(run("generate -m base -p 'knot' -n 30 --temperature 1 --seed 4"), 0);
    ck_assert_str_ne(out.data, first);
    free(first);
    write_file("prompt.txt", "knot");
    expect(run("generate -m base -f prompt.txt -n 30 --temperature 1 --seed 4 --json"), 0);
    ck_assert_double_eq(json_number("tokens"), 30);
    ck_assert_double_eq(json_number("prompt_tokens"), 4);
}
END_TEST

START_TEST(inspect_shows_what_is_there)
{
    expect(run("inspect base"), 0);
    ck_assert(strstr(out.data, "LlamaForCausalLM | parameters ") &&
              strstr(out.data, "model.layers.1.mlp.up_proj.weight"));
    expect(run("inspect run --json --hash"), 0);
    qp_value *v;
    ck_assert_msg(!qp_json_parse(&v, out.data, out.len, &err), "%s", err.msg);
    const qp_value *tensors = qp_json_get(v, "tensors"),
                   *hash = qp_json_get(qp_json_at(tensors, 0), "sha256");
    ck_assert_int_eq(tensors->count, 2 * 2 * 7); /* A and B of seven linears in two layers */
    ck_assert_int_eq(hash->str_len, 64);
    ck_assert_str_eq(qp_json_get(v, "kind")->str, "adapter");
    qp_json_free(v);
}
END_TEST

START_TEST(inspect_names_types_it_cannot_read_and_lets_no_name_steer_the_terminal)
{
    static const char header[] = "{\"a\\u001b[31m\": {\"dtype\": \"F8_E4M3\", \"shape\": [3], "
                                 "\"data_offsets\": [0, 3]}} ";
    const uint64_t len = sizeof header - 1;
    char *path = qp_path_join(dir, "x.safetensors");
    qp_buf file = { 0 };
    qp_buf_add(&file, &len, sizeof len);
    qp_buf_str(&file, header);
    qp_buf_add(&file, "abc", 3);
    ck_assert_msg(!qp_file_write(path, file.data, file.len, &err), "%s", err.msg);
    expect(run("inspect x.safetensors"), 0);
    ck_assert_msg(strstr(out.data, "a\\u001b[31m") && strstr(out.data, " F8_E4M3 "), "%s",
                  out.data);
    ck_assert_ptr_null(strchr(out.data, '\x1b'));
    qp_buf_release(&file);
    free(path);
}
END_TEST

START_TEST(inspect_counts_what_a_gguf_lists)
{
    char *found = test_shared("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    if (!found) return;
    char *gguf = realpath(found, NULL);
    free(found);
    expect(run("inspect %s --json", gguf), 0);
    qp_value *v;
    ck_assert_msg(!qp_json_parse(&v, out.data, out.len, &err), "%s", err.msg);
    const qp_value *tokens = qp_json_get(qp_json_get(v, "metadata"), "tokenizer.ggml.tokens"),
                   *count = qp_json_get(tokens, "count");
    ck_assert(count && count->integer == 49152);
    qp_json_free(v);
    free(gguf);
}
END_TEST

START_TEST(verify_finds_a_changed_byte)
{
    expect_error(run("inspect run --verify"), QP_USAGE, "nothing to verify");
    char *final = qp_path_join(dir, "run/final");
    ck_assert_msg(!qp_manifest_write(final, NULL, &err), "%s", err.msg);
    shell("ln -s final run/latest");
    expect(run("inspect run --verify"), 0);
    const char *verified = strstr(out.data, "every file is as");
    ck_assert_msg(verified && !strstr(verified + 1, "every file is as"), "%s", out.data);
    expect(run("inspect run/final --verify"), 0);
    char *path = qp_path_join(final, "adapter_model.safetensors");
    FILE *f = fopen(path, "r+b");
    fseek(f, -1, SEEK_END);
    int last = fgetc(f);
    fseek(f, -1, SEEK_END);
    fputc(last ^ 1, f);
    fclose(f);
    expect_error(run("inspect run --verify"), QP_BADFILE, "adapter_model.safetensors");
    free(path);
    free(final);
}
END_TEST

START_TEST(env_names_the_versions_and_the_kernel_of_every_op)
{
    expect(run("env --json"), 0);
    qp_value *v;
    ck_assert_msg(!qp_json_parse(&v, out.data, out.len, &err), "%s", err.msg);
    static const char *const versions[] = { "quipu", "compiler", "openblas", "onednn",
                                            "hdf5",  "libyaml",  "pcre2" };
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        const qp_value *x = qp_json_get(v, versions[i]);
        ck_assert_msg(x && strpbrk(x->str, "0123456789"), "no version of %s", versions[i]);
    }
    const qp_value *origin = qp_json_get(v, "origin");
#define QP_KERNEL(kernel, args)                                                                    \
    for (qp_storage s = QP_F64; s < QP_NCOMPUTE; s++) {                                            \
        const qp_value *x = qp_json_get(qp_json_get(origin, #kernel), qp_storages[s].name);        \
        ck_assert_msg(x && x->str_len > 0, "no origin of %s", #kernel);                            \
    }
#include "autograd/kernels.def"
#undef QP_KERNEL
    qp_json_free(v);
}
END_TEST

Suite *suite_commands(void)
{
    Suite *s = suite_create("commands");
    TCase *t = tcase_create("commands");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, program_tear_down);
    tcase_add_test(t, perplexity_ends_with_the_two_lines);
    tcase_add_test(t, a_model_is_found_by_any_of_its_folders);
    tcase_add_test(t, a_tokenizer_model_beside_the_weights_is_taken);
    tcase_add_test(t, a_killed_run_stands_for_its_latest_checkpoint);
    tcase_add_test(t, mistakes_are_named_and_have_their_exit_codes);
    tcase_add_test(t, mistakes_in_a_run_leave_nothing_behind);
    tcase_add_test(t, output_that_is_lost_is_an_error);
    tcase_add_test(t, a_run_goes_on_without_a_reader);
    tcase_add_test(t, a_folder_called_final_that_is_not_ours_stays);
    tcase_add_test(t, a_damaged_result_is_written_again);
    tcase_add_test(t, an_adapter_works_from_any_folder);
    tcase_add_test(t, a_stopped_run_knows_its_tokenizer);
    tcase_add_test(t, an_adapter_on_a_gguf_has_the_config_that_it_lacks);
    tcase_add_test(t, a_plan_counts_no_more_rows_than_there_are);
    tcase_add_loop_test(t, a_small_run_takes_what_was_planned, 0, 4);
    tcase_add_test(t, planning_the_largest_model_touches_nothing_of_it);
    tcase_add_test(t, the_configuration_may_stand_behind_print_config);
    tcase_add_test(t, every_command_has_a_page_of_help);
    tcase_add_test(t, help_of_train_shows_choices_and_the_entries_of_datasets);
    tcase_add_test(t, generation_repeats_itself_by_its_seed);
    tcase_add_test(t, inspect_shows_what_is_there);
    tcase_add_test(t, inspect_names_types_it_cannot_read_and_lets_no_name_steer_the_terminal);
    tcase_add_test(t, inspect_counts_what_a_gguf_lists);
    tcase_add_test(t, verify_finds_a_changed_byte);
    tcase_add_test(t, env_names_the_versions_and_the_kernel_of_every_op);
    suite_add_tcase(s, t);
    return s;
}
