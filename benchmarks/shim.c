/* Valgrind client requests as functions that ctypes can call. */
#include <valgrind/callgrind.h>

void bench_start(void) {
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

void bench_dump(const char *label) {
    CALLGRIND_DUMP_STATS_AT(label);
}

void bench_stop(void) {
    CALLGRIND_STOP_INSTRUMENTATION;
}
