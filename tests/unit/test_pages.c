/* The pages of a range: which are valid, and where the next one begins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/pages.h"
#include "core/slice.h"

static Pb__ResponseHeader header;
static Pb__KeyValue kvs[2], *list[2] = {&kvs[0], &kvs[1]};

/* Returns a good page at revision 10, from the key "b" on. */
static Pb__RangeResponse good_page(void) {
    Pb__RangeResponse page = PB__RANGE_RESPONSE__INIT;
    pb__response_header__init(&header);
    header.revision = 10;
    for (size_t i = 0; i < 2; i++) {
        pb__key_value__init(&kvs[i]);
        kvs[i].key = slice_bytes(i == 0 ? EW_STR("b") : EW_STR("bc"));
        kvs[i].mod_revision = 9 + (int64_t)i;
    }
    page.header = &header;
    page.kvs = list;
    page.n_kvs = 2;
    return page;
}

static void is_good(const Pb__RangeResponse *page, const char *from, int64_t revision) {
    assert_null(pages_check(page, ew_str(from), revision));
}

static void is_wrong(const Pb__RangeResponse *page, const char *from, int64_t revision, const char *why) {
    const char *wrong = pages_check(page, ew_str(from), revision);
    assert_non_null(wrong);
    assert_non_null(strstr(wrong, why));
}

static void pages_that_are_valid_or_not(void **state) {
    (void)state;
    Pb__RangeResponse page = good_page();
    is_good(&page, "b", 0);
    is_good(&page, "", 10);
    is_wrong(&page, "b", 11, "revision"); /* of a member that is behind */
    is_wrong(&page, "b", 9, "mod_revision");
    is_wrong(&page, "b1", 10, "order");
    kvs[0].mod_revision = 0;
    is_wrong(&page, "b", 10, "mod_revision");
    page = good_page();
    kvs[1].key = kvs[0].key;
    is_wrong(&page, "b", 10, "order");
    page.n_kvs = 0;
    is_good(&page, "b", 10);
    page.more = true;
    is_wrong(&page, "b", 10, "without keys");
    page.more = false;
    header.revision = 0;
    is_wrong(&page, "b", 0, "revision");
}

static void the_next_page_begins_after_the_last_key(void **state) {
    (void)state;
    const Pb__RangeResponse page = good_page();
    buffer next = {0};
    for (int i = 0; i < 2; i++) {
        assert_true(pages_next(&next, &page));
        assert_int_equal(next.len, 3);
        assert_memory_equal(next.data, "bc\0", 3);
    }
    buffer_fini(&next);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_that_are_valid_or_not),
        cmocka_unit_test(the_next_page_begins_after_the_last_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
