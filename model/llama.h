/* The Llama family (Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al. 2024,
 * arXiv:2407.21783). */
#ifndef QP_MODEL_LLAMA_H
#define QP_MODEL_LLAMA_H
#include "model/arch.h"

extern const qp_arch qp_llama;
#endif
