
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_PUBLISHED_H
#define MAILPING_PUBLISHED_H


#include "rules.h"


/*
 * The names of the published facts by their numbers; NULL where a number is
 * free.  Events in streams hold these numbers: a fact keeps its number and its
 * meaning for ever, and new ones are only appended.  docs/facts.md is the same
 * table with the meanings.
 */
extern const char *const mailping_published_facts[MAILPING_FACTS_STORED];


#endif /* MAILPING_PUBLISHED_H */
