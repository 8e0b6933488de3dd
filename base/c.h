/* What lets the public headers be C++ as well. A header stands between QP_C_BEGIN and QP_C_END,
   behind its includes, which gives its names C linkage. Values and lists written in place, which
   C++ has no compound literals for, live there until the full expression ends: QP_VALUE(qp_axes){
   -1 }; QP_LIST(int, 4, 5) points at two ints and QP_COUNT(int, 4, 5) is 2. */
#ifndef QP_BASE_C_H
#define QP_BASE_C_H
#ifdef __cplusplus
#    include <initializer_list>
#    define QP_C_BEGIN extern "C" {
#    define QP_C_END }
#    define QP_NORETURN [[noreturn]]
#    define QP_VALUE(type) type
#    define QP_LIST(type, ...) (std::initializer_list<type>{ __VA_ARGS__ }.begin())
#    define QP_COUNT(type, ...) ((int)std::initializer_list<type>{ __VA_ARGS__ }.size())
#else
#    define QP_C_BEGIN
#    define QP_C_END
#    define QP_NORETURN _Noreturn
#    define QP_VALUE(type) (type)
#    define QP_LIST(type, ...) ((type[]){ __VA_ARGS__ })
#    define QP_COUNT(type, ...) ((int)(sizeof((type[]){ __VA_ARGS__ }) / sizeof(type)))
#endif
#endif
