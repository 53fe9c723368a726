
/*
 * Copyright (C) MailPing
 */


#ifndef _NGX_MAILPING_COMPAT_H_INCLUDED_
#define _NGX_MAILPING_COMPAT_H_INCLUDED_


/* the only place that knows versions of nginx */


/* headers became linked lists in 1.23.0 */

#if (nginx_version >= 1023000)
#define ngx_mailping_header_end(h)  (h)->next = NULL
#else
#define ngx_mailping_header_end(h)
#endif


#endif /* _NGX_MAILPING_COMPAT_H_INCLUDED_ */
