#include "role.h"

#include <string.h>

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--child") == 0)
        return role_main(argc - 2, argv + 2);
    return 2;
}
