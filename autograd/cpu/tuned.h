/* The products that `quipu bench --tune` found fastest: a text file in the user's cache folder, a
   line "CLASS TAB TYPE TAB PRODUCT" for each class of CPU and compute type, since homes are shared
   by machines. It only says what is tried first: a product that this CPU lacks or that fails its
   self-test serves nobody. */
#ifndef QP_AUTOGRAD_CPU_TUNED_H
#define QP_AUTOGRAD_CPU_TUNED_H
#include "base/dtype.h"
#include "base/err.h"

/* $XDG_CACHE_HOME/quipu/products, or ~/.cache/quipu/products; NULL where neither folder is known.
   The caller frees. */
char *qp_tuned_path(void);

/* Maker, family, model and feature bits of this CPU, without a blank: "GenuineIntel-6-143-...". The
   caller frees. */
char *qp_tuned_class(void);

/* The product for a compute type on CPUs of this class; NULL: the file is absent or unreadable, or
   does not say. The caller frees. */
char *qp_tuned_product(qp_storage compute);

/* name[type]: the product, NULL for a type to leave out. Lines of other classes stay, unless the
   file is not one of these. QP_USAGE where no folder is known. */
qp_status qp_tuned_write(const char *const name[QP_NCOMPUTE], qp_err *err) QP_MUST_CHECK;
#endif
