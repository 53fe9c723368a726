
/*
 * Copyright (C) MailPing
 */


#include <stdarg.h>
#include <stdio.h>

#include "pipeline.h"


static void mailping_pipeline_count(mailping_pipeline_t *l, char type,
    size_t n);
static void mailping_pipeline_argument(mailping_pipeline_t *l,
    const void *data, size_t n);


static const char *const  mailping_pipeline_verbs[MAILPING_COMMAND_NONE] = {
    "AUTH", "CLIENT", "SELECT", "ROLE", "INFO", "MULTI", "EXEC", "PING",
    "UNWATCH", "WATCH", "TYPE", "GET", "GET", "MULTI", "XADD", "XTRIM", "SET",
    "EXEC"
};


void
mailping_pipeline_begin(mailping_pipeline_t *l)
{
    l->expected = 0;
    l->received = 0;
    l->length = 0;
    l->sent = 0;
}


void
mailping_pipeline_add(mailping_pipeline_t *l, mailping_command_e command, ...)
{
    size_t                 n;
    va_list                args;
    const char            *verb;
    const mailping_str_t  *arg;

    n = 1;
    va_start(args, command);

    while (va_arg(args, const mailping_str_t *) != NULL) {
        n++;
    }

    va_end(args);

    verb = mailping_pipeline_verbs[command];

    mailping_pipeline_count(l, '*', n);
    mailping_pipeline_argument(l, verb, strlen(verb));

    va_start(args, command);

    while ((arg = va_arg(args, const mailping_str_t *)) != NULL) {
        mailping_pipeline_argument(l, arg->data, arg->len);
    }

    va_end(args);

    mailping_pipeline_added(l, command, 0);
}


static void
mailping_pipeline_argument(mailping_pipeline_t *l, const void *data, size_t n)
{
    mailping_pipeline_count(l, '$', n);

    if (n != 0) {
        memcpy(l->output + l->length, data, n);
    }

    memcpy(l->output + l->length + n, "\r\n", 2);

    l->length += n + 2;
}


static void
mailping_pipeline_count(mailping_pipeline_t *l, char type, size_t n)
{
    l->length += (size_t) snprintf((char *) l->output + l->length,
                                   MAILPING_PIPELINE_OUTPUT - l->length,
                                   "%c%zu\r\n", type, n);
}


void
mailping_pipeline_added(mailping_pipeline_t *l, mailping_command_e command,
    size_t n)
{
    l->length += n;
    l->commands[l->expected++] = (uint8_t) command;
}


int
mailping_pipeline_busy(const mailping_pipeline_t *l)
{
    return l->received != l->expected;
}


mailping_command_e
mailping_pipeline_next(const mailping_pipeline_t *l)
{
    if (!mailping_pipeline_busy(l)) {
        return MAILPING_COMMAND_NONE;
    }

    return l->commands[l->received];
}
