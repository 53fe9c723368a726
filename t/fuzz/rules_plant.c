
/*
 * Copyright (C) MailPing
 */


/*
 * Defects for the control of rules_fuzz.c, put around functions of core by
 * "ld --wrap"; MAILPING_PLANT says which one there is.
 */

#include <stdlib.h>

#include "core/classify.h"
#include "core/networks.h"


int __wrap_mailping_networks_add(mailping_networks_t *n,
    const uint8_t addr[16], unsigned bits, unsigned set);
int __real_mailping_networks_add(mailping_networks_t *n,
    const uint8_t addr[16], unsigned bits, unsigned set);
void __wrap_mailping_classify(const mailping_rules_t *rs,
    const mailping_facts_t *f, mailping_judgement_t *j, uint16_t *fired,
    unsigned *nfired);
void __real_mailping_classify(const mailping_rules_t *rs,
    const mailping_facts_t *f, mailping_judgement_t *j, uint16_t *fired,
    unsigned *nfired);
static int planted(const char *name);


/*
 * "crash": a byte behind the end is read for some lengths of a prefix, "hang":
 * there is no end for others.
 */

int
__wrap_mailping_networks_add(mailping_networks_t *n, const uint8_t addr[16],
    unsigned bits, unsigned set)
{
    volatile uint8_t   *p;
    volatile unsigned   k;

    if (planted("crash") && bits % 8 == 1) {
        p = malloc(16);

        if (p != NULL) {
            p[0] = p[16 + bits % 8];
            free((void *) p);
        }
    }

    if (planted("hang") && bits % 8 == 3) {
        for (k = 0; /* void */ ; k++) {
            /* void */
        }
    }

    return __real_mailping_networks_add(n, addr, bits, set);
}


/* "check": some judgements differ when the index finds the rules */

void
__wrap_mailping_classify(const mailping_rules_t *rs,
    const mailping_facts_t *f, mailping_judgement_t *j, uint16_t *fired,
    unsigned *nfired)
{
    __real_mailping_classify(rs, f, j, fired, nfired);

    if (planted("check") && fired == NULL && j->person % 7 == 3) {
        j->person++;
    }
}


static int
planted(const char *name)
{
    const char  *plant;

    plant = getenv("MAILPING_PLANT");

    return plant != NULL && strcmp(plant, name) == 0;
}
