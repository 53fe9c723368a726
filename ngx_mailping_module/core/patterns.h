
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_PATTERNS_H
#define MAILPING_PATTERNS_H


#include "bytes.h"


/*
 * Many strings in one pass over a text, without regard to the case of ASCII
 * letters: an Aho-Corasick automaton, compiled to a table with one row a state
 * and one column a class of bytes that no pattern tells apart.
 */

#define MAILPING_PATTERN_MAX   1024    /* bytes of one pattern */
#define MAILPING_PATTERN_TEXT  2048    /* bytes of a text that are read */

#define MAILPING_PATTERN_BEGIN 1       /* matches at the text's begin only */
#define MAILPING_PATTERN_END   2       /* at its end only */

/* not behind, not before an ASCII letter or digit */

#define MAILPING_PATTERN_WORD_BEGIN  4
#define MAILPING_PATTERN_WORD_END    8

#define MAILPING_PATTERN_NONE  UINT32_MAX

/* the table's size is bounded: 64 MiB */

#define MAILPING_PATTERNS_TABLE_MAX  (1 << 24)


typedef struct mailping_patterns_s  mailping_patterns_t;


/*
 * Makes an empty set of patterns.  Returns NULL when there is no memory.  The
 * caller owns it and frees it with mailping_patterns_destroy(), which accepts
 * NULL.
 */
mailping_patterns_t *mailping_patterns_create(void);
void mailping_patterns_destroy(mailping_patterns_t *p);

/*
 * Adds a pattern; text is copied.  anchors are MAILPING_PATTERN_BEGIN, _END,
 * _WORD_BEGIN and _WORD_END or'ed; an empty text needs exactly the first two
 * and matches an empty text.  Several patterns
 * may have one id.  Those with a rank compete in mailping_patterns_match(),
 * UINT64_MAX is no rank.  Returns MAILPING_OK; MAILPING_DECLINED when text is
 * longer than MAILPING_PATTERN_MAX or matches everywhere; MAILPING_ERROR when
 * there is no memory.
 */
int mailping_patterns_add(mailping_patterns_t *p, mailping_str_t text,
    unsigned anchors, uint32_t id, uint64_t rank);

/*
 * Builds the automaton.  Returns MAILPING_OK; MAILPING_DECLINED when the table
 * would exceed MAILPING_PATTERNS_TABLE_MAX, *n is the number of the pattern
 * that does not fit then, from 0 in the order of adding; MAILPING_ERROR when
 * there is no memory.
 */
int mailping_patterns_compile(mailping_patterns_t *p, uint32_t *n);

/*
 * Sets bit id of bits for every pattern without a rank that is in text, and
 * for the one with the lowest rank; returns the id of the latter, or
 * MAILPING_PATTERN_NONE when there is none.  Of a text that is
 * longer than MAILPING_PATTERN_TEXT only these first bytes are searched, and
 * its end for patterns with MAILPING_PATTERN_END.
 */
uint32_t mailping_patterns_match(const mailping_patterns_t *p,
    mailping_str_t text, uint64_t *bits);


#endif /* MAILPING_PATTERNS_H */
