#include "autograd/tensor.h"
#include <stdio.h>

const char *qp_str(const qp_tensor *t)
{
    static _Thread_local char ring[4][192];
    static _Thread_local unsigned turn;
    char *s = ring[turn++ % 4];
    size_t size = sizeof ring[0],
           at = (size_t)snprintf(s, size, "%s(", qp_storages[t->storage].name);
    for (int i = 0; i < t->ndim; i++)
        at += (size_t)snprintf(s + at, size - at, i ? ", %lld" : "%lld", (long long)t->shape[i]);
    snprintf(s + at, size - at, ")");
    return s;
}
