/* A public header stands between QP_C_BEGIN and QP_C_END, behind its includes: C++ then gives its
   names C linkage. */
#ifndef QP_BASE_C_H
#define QP_BASE_C_H
#ifdef __cplusplus
#    define QP_C_BEGIN extern "C" {
#    define QP_C_END }
#    define QP_NORETURN [[noreturn]]
#else
#    define QP_C_BEGIN
#    define QP_C_END
#    define QP_NORETURN _Noreturn
#endif
#endif
