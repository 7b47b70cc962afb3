/* A shared object that is not a plugin. */
int something_else(void);
int something_else(void) {
    return 0;
}
