/* Memory that is ours but must not be touched now: AddressSanitizer stops whoever does. Nothing
 * without it. */
#ifndef QP_BASE_ASAN_H
#define QP_BASE_ASAN_H
#if defined __SANITIZE_ADDRESS__ /* gcc's name; clang says __has_feature */
#    define QP_ASAN 1
#elif defined __has_feature
#    if __has_feature(address_sanitizer)
#        define QP_ASAN 1
#    endif
#endif
#ifdef QP_ASAN
#    include <sanitizer/asan_interface.h>
#    define QP_HIDE(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#    define QP_SHOW(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#    define QP_HIDDEN(p) __asan_address_is_poisoned(p)
#else
#    define QP_HIDE(p, n) ((void)(n))
#    define QP_SHOW(p, n) ((void)(n))
#    define QP_HIDDEN(p) 0
#endif
#endif
