// Gives MicroPython's heap two areas, taken before Wi-Fi and TLS take anything, and never another one: it would double,
// or take the largest piece there is (py/gc.c, gc_try_add_heap), and leave TLS none.
// The second area is asked for when the first is full, and handed back when it is empty; it is kept here for the next time.

#include <stdlib.h>

#include "py/mpconfig.h"

#define SECOND (36 * 1024)

size_t __wrap_gc_get_max_new_split(void);

static void *spare;
static char begun;

// MP_PLAT_ALLOC_HEAP
void *tocsin_area(size_t size) {
    if (!begun) { // the first area (ports/esp32/main.c)
        begun = 1;
        void *first = malloc(size);
        spare = malloc(SECOND);
        return first;
    }
    void *area = size <= SECOND ? spare : NULL;
    if (area) {
        spare = NULL;
    }
    return area;
}

// MP_PLAT_FREE_HEAP: only the second area is ever given back.
void tocsin_area_free(void *area) {
    spare = area;
}

// Instead of the port's: octets of the largest area that may be added.
size_t __wrap_gc_get_max_new_split(void) {
    return spare ? SECOND : 0;
}
