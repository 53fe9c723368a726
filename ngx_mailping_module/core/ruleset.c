
/*
 * Copyright (C) MailPing
 */


#include <stdio.h>
#include <stdlib.h>

#include "published.h"
#include "ruleset.h"


#define MAILPING_CHUNK_SIZE  65536


struct mailping_chunk_s {
    mailping_chunk_t  *next;
    size_t             used;
    size_t             size;
    max_align_t        data[];
};


static int mailping_ruleset_publish(mailping_rules_t *rs);
static int mailping_ruleset_number(mailping_rules_t *rs,
    const mailping_condition_t *c, unsigned number, mailping_str_t canonical,
    mailping_str_t shown);
static uint32_t mailping_ruleset_hash(mailping_map_e map,
    mailping_str_t name);


mailping_rules_t *
mailping_rules_create(void)
{
    mailping_rules_t  *rs;

    rs = calloc(1, sizeof(mailping_rules_t));
    if (rs == NULL) {
        return NULL;
    }

    rs->patterns = mailping_patterns_create();
    rs->networks = mailping_networks_create(MAILPING_FACTS_WORDS);
    rs->digest = EVP_MD_CTX_new();

    if (rs->patterns == NULL || rs->networks == NULL || rs->digest == NULL
        || EVP_DigestInit_ex(rs->digest, EVP_sha256(), NULL) != 1
        || mailping_ruleset_publish(rs) != MAILPING_OK)
    {
        mailping_rules_destroy(rs);
        return NULL;
    }

    return rs;
}


void
mailping_rules_destroy(mailping_rules_t *rs)
{
    mailping_chunk_t  *chunk, *next;

    if (rs == NULL) {
        return;
    }

    for (chunk = rs->chunk; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }

    mailping_patterns_destroy(rs->patterns);
    mailping_networks_destroy(rs->networks);
    EVP_MD_CTX_free(rs->digest);

    free(rs->entry);
    free(rs->rule);
    free(rs->origin);
    free(rs->asn);
    free(rs->header);
    free(rs->item);
    free(rs->test);
    free(rs->ranks);
    free(rs->key);
    free(rs->reasons);
    free(rs->reason);
    free(rs->anchored);
    free(rs->headers);
    free(rs);
}


/*
 * All published facts get their numbers now: those that need no definition are
 * judged and stored even when no rule of today asks for them, so that a rule
 * of tomorrow can.  The last number stays free: one that nobody publishes is
 * needed to end the text of stored facts, see mailping_facts_write().
 */

static int
mailping_ruleset_publish(mailping_rules_t *rs)
{
    char                  text[MAILPING_FACT_NAME_MAX];
    unsigned              i;
    mailping_str_t        name, canonical;
    mailping_condition_t  c;

    for (i = 0; i < MAILPING_FACTS_STORED - 1; i++) {

        if (mailping_published_facts[i] == NULL) {
            continue;
        }

        name.data = (const uint8_t *) mailping_published_facts[i];
        name.len = strlen(mailping_published_facts[i]);

        if (mailping_condition_parse(name, &c) != MAILPING_OK) {
            continue;
        }

        canonical.data = (uint8_t *) text;
        canonical.len = mailping_condition_name(&c, text);

        if (mailping_ruleset_copy(rs, canonical, &canonical) != MAILPING_OK
            || mailping_ruleset_number(rs, &c, i, canonical, name)
               != MAILPING_OK)
        {
            return MAILPING_ERROR;
        }

        rs->nstored = i + 1;
    }

    rs->nfacts = MAILPING_FACTS_STORED;

    return MAILPING_OK;
}


int
mailping_ruleset_fact(mailping_rules_t *rs, const mailping_condition_t *c,
    unsigned *number)
{
    char            text[MAILPING_FACT_NAME_MAX];
    uint32_t        value;
    mailping_str_t  name;

    name.data = (uint8_t *) text;
    name.len = mailping_condition_name(c, text);

    if (mailping_ruleset_find(rs, MAILPING_MAP_FACT, name, &value)
        == MAILPING_OK)
    {
        *number = value;
        return MAILPING_OK;
    }

    if (rs->nfacts == MAILPING_FACTS_MAX) {
        return MAILPING_DECLINED;
    }

    if (mailping_ruleset_copy(rs, name, &name) != MAILPING_OK) {
        return MAILPING_ERROR;
    }

    *number = rs->nfacts++;

    return mailping_ruleset_number(rs, c, *number, name, name);
}


static int
mailping_ruleset_number(mailping_rules_t *rs, const mailping_condition_t *c,
    unsigned number, mailping_str_t canonical, mailping_str_t shown)
{
    mailping_fact_t    *fact;
    mailping_header_t  *header;

    fact = &rs->fact[number];

    fact->name = shown;
    fact->value = c->value;
    fact->kind = (uint8_t) c->kind;
    fact->valid = 1;
    fact->defined = c->kind >= MAILPING_FACT_SETS;

    /* the key is the canonical name's end: in lower case for a header */

    fact->key.len = c->key.len;
    fact->key.data = canonical.data + (canonical.len - c->key.len);

    if (c->kind == MAILPING_FACT_ABSENT) {
        header = mailping_ruleset_header(rs, fact->key);
        if (header == NULL) {
            return MAILPING_ERROR;
        }

        header->absent = number + 1;
    }

    return mailping_ruleset_add(rs, MAILPING_MAP_FACT, canonical, number);
}


mailping_header_t *
mailping_ruleset_header(mailping_rules_t *rs, mailping_str_t name)
{
    uint32_t            n;
    mailping_header_t  *header;

    if (mailping_ruleset_find(rs, MAILPING_MAP_HEADER, name, &n)
        == MAILPING_OK)
    {
        return &rs->header[n];
    }

    if (mailping_ruleset_grow(&rs->header, sizeof(mailping_header_t),
                              rs->nheaders, &rs->cheaders)
        != MAILPING_OK
        || mailping_ruleset_copy(rs, name, &name) != MAILPING_OK
        || mailping_ruleset_add(rs, MAILPING_MAP_HEADER, name, rs->nheaders)
           != MAILPING_OK)
    {
        return NULL;
    }

    header = &rs->header[rs->nheaders++];

    header->name = name;
    header->hash = mailping_ruleset_header_hash(name);
    header->absent = 0;
    header->item = 0;

    return header;
}


/* Eight bytes at a time: a request has many headers, and few are asked for. */

uint32_t
mailping_ruleset_header_hash(mailping_str_t name)
{
    size_t    left;
    uint64_t  word, hash;

    hash = name.len;

    for (left = name.len; left != 0; /* void */ ) {
        word = 0;

        if (left >= 8) {
            memcpy(&word, name.data + name.len - left, 8);
            left -= 8;

        } else if (name.len >= 8) {
            memcpy(&word, name.data + name.len - 8, 8);
            left = 0;

        } else {
            memcpy(&word, name.data, left);
            left = 0;
        }

        hash = (hash ^ (word | 0x2020202020202020)) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }

    return (uint32_t) hash;
}


int
mailping_ruleset_header_item(mailping_rules_t *rs, mailping_header_t *h,
    unsigned match, mailping_str_t value, unsigned fact)
{
    size_t                   i;
    uint8_t                 *p;
    mailping_header_item_t  *item;

    if (mailping_ruleset_grow(&rs->item, sizeof(mailping_header_item_t),
                              rs->nitems, &rs->citems)
        != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    item = &rs->item[rs->nitems];

    p = mailping_ruleset_alloc(rs, value.len + 1);
    if (p == NULL) {
        return MAILPING_ERROR;
    }

    for (i = 0; i < value.len; i++) {
        p[i] = match == MAILPING_HEADER_CONTAINS ? mailping_lower(value.data[i])
                                                 : value.data[i];
    }

    item->value.data = p;
    item->value.len = value.len;
    item->match = match;
    item->fact = fact;
    item->next = h->item;
    h->item = ++rs->nitems;

    return MAILPING_OK;
}


int
mailping_ruleset_asn(mailping_rules_t *rs, uint32_t asn, unsigned fact)
{
    if (mailping_ruleset_grow(&rs->asn, sizeof(mailping_asn_t), rs->nasns,
                              &rs->casns)
        != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    rs->asn[rs->nasns].asn = asn;
    rs->asn[rs->nasns].fact = fact;
    rs->nasns++;

    return MAILPING_OK;
}


int
mailping_ruleset_origin(mailping_rules_t *rs, const char *file, unsigned line,
    unsigned column)
{
    if (mailping_ruleset_grow(&rs->origin, sizeof(mailping_origin_t),
                              rs->norigins, &rs->corigins)
        != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    rs->origin[rs->norigins].file = file;
    rs->origin[rs->norigins].line = line;
    rs->origin[rs->norigins].column = column;
    rs->norigins++;

    return MAILPING_OK;
}


void *
mailping_ruleset_alloc(mailping_rules_t *rs, size_t n)
{
    void              *p;
    size_t             size;
    mailping_chunk_t  *chunk;

    n = (n + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
    chunk = rs->chunk;

    if (chunk == NULL || chunk->size - chunk->used < n) {
        size = n > MAILPING_CHUNK_SIZE ? n : MAILPING_CHUNK_SIZE;

        chunk = malloc(sizeof(mailping_chunk_t) + size);
        if (chunk == NULL) {
            return NULL;
        }

        chunk->next = rs->chunk;
        chunk->used = 0;
        chunk->size = size;
        rs->chunk = chunk;
    }

    p = (uint8_t *) chunk->data + chunk->used;
    chunk->used += n;

    return p;
}


int
mailping_ruleset_copy(mailping_rules_t *rs, mailping_str_t src,
    mailping_str_t *dst)
{
    uint8_t  *p;

    p = mailping_ruleset_alloc(rs, src.len + 1);
    if (p == NULL) {
        return MAILPING_ERROR;
    }

    if (src.len != 0) {
        memcpy(p, src.data, src.len);
    }

    p[src.len] = '\0';

    dst->data = p;
    dst->len = src.len;

    return MAILPING_OK;
}


int
mailping_ruleset_grow(void *array, size_t size, uint32_t n,
    uint32_t *allocated)
{
    void      *p;
    uint32_t   wanted;

    if (n < *allocated) {
        return MAILPING_OK;
    }

    if (n > UINT32_MAX / 2 - 64) {
        return MAILPING_ERROR;
    }

    wanted = n * 2 + 64;

    /* array is the address of a pointer of any type */

    memcpy(&p, array, sizeof(void *));

    p = realloc(p, wanted * size);
    if (p == NULL) {
        return MAILPING_ERROR;
    }

    memcpy(array, &p, sizeof(void *));
    *allocated = wanted;

    return MAILPING_OK;
}


int
mailping_ruleset_find(const mailping_rules_t *rs, mailping_map_e map,
    mailping_str_t name, uint32_t *value)
{
    uint32_t                 i, hash;
    const mailping_entry_t  *entry;

    if (rs->centries == 0) {
        return MAILPING_DECLINED;
    }

    hash = mailping_ruleset_hash(map, name);

    for (i = hash & (rs->centries - 1); /* void */ ;
         i = (i + 1) & (rs->centries - 1))
    {
        entry = &rs->entry[i];

        if (entry->name.data == NULL) {
            return MAILPING_DECLINED;
        }

        if (entry->hash == hash && entry->map == map
            && entry->name.len == name.len
            && memcmp(entry->name.data, name.data, name.len) == 0)
        {
            *value = entry->value;
            return MAILPING_OK;
        }
    }
}


int
mailping_ruleset_add(mailping_rules_t *rs, mailping_map_e map,
    mailping_str_t name, uint32_t value)
{
    uint32_t           i, n, size;
    mailping_entry_t  *entry;

    if (rs->nentries >= rs->centries / 2) {
        size = rs->centries ? rs->centries * 2 : 1024;

        entry = calloc(size, sizeof(mailping_entry_t));
        if (entry == NULL) {
            return MAILPING_ERROR;
        }

        for (i = 0; i < rs->centries; i++) {

            if (rs->entry[i].name.data == NULL) {
                continue;
            }

            n = rs->entry[i].hash & (size - 1);

            while (entry[n].name.data != NULL) {
                n = (n + 1) & (size - 1);
            }

            entry[n] = rs->entry[i];
        }

        free(rs->entry);

        rs->entry = entry;
        rs->centries = size;
    }

    n = mailping_ruleset_hash(map, name);

    for (i = n & (rs->centries - 1); rs->entry[i].name.data != NULL;
         i = (i + 1) & (rs->centries - 1))
    {
        /* void */
    }

    entry = &rs->entry[i];

    entry->name = name;
    entry->hash = n;
    entry->map = map;
    entry->value = value;

    rs->nentries++;

    return MAILPING_OK;
}


static uint32_t
mailping_ruleset_hash(mailping_map_e map, mailping_str_t name)
{
    size_t    i;
    uint32_t  hash;

    hash = 2166136261u ^ (uint32_t) map;

    for (i = 0; i < name.len; i++) {
        hash = (hash ^ name.data[i]) * 16777619u;
    }

    return hash ^ hash >> 15;
}


int
mailping_ruleset_no_memory(mailping_rules_error_t *err)
{
    memset(err, 0, sizeof(mailping_rules_error_t));
    snprintf(err->file, sizeof(err->file), "rules");
    snprintf(err->text, sizeof(err->text), "not enough memory");

    return MAILPING_ERROR;
}


uint32_t
mailping_rules_id(const mailping_rules_t *rs)
{
    return rs->id;
}


unsigned
mailping_rules_count(const mailping_rules_t *rs)
{
    return rs->nrules;
}


void
mailping_rules_info(const mailping_rules_t *rs, unsigned i,
    mailping_rule_info_t *info)
{
    unsigned                c;
    const mailping_rule_t  *rule;

    rule = &rs->rule[i];

    info->name = rule->name;
    info->provider = rule->provider;
    info->group = rule->group;
    info->classes = rule->classes;
    info->outcome = rule->outcome;

    for (c = 0; c < MAILPING_CLASSES; c++) {
        info->weight[c] = rule->weight[c];
    }
}


unsigned
mailping_rules_facts(const mailping_rules_t *rs)
{
    return rs->nfacts;
}


const char *
mailping_rules_fact_name(const mailping_rules_t *rs, unsigned i)
{
    if (i >= rs->nfacts || !rs->fact[i].valid || !rs->fact[i].defined) {
        return NULL;
    }

    return (const char *) rs->fact[i].name.data;
}


const char *
mailping_group_name(unsigned group)
{
    static const char *const  names[] = {
        "agent", "network", "headers", "time", "history", "set"
    };

    return names[group <= MAILPING_GROUP_SET ? group : MAILPING_GROUP_SET];
}


const char *
mailping_class_name(unsigned class)
{
    static const char *const  names[] = {
        "human", "proxied", "prefetch", "scanner", "bot"
    };

    return names[class < MAILPING_CLASSES ? class : 0];
}
