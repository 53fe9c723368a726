
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_SETS_H
#define MAILPING_SETS_H


#include "parser.h"


/*
 * Parses the rest of a statement that defines a set: word is "network", "asn",
 * "agent", "client" or "header".  Returns MAILPING_OK; MAILPING_DECLINED when
 * word is none of these; MAILPING_ERROR with *ps->err filled.
 */
int mailping_sets_statement(mailping_parser_t *ps, mailping_str_t word);


#endif /* MAILPING_SETS_H */
