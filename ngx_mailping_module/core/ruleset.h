
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_RULESET_H
#define MAILPING_RULESET_H


/*
 * What a rule set is made of.  rules.c and sets.c fill it, ruleset.c keeps it,
 * ruleset_compile.c compiles it, facts.c and classify.c read it; all others see
 * rules.h only.
 */

#include <openssl/evp.h>

#include "condition.h"
#include "networks.h"
#include "patterns.h"
#include "rules.h"


#define MAILPING_RULES_MAX      8192
#define MAILPING_WEIGHT_MAX     30

/* so much of a name is copied at once; few are longer */

#define MAILPING_REASON_COPY    32

#define MAILPING_RANKS          8

/* the widest distance of two classes: all groups and the prior */

#define MAILPING_DISTANCE_MAX                                                 \
    (2 * MAILPING_WEIGHT_MAX * (MAILPING_GROUPS + 1))


typedef struct {
    mailping_str_t        name;        /* zero-terminated, as published */
    mailping_str_t        key;         /* name of a set or header */
    uint64_t              value;
    uint8_t               kind;
    uint8_t               valid;       /* the number is in use */
    uint8_t               defined;     /* not a set, or a set with items */
} mailping_fact_t;


/* condition of a rule as parsed */

typedef struct {
    unsigned              fact;
    unsigned              negated;
    unsigned              line;
    unsigned              column;
} mailping_term_t;


/*
 * Conditions of a rule, compiled: facts of one word that must be true, or, from
 * word MAILPING_FACTS_WORDS on, that must be false.
 */

typedef struct {
    uint64_t              mask;
    uint32_t              word;
} mailping_test_t;


typedef struct {
    mailping_str_t        name;
    mailping_str_t        provider;
    const char           *file;
    mailping_term_t      *term;
    unsigned              nterms;
    unsigned              nfile;       /* which file, from 1 */
    uint32_t              test;        /* first of ntests in rs->test */
    uint16_t              ntests;
    int8_t                weight[MAILPING_CLASSES];
    uint8_t               classes;     /* bits of those that have a weight */
    uint8_t               group;
    uint8_t               outcome;
    uint8_t               idle;        /* never counts, see ruleset.c */
} mailping_rule_t;


/*
 * A rule as it is looked for, in the order of the index: one of its tests,
 * without the anchor, and all of them if that is not enough.
 */

typedef struct {
    mailping_test_t       first;
    uint32_t              test;        /* first of ntests in rs->test */
    uint16_t              rule;
    uint8_t               ntests;
    uint8_t               group;
} mailping_candidate_t;


/*
 * A rule as it counts.  A key orders what rules say of a class: the heavier
 * goes first, then the earlier; 0 is nothing, and the lowest bit the weight's
 * sign.  A rank is a key's place among all keys, and 0 if there is none.  There
 * are more ranks than classes so that they fill a whole vector.
 */

typedef struct {
    uint16_t              rank[MAILPING_RANKS];
} mailping_ranks_t;


/* a rule as it is written when it counts */

typedef struct {
    uint32_t              text;        /* "," and name, in rs->reasons */
    uint16_t              len;
    uint16_t              provider;    /* whether it names one */
} mailping_reason_t;


typedef enum {
    MAILPING_HEADER_PRESENT = 0,
    MAILPING_HEADER_EXACT,
    MAILPING_HEADER_CONTAINS
} mailping_header_match_e;


typedef struct {
    mailping_str_t        value;       /* of "contains", in lower case */
    unsigned              match;
    unsigned              fact;
    uint32_t              next;        /* of the same header, + 1 */
} mailping_header_item_t;


typedef struct {
    mailping_str_t        name;        /* in lower case */
    uint32_t              hash;
    unsigned              absent;      /* fact + 1, 0 = nobody asks */
    uint32_t              item;        /* first + 1 */
} mailping_header_t;


typedef struct {
    uint32_t              asn;
    uint32_t              fact;
} mailping_asn_t;


/* where a pattern was found */

typedef struct {
    const char           *file;
    unsigned              line;
    unsigned              column;
} mailping_origin_t;


/* hash table of names */

typedef enum {
    MAILPING_MAP_FACT = 0,
    MAILPING_MAP_RULE,
    MAILPING_MAP_HEADER
} mailping_map_e;


typedef struct {
    mailping_str_t        name;
    uint32_t              hash;
    uint32_t              map;
    uint32_t              value;
} mailping_entry_t;


typedef struct mailping_chunk_s  mailping_chunk_t;


struct mailping_rules_s {
    mailping_chunk_t     *chunk;       /* of the memory for small things */

    mailping_entry_t     *entry;
    uint32_t              nentries;
    uint32_t              centries;    /* a power of two */

    mailping_fact_t       fact[MAILPING_FACTS_MAX];
    unsigned              nfacts;      /* numbers, with holes */
    unsigned              nstored;     /* published numbers, with holes */

    mailping_rule_t      *rule;
    uint32_t              nrules;
    uint32_t              crules;
    unsigned              nfiles;
    uint32_t              nclients;    /* patterns of client sets */

    int8_t                prior[MAILPING_CLASSES];
    unsigned              prior_file;

    mailping_patterns_t  *patterns;
    mailping_origin_t    *origin;      /* of each pattern, until compiled */
    uint32_t              norigins;
    uint32_t              corigins;

    mailping_networks_t  *networks;

    mailping_asn_t       *asn;
    uint32_t              nasns;
    uint32_t              casns;

    mailping_header_t       *header;
    uint32_t                 nheaders;
    uint32_t                 cheaders;
    mailping_header_item_t  *item;
    uint32_t                 nitems;
    uint32_t                 citems;

    EVP_MD_CTX           *digest;
    uint32_t              id;

    /* compiled */

    unsigned              nwords;      /* of facts that are in use */
    mailping_test_t      *test;
    mailping_ranks_t     *ranks;       /* of each rule */
    int32_t              *key;         /* of each rank */
    mailping_reason_t    *reason;      /* of each rule */
    uint8_t              *reasons;     /* "," and name, of all rules */
    mailping_candidate_t *anchored;    /* rules by anchor, then the others */
    uint32_t             *headers;     /* by hash: their numbers + 1 */
    uint32_t              mheaders;    /* mask of the hash */
    uint32_t              anchor[MAILPING_FACTS_MAX + 2];
    uint64_t              anchors[MAILPING_FACTS_WORDS];
    uint64_t              known[MAILPING_FACT_KINDS][MAILPING_FACTS_WORDS];
    uint16_t              by_kind[MAILPING_FACTS_MAX];
    unsigned              first[MAILPING_FACT_KINDS + 1];   /* in by_kind */
    double                power[MAILPING_DISTANCE_MAX + 1]; /* 10^(-i/10) */
};


static inline int32_t
mailping_key(int weight, unsigned rule)
{
    return (weight < 0 ? -weight : weight) << 17
           | (int32_t) (UINT16_MAX - rule) << 1 | (weight < 0);
}


static inline int
mailping_key_weight(int32_t key)
{
    return key & 1 ? -(key >> 17) : key >> 17;
}


static inline uint16_t
mailping_key_rule(int32_t key)
{
    return (uint16_t) (UINT16_MAX - (key >> 1 & UINT16_MAX));
}


/*
 * Memory that lives as long as the rule set: n bytes, aligned for any type, or
 * NULL.  mailping_ruleset_copy() adds a zero to the copy.
 */
void *mailping_ruleset_alloc(mailping_rules_t *rs, size_t n);
int mailping_ruleset_copy(mailping_rules_t *rs, mailping_str_t src,
    mailping_str_t *dst);

/*
 * Makes room for one element more in an array that doubles when full.  Returns
 * MAILPING_OK or MAILPING_ERROR.
 */
int mailping_ruleset_grow(void *array, size_t size, uint32_t n,
    uint32_t *allocated);

/*
 * The value under a name, or MAILPING_DECLINED.  The name that is added must
 * live as long as the rule set, and not be there yet.
 */
int mailping_ruleset_find(const mailping_rules_t *rs, mailping_map_e map,
    mailping_str_t name, uint32_t *value);
int mailping_ruleset_add(mailping_rules_t *rs, mailping_map_e map,
    mailping_str_t name, uint32_t value);

/*
 * The number of a condition's fact, which gets one when it is new.  Returns
 * MAILPING_OK; MAILPING_DECLINED when all numbers are taken; MAILPING_ERROR
 * when there is no memory.
 */
int mailping_ruleset_fact(mailping_rules_t *rs, const mailping_condition_t *c,
    unsigned *number);

/*
 * The entry of a header, which is made when it is new; name is in lower case.
 * Returns NULL when there is no memory.
 */
mailping_header_t *mailping_ruleset_header(mailping_rules_t *rs,
    mailping_str_t name);

/* A hash of a header's name, whatever its case. */
uint32_t mailping_ruleset_header_hash(mailping_str_t name);

/* Adds what a statement lists.  Return MAILPING_OK or MAILPING_ERROR. */
int mailping_ruleset_header_item(mailping_rules_t *rs, mailping_header_t *h,
    unsigned match, mailping_str_t value, unsigned fact);
int mailping_ruleset_asn(mailping_rules_t *rs, uint32_t asn, unsigned fact);
int mailping_ruleset_origin(mailping_rules_t *rs, const char *file,
    unsigned line, unsigned column);

/* Writes an error without a place: "rule set: not enough memory". */
int mailping_ruleset_no_memory(mailping_rules_error_t *err);


#endif /* MAILPING_RULESET_H */
