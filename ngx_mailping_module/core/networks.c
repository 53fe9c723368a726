
/*
 * Copyright (C) MailPing
 */


#include <stdlib.h>

#include "mask.h"
#include "networks.h"


/*
 * The prefixes, sorted, are cut into disjoint ranges: only their first
 * addresses are kept, with the number of a mask, the bit set of the sets that
 * the range belongs to.  Mask 0 is the empty one, of the gaps.  Equal masks
 * are kept once.  IPv4 has tables of its own; indexes over the first 16 bits of
 * the address leave a few steps for the binary search.
 */

#define MAILPING_IPV4_BITS   96        /* in front of an IPv4 address */
#define MAILPING_INDEX       65536


typedef struct {
    uint64_t              hi;
    uint64_t              lo;
} mailping_address_t;


typedef struct {
    mailping_address_t    addr;
    uint32_t              set;
    uint8_t               bits;
    uint8_t               ipv4;
} mailping_prefix_t;


typedef struct {
    mailping_address_t    start;
    uint32_t              mask;
} mailping_range_t;


typedef struct {
    uint32_t              start;
    uint32_t              mask;
} mailping_range4_t;


/* a prefix that is open while the ranges inside of it are made */

typedef struct {
    mailping_address_t    last;
    uint32_t              mask;
} mailping_level_t;


struct mailping_networks_s {
    mailping_prefix_t    *prefix;
    size_t                nprefixes;
    size_t                cprefixes;

    uint64_t             *mask;
    uint32_t             *slot;        /* hash table of mask numbers */
    uint32_t              nmasks;
    uint32_t              nslots;
    unsigned              nwords;

    mailping_range_t     *range;       /* IPv6 */
    size_t                nranges;

    uint32_t             *index6;      /* by the first 16 bits, as index4 */

    mailping_range4_t    *range4;
    uint32_t             *index4;
};


static int mailping_networks_compare(const void *one, const void *two);
static int mailping_networks_less(const mailping_address_t *a,
    const mailping_address_t *b);
static void mailping_networks_last(const mailping_prefix_t *prefix,
    mailping_address_t *last);
static int mailping_networks_cut(mailping_networks_t *n, size_t from,
    size_t to, mailping_range_t *range, size_t *nranges);
static size_t mailping_networks_put(mailping_range_t *range, size_t nranges,
    const mailping_address_t *start, uint32_t mask);
static int mailping_networks_close(const mailping_address_t *last,
    mailping_address_t *next);
static int mailping_networks_mask(mailping_networks_t *n,
    const uint64_t *words, uint32_t *mask);
static int mailping_networks_grow(mailping_networks_t *n);
static uint32_t mailping_networks_hash(const mailping_networks_t *n,
    const uint64_t *words);
static int mailping_networks_ipv4(mailping_networks_t *n,
    const mailping_range_t *range, size_t nranges);
static int mailping_networks_ipv6(mailping_networks_t *n);


mailping_networks_t *
mailping_networks_create(unsigned nwords)
{
    mailping_networks_t  *n;

    n = calloc(1, sizeof(mailping_networks_t));
    if (n == NULL) {
        return NULL;
    }

    n->nwords = nwords;

    return n;
}


void
mailping_networks_destroy(mailping_networks_t *n)
{
    if (n == NULL) {
        return;
    }

    free(n->prefix);
    free(n->mask);
    free(n->slot);
    free(n->range);
    free(n->index6);
    free(n->range4);
    free(n->index4);
    free(n);
}


int
mailping_networks_add(mailping_networks_t *n, const uint8_t addr[16],
    unsigned bits, unsigned set)
{
    void               *grown;
    size_t              i, size;
    mailping_prefix_t  *prefix;

    if (n->nprefixes == n->cprefixes) {
        size = n->cprefixes ? n->cprefixes * 2 : 64;

        grown = realloc(n->prefix, size * sizeof(mailping_prefix_t));
        if (grown == NULL) {
            return MAILPING_ERROR;
        }

        n->prefix = grown;
        n->cprefixes = size;
    }

    prefix = &n->prefix[n->nprefixes++];

    prefix->addr.hi = 0;
    prefix->addr.lo = 0;

    for (i = 0; i < 8; i++) {
        prefix->addr.hi = prefix->addr.hi << 8 | addr[i];
        prefix->addr.lo = prefix->addr.lo << 8 | addr[i + 8];
    }

    prefix->set = set;
    prefix->bits = (uint8_t) bits;
    prefix->ipv4 = bits >= MAILPING_IPV4_BITS && mailping_mask_is_ipv4(addr);

    return MAILPING_OK;
}


int
mailping_networks_compile(mailping_networks_t *n)
{
    int                rc;
    size_t             i, n4, n6;
    uint32_t           none;
    uint64_t          *words;
    mailping_range_t  *range;

    if (n->nprefixes != 0) {
        qsort(n->prefix, n->nprefixes, sizeof(mailping_prefix_t),
              mailping_networks_compare);
    }

    for (i = 0; i < n->nprefixes && n->prefix[i].ipv4 == 0; i++) {
        /* void */
    }

    words = calloc(n->nwords, sizeof(uint64_t));
    if (words == NULL) {
        return MAILPING_ERROR;
    }

    rc = mailping_networks_mask(n, words, &none);

    free(words);

    if (rc != MAILPING_OK) {
        return rc;
    }

    /* a prefix makes two ranges at most, and there is one to start with */

    n->range = malloc((2 * i + 1) * sizeof(mailping_range_t));
    range = malloc((2 * (n->nprefixes - i) + 1) * sizeof(mailping_range_t));

    if (n->range == NULL || range == NULL) {
        free(range);
        return MAILPING_ERROR;
    }

    if (mailping_networks_cut(n, 0, i, n->range, &n6) != MAILPING_OK
        || mailping_networks_cut(n, i, n->nprefixes, range, &n4)
           != MAILPING_OK
        || mailping_networks_ipv4(n, range, n4) != MAILPING_OK)
    {
        free(range);
        return MAILPING_ERROR;
    }

    n->nranges = n6;

    if (mailping_networks_ipv6(n) != MAILPING_OK) {
        free(range);
        return MAILPING_ERROR;
    }

    free(range);
    free(n->prefix);
    free(n->slot);

    n->prefix = NULL;
    n->slot = NULL;
    n->nprefixes = 0;
    n->cprefixes = 0;

    return MAILPING_OK;
}


static int
mailping_networks_compare(const void *one, const void *two)
{
    const mailping_prefix_t  *a, *b;

    a = one;
    b = two;

    if (a->ipv4 != b->ipv4) {
        return a->ipv4 < b->ipv4 ? -1 : 1;
    }

    if (a->addr.hi != b->addr.hi) {
        return a->addr.hi < b->addr.hi ? -1 : 1;
    }

    if (a->addr.lo != b->addr.lo) {
        return a->addr.lo < b->addr.lo ? -1 : 1;
    }

    if (a->bits != b->bits) {
        return a->bits < b->bits ? -1 : 1;
    }

    return 0;
}


static int
mailping_networks_less(const mailping_address_t *a,
    const mailping_address_t *b)
{
    return a->hi != b->hi ? a->hi < b->hi : a->lo < b->lo;
}


static void
mailping_networks_last(const mailping_prefix_t *prefix,
    mailping_address_t *last)
{
    *last = prefix->addr;

    if (prefix->bits <= 64) {
        last->lo = UINT64_MAX;

        if (prefix->bits < 64) {
            last->hi |= UINT64_MAX >> prefix->bits;
        }

    } else if (prefix->bits < 128) {
        last->lo |= UINT64_MAX >> (prefix->bits - 64);
    }
}


/*
 * Goes over the prefixes [from, to) with a stack of those that are open, the
 * longest on top.  There are at most 129: they are nested and differ.
 */

static int
mailping_networks_cut(mailping_networks_t *n, size_t from, size_t to,
    mailping_range_t *range, size_t *nranges)
{
    int                 rc;
    size_t              i, nr;
    uint32_t            mask;
    uint64_t           *words;
    unsigned            depth;
    mailping_level_t    level[130];
    mailping_prefix_t  *prefix;
    mailping_address_t  start;

    words = malloc(n->nwords * sizeof(uint64_t));
    if (words == NULL) {
        return MAILPING_ERROR;
    }

    memset(&start, 0, sizeof(mailping_address_t));

    nr = mailping_networks_put(range, 0, &start, 0);
    depth = 0;
    level[0].mask = 0;
    rc = MAILPING_OK;

    for (i = from; i < to; /* void */ ) {
        prefix = &n->prefix[i];

        memset(words, 0, n->nwords * sizeof(uint64_t));

        do {
            words[n->prefix[i].set / 64] |= (uint64_t) 1
                                            << n->prefix[i].set % 64;
            i++;

        } while (i < to
                 && mailping_networks_compare(prefix, &n->prefix[i]) == 0);

        rc = mailping_networks_mask(n, words, &mask);
        if (rc != MAILPING_OK) {
            goto done;
        }

        while (depth > 0
               && mailping_networks_less(&level[depth].last, &prefix->addr))
        {
            (void) mailping_networks_close(&level[depth].last, &start);
            depth--;
            nr = mailping_networks_put(range, nr, &start, level[depth].mask);
        }

        depth++;
        level[depth].mask = mask;
        mailping_networks_last(prefix, &level[depth].last);

        nr = mailping_networks_put(range, nr, &prefix->addr, mask);
    }

    while (depth > 0) {
        rc = mailping_networks_close(&level[depth].last, &start);
        depth--;

        if (rc == MAILPING_OK) {
            nr = mailping_networks_put(range, nr, &start, level[depth].mask);
        }
    }

    rc = MAILPING_OK;
    *nranges = nr;

done:

    free(words);

    return rc;
}


/* Starts a range; one that would be empty or like its neighbor is not kept. */

static size_t
mailping_networks_put(mailping_range_t *range, size_t nranges,
    const mailping_address_t *start, uint32_t mask)
{
    if (nranges != 0 && range[nranges - 1].start.hi == start->hi
        && range[nranges - 1].start.lo == start->lo)
    {
        nranges--;
    }

    if (nranges != 0 && range[nranges - 1].mask == mask) {
        return nranges;
    }

    range[nranges].start = *start;
    range[nranges].mask = mask;

    return nranges + 1;
}


/* The address after last; MAILPING_DECLINED when last is the last of all. */

static int
mailping_networks_close(const mailping_address_t *last,
    mailping_address_t *next)
{
    next->lo = last->lo + 1;
    next->hi = last->hi + (next->lo == 0);

    return next->hi == 0 && next->lo == 0 ? MAILPING_DECLINED : MAILPING_OK;
}


static int
mailping_networks_mask(mailping_networks_t *n, const uint64_t *words,
    uint32_t *mask)
{
    uint32_t  i;

    if (n->nmasks >= n->nslots / 2
        && mailping_networks_grow(n) != MAILPING_OK)
    {
        return MAILPING_ERROR;
    }

    i = mailping_networks_hash(n, words) & (n->nslots - 1);

    while (n->slot[i] != 0) {
        *mask = n->slot[i] - 1;

        if (memcmp(&n->mask[(size_t) *mask * n->nwords], words,
                   n->nwords * sizeof(uint64_t))
            == 0)
        {
            return MAILPING_OK;
        }

        i = (i + 1) & (n->nslots - 1);
    }

    *mask = n->nmasks++;
    n->slot[i] = *mask + 1;

    memcpy(&n->mask[(size_t) *mask * n->nwords], words,
           n->nwords * sizeof(uint64_t));

    return MAILPING_OK;
}


static int
mailping_networks_grow(mailping_networks_t *n)
{
    void      *grown;
    uint32_t   i, at, nslots;

    if (n->nslots > UINT32_MAX / 4) {
        return MAILPING_ERROR;
    }

    nslots = n->nslots ? n->nslots * 2 : 256;

    grown = realloc(n->mask,
                    (size_t) nslots / 2 * n->nwords * sizeof(uint64_t));
    if (grown == NULL) {
        return MAILPING_ERROR;
    }

    n->mask = grown;

    grown = calloc(nslots, sizeof(uint32_t));
    if (grown == NULL) {
        return MAILPING_ERROR;
    }

    free(n->slot);

    n->slot = grown;
    n->nslots = nslots;

    for (i = 0; i < n->nmasks; i++) {
        at = mailping_networks_hash(n, &n->mask[(size_t) i * n->nwords])
             & (nslots - 1);

        while (n->slot[at] != 0) {
            at = (at + 1) & (nslots - 1);
        }

        n->slot[at] = i + 1;
    }

    return MAILPING_OK;
}


static uint32_t
mailping_networks_hash(const mailping_networks_t *n, const uint64_t *words)
{
    uint64_t  hash;
    unsigned  i;

    hash = 0;

    for (i = 0; i < n->nwords; i++) {
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 29;
    }

    return (uint32_t) (hash >> 32);
}


static int
mailping_networks_ipv4(mailping_networks_t *n, const mailping_range_t *range,
    size_t nranges)
{
    size_t    i;
    uint32_t  k;

    n->range4 = malloc(nranges * sizeof(mailping_range4_t));
    n->index4 = malloc((MAILPING_INDEX + 1) * sizeof(uint32_t));

    if (n->range4 == NULL || n->index4 == NULL) {
        return MAILPING_ERROR;
    }

    /*
     * The first range starts at ::, before all IPv4 addresses, and the last
     * may be the gap behind them: cut to 32 bits, the first starts at 0.0.0.0
     * and the latter is left out.
     */

    for (i = 0; i < nranges; i++) {

        if (range[i].start.lo > (UINT64_C(0xffff) << 32 | UINT32_MAX)) {
            nranges = i;
            break;
        }

        n->range4[i].start = (uint32_t) range[i].start.lo;
        n->range4[i].mask = range[i].mask;
    }

    /* index4[k] is the last range that starts at or before address k << 16 */

    i = 0;

    for (k = 0; k < MAILPING_INDEX; k++) {

        while (i + 1 < nranges && n->range4[i + 1].start <= k << 16) {
            i++;
        }

        n->index4[k] = (uint32_t) i;
    }

    n->index4[MAILPING_INDEX] = (uint32_t) (nranges - 1);

    return MAILPING_OK;
}


static int
mailping_networks_ipv6(mailping_networks_t *n)
{
    size_t              i;
    uint32_t            k;
    mailping_address_t  first;

    n->index6 = malloc((MAILPING_INDEX + 1) * sizeof(uint32_t));

    if (n->index6 == NULL) {
        return MAILPING_ERROR;
    }

    first.lo = 0;
    i = 0;

    for (k = 0; k < MAILPING_INDEX; k++) {
        first.hi = (uint64_t) k << 48;

        while (i + 1 < n->nranges
               && !mailping_networks_less(&first, &n->range[i + 1].start))
        {
            i++;
        }

        n->index6[k] = (uint32_t) i;
    }

    n->index6[MAILPING_INDEX] = (uint32_t) (n->nranges - 1);

    return MAILPING_OK;
}


const uint64_t *
mailping_networks_find(const mailping_networks_t *n, const uint8_t addr[16])
{
    size_t              lo, hi, mid, i;
    uint32_t            ip, mask;
    mailping_address_t  key;

    if (mailping_mask_is_ipv4(addr)) {
        ip = (uint32_t) addr[12] << 24 | (uint32_t) addr[13] << 16
             | (uint32_t) addr[14] << 8 | addr[15];

        lo = n->index4[ip >> 16];
        hi = n->index4[(ip >> 16) + 1];

        while (lo < hi) {
            mid = hi - (hi - lo) / 2;

            if (n->range4[mid].start <= ip) {
                lo = mid;

            } else {
                hi = mid - 1;
            }
        }

        mask = n->range4[lo].mask;

    } else {
        key.hi = 0;
        key.lo = 0;

        for (i = 0; i < 8; i++) {
            key.hi = key.hi << 8 | addr[i];
            key.lo = key.lo << 8 | addr[i + 8];
        }

        lo = n->index6[key.hi >> 48];
        hi = n->index6[(key.hi >> 48) + 1];

        while (lo < hi) {
            mid = hi - (hi - lo) / 2;

            if (mailping_networks_less(&key, &n->range[mid].start)) {
                hi = mid - 1;

            } else {
                lo = mid;
            }
        }

        mask = n->range[lo].mask;
    }

    return mask != 0 ? &n->mask[(size_t) mask * n->nwords] : NULL;
}
