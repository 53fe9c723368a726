
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_RULES_H
#define MAILPING_RULES_H


#include "bytes.h"


/*
 * Facts have numbers.  Those below MAILPING_FACTS_STORED are published in
 * docs/facts.md and kept in events; the others belong to the operator's own
 * rules, are judged, and never leave the worker.
 */

#define MAILPING_FACTS_STORED  256
#define MAILPING_FACTS_MAX     1024
#define MAILPING_FACTS_WORDS   (MAILPING_FACTS_MAX / 64)


typedef enum {
    MAILPING_CLASS_HUMAN = 0,
    MAILPING_CLASS_PROXIED,
    MAILPING_CLASS_PREFETCH,
    MAILPING_CLASS_SCANNER,
    MAILPING_CLASS_BOT,
    MAILPING_CLASSES
} mailping_class_e;


/* the first five are the classes, in their order */

typedef enum {
    MAILPING_VERDICT_HUMAN = 0,
    MAILPING_VERDICT_PROXIED,
    MAILPING_VERDICT_PREFETCH,
    MAILPING_VERDICT_SCANNER,
    MAILPING_VERDICT_BOT,
    MAILPING_VERDICT_SHIELDED,
    MAILPING_VERDICT_SELF,
    MAILPING_VERDICT_UNKNOWN,
    MAILPING_VERDICTS
} mailping_verdict_e;


typedef enum {
    MAILPING_GROUP_AGENT = 0,
    MAILPING_GROUP_NETWORK,
    MAILPING_GROUP_HEADERS,
    MAILPING_GROUP_TIME,
    MAILPING_GROUP_HISTORY,
    MAILPING_GROUPS,
    MAILPING_GROUP_SET = MAILPING_GROUPS     /* a "set" statement */
} mailping_group_e;


typedef struct mailping_rules_s  mailping_rules_t;


/* where a rule file is wrong */

typedef struct {
    char      file[256];
    unsigned  line;                /* from 1; 0 = not about one place */
    unsigned  column;              /* from 1, in bytes */
    char      text[256];           /* "expected ..., found \"...\"" */
} mailping_rules_error_t;


/*
 * Gives the text of the file that a rule file calls by "@name"; from is the
 * name of the rule file, beside which it lies.  The text stays the loader's
 * and must live until mailping_rules_compile() returns.  path receives the
 * full name, for messages.  Returns MAILPING_OK, or MAILPING_ERROR with a
 * reason ("No such file or directory") in why.
 */
typedef int (*mailping_rules_load_pt)(void *data, const char *from,
    mailping_str_t name, mailping_str_t *text, char path[256], char why[128]);


/* one rule as people see it, for explanations */

typedef struct {
    mailping_str_t  name;
    mailping_str_t  provider;      /* empty for "-" */
    unsigned        group;         /* mailping_group_e */
    int             weight[MAILPING_CLASSES];   /* decibans */
    unsigned        classes;       /* bits of those that have a weight */
    unsigned        outcome;       /* of "set": mailping_verdict_e */
} mailping_rule_info_t;


/*
 * Makes an empty rule set.  Returns NULL when there is no memory.  The caller
 * owns it and frees it with mailping_rules_destroy(), which accepts NULL.
 */
mailping_rules_t *mailping_rules_create(void);
void mailping_rules_destroy(mailping_rules_t *rs);

/*
 * Parses one rule file.  name is for messages and for load, text its content;
 * load may be NULL, then "@name" is an error.  May be called several times;
 * a later file may add to sets and replaces a rule or prior of the same name.
 * Returns MAILPING_OK, or MAILPING_ERROR with *err filled; the rule set is
 * good only for mailping_rules_destroy() then.
 */
int mailping_rules_parse(mailping_rules_t *rs, const char *name,
    mailping_str_t text, mailping_rules_load_pt load, void *data,
    mailping_rules_error_t *err);

/*
 * Builds the automaton, the network table and the rule index.  After that the
 * rule set is read only and may be shared by any number of readers.  Returns
 * MAILPING_OK, or MAILPING_ERROR with *err filled.
 */
int mailping_rules_compile(mailping_rules_t *rs, mailping_rules_error_t *err);

/*
 * The rule set's name in events: the first four bytes of the SHA-256 of all
 * texts in the order of parsing.
 */
uint32_t mailping_rules_id(const mailping_rules_t *rs);

/* How many rules ("rule" and "set") there are, and rule i of them. */
unsigned mailping_rules_count(const mailping_rules_t *rs);
void mailping_rules_info(const mailping_rules_t *rs, unsigned i,
    mailping_rule_info_t *info);

/*
 * How many facts there are (published and own numbers, with holes), and the
 * name of fact i ("network:google", "age<10s"), NULL where no fact of the
 * rule set has this number.  The name lives as long as the rule set.
 */
unsigned mailping_rules_facts(const mailping_rules_t *rs);
const char *mailping_rules_fact_name(const mailping_rules_t *rs, unsigned i);

/* Names of groups and classes, static, zero-terminated. */
const char *mailping_group_name(unsigned group);
const char *mailping_class_name(unsigned class);


#endif /* MAILPING_RULES_H */
