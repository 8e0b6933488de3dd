/* The KV cache as an architecture uses it. */
#ifndef QP_MODEL_KV_H
#define QP_MODEL_KV_H
#include "model/model.h"

/* Appends the batch's keys and values (n, G*E) to a layer and puts tensors over all its rows in
 * their place. */
void qp_kv_put(qp_ctx *c, qp_kv *kv, int64_t layer, qp_tensor **k, qp_tensor **v);
void qp_kv_advance(qp_kv *kv, int64_t n); /* once every layer has its rows */
#endif
