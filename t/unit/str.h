
/*
 * Copyright (C) MailPing
 */


/* str(): a zero-terminated string as core takes it. */

#ifndef MAILPING_TEST_STR_H
#define MAILPING_TEST_STR_H


#include "core/bytes.h"


static inline mailping_str_t
str(const char *s)
{
    return mailping_str(s, strlen(s));
}


#endif /* MAILPING_TEST_STR_H */
