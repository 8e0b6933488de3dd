#include "autograd/cpu/tuned.h"
#include "base/zio.h"
#ifdef __x86_64__
#    include <cpuid.h>
#endif
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

static const char heading[] =
    "# quipu bench --tune: the fastest product by class of CPU and type\n";

/* The XDG base directory specification: a relative path is no path. */
char *qp_tuned_path(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache == '/') return qp_xformat("%s/quipu/products", cache);
    return home && *home == '/' ? qp_xformat("%s/.cache/quipu/products", home) : NULL;
}

char *qp_tuned_class(void)
{
#ifdef __x86_64__
    unsigned maker[4] = { 0 }, basic[2] = { 0 }, more[3] = { 0 }, version = 0, bf16 = 0, a, b, d;
    __get_cpuid(0, &a, &maker[0], &maker[2], &maker[1]);
    __get_cpuid(1, &version, &b, &basic[0], &basic[1]);
    __get_cpuid_count(7, 0, &a, &more[0], &more[1], &more[2]);
    __get_cpuid_count(7, 1, &bf16, &a, &b, &d);
    const unsigned base = version >> 8 & 15, model = version >> 4 & 15;
    const unsigned family = base == 15 ? base + (version >> 20 & 255) : base;
    const unsigned extended = base == 6 || base == 15 ? version >> 12 & 0xf0 : 0;
    return qp_xformat("%.12s-%u-%u-%x-%x-%x-%x-%x", (const char *)maker, family, extended + model,
                      basic[0], more[0], more[1], more[2], bf16);
#else
    struct utsname u;
    return qp_xstrdup(uname(&u) ? "unknown" : u.machine);
#endif
}

/* The next line of a file's text, cut off in place; NULL at its end. */
static char *next_line(char **at)
{
    char *line = *at;
    if (!*line) return NULL;
    char *end = line + strcspn(line, "\n");
    *at = end + (*end == '\n');
    *end = '\0';
    return line;
}

/* What stands behind "CLASS TAB TYPE TAB"; NULL in any other line. */
static const char *product_in(const char *line, const char *class, const char *type)
{
    const size_t c = strlen(class), t = strlen(type);
    const bool ours = !strncmp(line, class, c) && line[c] == '\t' &&
                      !strncmp(line + c + 1, type, t) && line[c + 1 + t] == '\t';
    return ours && line[c + t + 2] ? line + c + t + 2 : NULL;
}

/* The file's text, empty if it has no right beginning. */
static void read_text(const char *path, qp_buf *text)
{
    qp_err ignored = { 0 };
    if (!path || qp_file_read(path, text, &ignored)) qp_buf_clear(text);
    qp_buf_str(text, "");
    if (strncmp(text->data, heading, strlen(heading))) qp_buf_clear(text), qp_buf_str(text, "");
}

char *qp_tuned_product(qp_storage compute)
{
    char *path = qp_tuned_path(), *class = qp_tuned_class(), *found = NULL;
    qp_buf text = { 0 };
    read_text(path, &text);
    for (char *at = text.data, *line; !found && (line = next_line(&at));) {
        const char *name = product_in(line, class, qp_storages[compute].name);
        if (name) found = qp_xstrdup(name);
    }
    qp_buf_release(&text);
    free(class);
    free(path);
    return found;
}

qp_status qp_tuned_write(const char *const name[QP_NCOMPUTE], qp_err *err)
{
    char *path = qp_tuned_path(), *class = qp_tuned_class();
    if (!path) {
        free(class);
        return qp_fail(err, QP_USAGE, "neither XDG_CACHE_HOME nor HOME names a folder");
    }
    const size_t c = strlen(class);
    char *folder = qp_path_parent(path);
    qp_buf old = { 0 }, new = { 0 };
    qp_buf_str(&new, heading);
    read_text(path, &old);
    for (char *at = old.data, *line; (line = next_line(&at));)
        if (*line != '#' && (strncmp(line, class, c) || line[c] != '\t'))
            qp_buf_printf(&new, "%s\n", line);
    for (int t = 0; t < QP_NCOMPUTE; t++)
        if (name[t]) qp_buf_printf(&new, "%s\t%s\t%s\n", class, qp_storages[t].name, name[t]);
    qp_status rc = qp_mkdirs(folder, err);
    if (!rc) rc = qp_file_write(path, new.data, new.len, err);
    qp_buf_release(&old);
    qp_buf_release(&new);
    free(folder);
    free(path);
    free(class);
    return rc;
}
