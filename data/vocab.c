#include "data/vocab.h"
#include <stdlib.h>

enum { FREE = -1, HIDDEN = -2 };

void qp_vocab_release(qp_vocab *v)
{
    qp_buf_release(&v->bytes);
    free(v->token);
    free(v->slot);
    *v = (qp_vocab){ 0 };
}

static bool same(const qp_vocab *v, int32_t id, const char *s, size_t len)
{
    const qp_token *t = &v->token[id];
    return t->len == len && qp_same_bytes(v->bytes.data + t->at, s, len);
}

int32_t qp_vocab_find(const qp_vocab *v, const char *s, size_t len, uint64_t hash)
{
    if (!v->slots) return -1;
    uint64_t mask = (uint64_t)v->slots - 1;
    const struct qp_vocab_slot *slot = v->slot;
    for (uint64_t i = hash & mask; slot[i].id != FREE; i = (i + 1) & mask)
        if (slot[i].tag == hash >> 32 && slot[i].id >= 0 && same(v, slot[i].id, s, len))
            return slot[i].id;
    return -1;
}

static uint64_t hash_of(const qp_vocab *v, int32_t id)
{
    return qp_hash_bytes(v->bytes.data + v->token[id].at, v->token[id].len);
}

static void place(qp_vocab *v, int32_t id, uint64_t hash)
{
    uint64_t mask = (uint64_t)v->slots - 1, i = hash & mask;
    while (v->slot[i].id != FREE) i = (i + 1) & mask;
    v->slot[i] = (struct qp_vocab_slot){ (uint32_t)(hash >> 32), id };
}

static void grow_slots(qp_vocab *v)
{
    struct qp_vocab_slot *old = v->slot;
    int64_t n = v->slots;
    v->slots = n ? 2 * n : 1024;
    v->slot = qp_xmalloc((size_t)v->slots * sizeof *v->slot);
    memset(v->slot, 0xff, (size_t)v->slots * sizeof *v->slot); /* id FREE */
    for (int64_t i = 0; i < n; i++)
        if (old[i].id >= 0) place(v, old[i].id, hash_of(v, old[i].id));
    free(old);
}

static void reserve(qp_vocab *v, int32_t id)
{
    if (id >= v->cap) {
        int64_t cap = v->cap ? v->cap : 1024;
        while (cap <= id) cap *= 2;
        v->token = qp_xrealloc(v->token, (size_t)cap, sizeof *v->token);
        memset(v->token + v->cap, 0, (size_t)(cap - v->cap) * sizeof *v->token);
        v->cap = cap;
    }
    if (id >= v->n) v->n = id + 1;
}

bool qp_vocab_add(qp_vocab *v, int32_t id, const char *s, size_t len, bool searchable)
{
    QP_ASSERT(id >= 0 && id <= QP_VOCAB_MAX_ID, "vocabulary id %d", id);
    if (id < v->n && v->token[id].flags) return false;
    uint64_t hash = qp_hash_bytes(s, len);
    if (searchable && qp_vocab_find(v, s, len, hash) >= 0) return false;
    reserve(v, id);
    uint8_t flags = searchable ? QP_TOKEN_PRESENT | QP_TOKEN_BYTES : QP_TOKEN_PRESENT;
    v->token[id] = (qp_token){ (uint32_t)v->bytes.len, (uint32_t)len, flags };
    qp_buf_add(&v->bytes, s, len);
    QP_ASSERT(v->bytes.len <= UINT32_MAX, "a vocabulary of more than 4 GB");
    if (searchable) {
        if (2 * v->used >= v->slots) grow_slots(v);
        place(v, id, hash);
        v->used++;
    }
    return true;
}

void qp_vocab_hide(qp_vocab *v, int32_t id)
{
    if (!v->slots) return;
    uint64_t mask = (uint64_t)v->slots - 1;
    for (uint64_t i = hash_of(v, id) & mask; v->slot[i].id != FREE; i = (i + 1) & mask)
        if (v->slot[i].id == id) v->slot[i].id = HIDDEN;
}

const char *qp_vocab_bytes(const qp_vocab *v, int64_t id, size_t *len)
{
    if (id < 0 || id >= v->n || !v->token[id].flags) return NULL;
    *len = v->token[id].len;
    return v->bytes.data ? v->bytes.data + v->token[id].at : "";
}
