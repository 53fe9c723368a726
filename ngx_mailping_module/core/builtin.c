
/*
 * Copyright (C) MailPing
 */


#include <stdio.h>

#include "builtin.h"


#ifndef NGX_MAILPING_RULES_DIR
#error "NGX_MAILPING_RULES_DIR must be the folder of default.rules, a string"
#endif


/* every file of the folder, the rules first */

#define MAILPING_BUILTIN_FILES(file)                                          \
    file(default_rules, "default.rules")                                      \
    file(apple_relay, "apple-relay.txt")                                      \
    file(barracuda, "barracuda.txt")                                          \
    file(cisco, "cisco.txt")                                                  \
    file(eop, "eop.txt")                                                      \
    file(forcepoint, "forcepoint.txt")                                        \
    file(fortinet, "fortinet.txt")                                            \
    file(google_proxy, "google-proxy.txt")                                    \
    file(hosting, "hosting.txt")                                              \
    file(hosting_asn, "hosting-asn.txt")                                      \
    file(hosting_doubtful_asn, "hosting-doubtful-asn.txt")                    \
    file(microsoft, "microsoft.txt")                                          \
    file(mimecast, "mimecast.txt")                                            \
    file(proofpoint, "proofpoint.txt")                                        \
    file(symantec, "symantec.txt")                                            \
    file(trendmicro, "trendmicro.txt")                                        \
    file(vpn, "vpn.txt")                                                      \
    file(yahoo, "yahoo.txt")                                                  \
    file(zscaler, "zscaler.txt")


/*
 * The assembler includes a file as it is; as a C array the lists would cost
 * the compiler seconds.  The symbols are hidden: nginx loads modules with
 * global scope.
 */

#define mailping_builtin_include(id, file)                                    \
    __asm__(".pushsection .rodata\n"                                          \
            ".globl mailping_builtin_" #id "\n"                               \
            ".hidden mailping_builtin_" #id "\n"                              \
            "mailping_builtin_" #id ":\n"                                     \
            ".incbin \"" NGX_MAILPING_RULES_DIR "/" file "\"\n"               \
            ".globl mailping_builtin_" #id "_end\n"                           \
            ".hidden mailping_builtin_" #id "_end\n"                          \
            "mailping_builtin_" #id "_end:\n"                                 \
            ".byte 0\n"                                                       \
            ".popsection\n");                                                 \
    extern const uint8_t  mailping_builtin_##id[]                             \
        __attribute__((visibility("hidden")));                                \
    extern const uint8_t  mailping_builtin_##id##_end[]                       \
        __attribute__((visibility("hidden")));

MAILPING_BUILTIN_FILES(mailping_builtin_include)


typedef struct {
    const char     *name;
    const uint8_t  *start;
    const uint8_t  *end;
} mailping_builtin_t;


static int mailping_builtin_load(void *data, const char *from,
    mailping_str_t name, mailping_str_t *text, char path[256], char why[128]);


#define mailping_builtin_entry(id, file)                                      \
    { file, mailping_builtin_##id, mailping_builtin_##id##_end },

static const mailping_builtin_t  mailping_builtin_files[] = {
    MAILPING_BUILTIN_FILES(mailping_builtin_entry)
    { NULL, NULL, NULL }
};


int
mailping_builtin_rules(mailping_rules_t *rs, mailping_rules_error_t *err)
{
    mailping_str_t             text;
    const mailping_builtin_t  *file;

    file = &mailping_builtin_files[0];

    text.data = file->start;
    text.len = (size_t) (file->end - file->start);

    return mailping_rules_parse(rs, file->name, text, mailping_builtin_load,
                                NULL, err);
}


int
mailping_builtin_file(mailping_str_t name, mailping_str_t *text)
{
    const mailping_builtin_t  *file;

    for (file = mailping_builtin_files; file->name != NULL; file++) {

        if (strlen(file->name) == name.len
            && memcmp(file->name, name.data, name.len) == 0)
        {
            text->data = file->start;
            text->len = (size_t) (file->end - file->start);
            return MAILPING_OK;
        }
    }

    return MAILPING_DECLINED;
}


static int
mailping_builtin_load(void *data, const char *from, mailping_str_t name,
    mailping_str_t *text, char path[256], char why[128])
{
    (void) data;
    (void) from;

    snprintf(path, 256, "%.*s", (int) (name.len < 255 ? name.len : 255),
             (const char *) name.data);

    if (mailping_builtin_file(name, text) != MAILPING_OK) {
        snprintf(why, 128, "not built in");
        return MAILPING_ERROR;
    }

    return MAILPING_OK;
}
