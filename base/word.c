#include "base/word.h"
#include <limits.h>
#include <string.h>

enum { MOST = 127 };

static int least(int a, int b, int c) { return a < b ? (a < c ? a : c) : (b < c ? b : c); }

int qp_word_distance(const char *a, size_t na, const char *b, size_t nb)
{
    int row[MOST + 1];
    if (na > MOST) na = MOST;
    if (nb > MOST) nb = MOST;
    for (size_t j = 0; j <= nb; j++) row[j] = (int)j;
    for (size_t i = 0; i < na; i++) {
        int diagonal = row[0];
        row[0] = (int)i + 1;
        for (size_t j = 0; j < nb; j++) {
            int best = least(diagonal + (a[i] != b[j]), row[j] + 1, row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = best;
        }
    }
    return row[nb];
}

const char *qp_word_nearest(const char *given, const char *const *word, int n)
{
    const char *best = "";
    int smallest = INT_MAX;
    for (int i = 0; i < n; i++) {
        int d = qp_word_distance(given, strlen(given), word[i], strlen(word[i]));
        if (d < smallest) smallest = d, best = word[i];
    }
    return best;
}
