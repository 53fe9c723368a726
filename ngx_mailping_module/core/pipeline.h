
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_PIPELINE_H
#define MAILPING_PIPELINE_H


#include "bytes.h"


/*
 * The commands of one output in RESP2, and which of them the next reply
 * answers.  Half-duplex: the next output begins when all is answered.
 */

#define MAILPING_PIPELINE_OUTPUT    (256 * 1024)   /* bytes */
#define MAILPING_PIPELINE_COMMANDS  528


typedef enum {
    MAILPING_COMMAND_AUTH = 0,
    MAILPING_COMMAND_CLIENT,
    MAILPING_COMMAND_SELECT,
    MAILPING_COMMAND_ROLE,
    MAILPING_COMMAND_INFO,
    MAILPING_COMMAND_TRY_MULTI,    /* of the empty transaction */
    MAILPING_COMMAND_TRY_EXEC,
    MAILPING_COMMAND_PING,
    MAILPING_COMMAND_UNWATCH,
    MAILPING_COMMAND_WATCH,
    MAILPING_COMMAND_TYPE,
    MAILPING_COMMAND_GET,          /* of a mark that is as expected */
    MAILPING_COMMAND_CHECK,        /* GET of a mark to be judged */
    MAILPING_COMMAND_MULTI,
    MAILPING_COMMAND_XADD,
    MAILPING_COMMAND_XTRIM,
    MAILPING_COMMAND_SET,
    MAILPING_COMMAND_EXEC,
    MAILPING_COMMAND_NONE
} mailping_command_e;


typedef struct {
    uint32_t    expected;
    uint32_t    received;
    uint8_t     commands[MAILPING_PIPELINE_COMMANDS];
    size_t      length;
    size_t      sent;
    uint8_t     output[MAILPING_PIPELINE_OUTPUT];
} mailping_pipeline_t;


/* Begins the next output; what is left of this one is forgotten. */
void mailping_pipeline_begin(mailping_pipeline_t *l);

/*
 * Adds a command; the arguments after the verb are const mailping_str_t
 * pointers, up to NULL.  The caller knows that it fits.
 */
void mailping_pipeline_add(mailping_pipeline_t *l, mailping_command_e command,
    ...);

/* Adds a command of n bytes, which are written to the end of the output. */
void mailping_pipeline_added(mailping_pipeline_t *l,
    mailping_command_e command, size_t n);

/* Whether replies are outstanding, and the command that the next answers. */
int mailping_pipeline_busy(const mailping_pipeline_t *l);
mailping_command_e mailping_pipeline_next(const mailping_pipeline_t *l);


#endif /* MAILPING_PIPELINE_H */
