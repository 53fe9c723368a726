
/*
 * Copyright (C) MailPing
 */


#ifndef MAILPING_BUILTIN_H
#define MAILPING_BUILTIN_H


#include "rules.h"


/*
 * Parses the built-in rules, rules/default.rules and the lists it names, which
 * the build includes from the folder NGX_MAILPING_RULES_DIR.  They are a rule
 * set's first file.  Returns as mailping_rules_parse().
 */
int mailping_builtin_rules(mailping_rules_t *rs, mailping_rules_error_t *err);

/*
 * The text of one of these files, "default.rules" or "vpn.txt".  Returns
 * MAILPING_OK, or MAILPING_DECLINED when there is none of this name.
 */
int mailping_builtin_file(mailping_str_t name, mailping_str_t *text);


#endif /* MAILPING_BUILTIN_H */
