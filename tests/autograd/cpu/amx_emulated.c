/* The AMX product over emulated tiles: all but the instructions themselves can be tested anywhere.
   dispatch.c knows it where a program has it. */
#define QP_AMX_EMULATED
#include "autograd/cpu/gemm_amx.c"
