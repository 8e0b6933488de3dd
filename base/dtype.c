#include "base/dtype.h"

const qp_storage_info qp_storages[QP_NSTORAGE] = {
    [QP_F64] = { "f64", "F64", 1, 8 },    [QP_F32] = { "f32", "F32", 1, 4 },
    [QP_BF16] = { "bf16", "BF16", 1, 2 }, [QP_F16] = { "f16", "F16", 1, 2 },
    [QP_Q4_0] = { "q4_0", NULL, 32, 18 }, [QP_Q4_1] = { "q4_1", NULL, 32, 20 },
    [QP_Q8_0] = { "q8_0", NULL, 32, 34 }, [QP_I64] = { "i64", "I64", 1, 8 },
    [QP_I32] = { "i32", "I32", 1, 4 },    [QP_U8] = { "u8", "U8", 1, 1 },
    [QP_BOOL] = { "bool", "BOOL", 1, 1 }, [QP_OTHER] = { "other", NULL, 1, 0 },
};
