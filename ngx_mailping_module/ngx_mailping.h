
/*
 * Copyright (C) MailPing
 */


#ifndef _NGX_MAILPING_H_INCLUDED_
#define _NGX_MAILPING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mailping_compat.h"

#include "core/amend.h"
#include "core/classify.h"
#include "core/collapse.h"
#include "core/event.h"
#include "core/history.h"
#include "core/mask.h"
#include "core/producer.h"
#include "core/recent.h"
#include "core/spool.h"
#include "core/token.h"


#define NGX_MAILPING_VERSION  "0.1.0"


typedef struct ngx_mailping_main_conf_s   ngx_mailping_main_conf_t;
typedef struct ngx_mailping_geo_s         ngx_mailping_geo_t;
typedef struct ngx_mailping_spool_s       ngx_mailping_spool_t;
typedef struct ngx_mailping_delivery_s    ngx_mailping_delivery_t;
typedef struct ngx_mailping_zone_s        ngx_mailping_zone_t;


/* a string of nginx as one of core */

static ngx_inline mailping_str_t
ngx_mailping_str(ngx_str_t s)
{
    return mailping_str(s.data, s.len);
}


/* Unix ms, as nginx last looked at the clock */

static ngx_inline uint64_t
ngx_mailping_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}


/* configuration */

typedef struct {
    ngx_str_t                  path;        /* zero-terminated */
    size_t                     size;        /* of the whole directory */
    ngx_msec_t                 sync;        /* 0 = off */
    ngx_msec_t                 rewind;
    time_t                     keep;
} ngx_mailping_spool_conf_t;


typedef struct {
    ngx_str_t                  name;        /* as configured */
    ngx_addr_t                 addr;        /* sockaddr NULL: resolve host */
    ngx_str_t                  host;
    in_port_t                  port;
} ngx_mailping_server_t;


typedef struct {
    ngx_array_t                servers;     /* ngx_mailping_server_t */
    ngx_uint_t                 mode;
    ngx_str_t                  master_name;
    ngx_str_t                  prefix;
    ngx_uint_t                 partitions;
    time_t                     retain;      /* seconds, 0 = never trimmed */
    ngx_uint_t                 maxlen;
    ngx_uint_t                 batch;
    ngx_str_t                  user;
    ngx_str_t                  password_file;
    ngx_str_t                  password;
    ngx_uint_t                 database;
    ngx_msec_t                 connect_timeout;
    ngx_msec_t                 reply_timeout;
    ngx_flag_t                 tls;
    ngx_str_t                  tls_trusted_certificate;
    ngx_str_t                  tls_name;
    ngx_str_t                  tls_certificate;
    ngx_str_t                  tls_certificate_key;
    mailping_producer_conf_t   producer;    /* the same for core */
} ngx_mailping_redis_conf_t;


/* where a directive stands, for messages about it that come later */

typedef struct {
    ngx_str_t                  file;
    ngx_uint_t                 line;        /* 0: not used */
} ngx_mailping_where_t;


/*
 * Facts that are asked for by name: networks whose place is not that of the
 * people who come from them, then agents that surely are a person's.
 */

#define NGX_MAILPING_PLACES  5
#define NGX_MAILPING_FACTS   7


struct ngx_mailping_main_conf_s {
    ngx_mailping_spool_conf_t  spool;       /* path.len 0: not configured */
    ngx_mailping_redis_conf_t *redis;       /* NULL: events stay in spool */
    ngx_array_t               *rule_files;  /* ngx_str_t */
    mailping_rules_t          *rules;       /* compiled, shared by fork */
    ngx_mailping_geo_t        *geo;         /* NULL: no database */
    ngx_shm_zone_t            *zone;
    size_t                     zone_size;
    ngx_resolver_t            *resolver;    /* of http{}, may be NULL */
    ngx_msec_t                 resolver_timeout;
    ngx_mailping_where_t       used;        /* the first "mailping" */
    ngx_uint_t                 partitions;
    int                        fact[NGX_MAILPING_FACTS];    /* numbers */
};


typedef struct {
    ngx_mailping_where_t       pixel;       /* "mailping" */
    ngx_uint_t                 image;       /* NGX_MAILPING_GIF, _PNG */

    mailping_keys_t           *keys;

    ngx_http_complex_value_t  *id;
    ngx_http_complex_value_t  *recipient;
    ngx_http_complex_value_t  *sent;
    ngx_http_complex_value_t  *hint;
    ngx_http_complex_value_t  *site;
    ngx_http_complex_value_t  *self;

    ngx_uint_t                 privacy;     /* mailping_privacy_e */
    ngx_uint_t                 privacy_max;
    ngx_uint_t                 ipv4;        /* bits of the masked network */
    ngx_uint_t                 ipv6;

    ngx_mailping_where_t       mint;        /* "mailping_mint" */
    ngx_str_t                  mint_base;
    ngx_uint_t                 any;         /* of mint, status, explain */
} ngx_mailping_loc_conf_t;


#define NGX_MAILPING_STANDALONE  0
#define NGX_MAILPING_SENTINEL    1
#define NGX_MAILPING_CLUSTER     2

#define NGX_MAILPING_GIF  0
#define NGX_MAILPING_PNG  1


/* counters; each worker adds to its own row of the zone */

typedef enum {
    NGX_MAILPING_PIXELS = 0,       /* answers with the image */
    NGX_MAILPING_IGNORED,          /* pixel only: neither GET nor HEAD */
    NGX_MAILPING_SUBREQUESTS,      /* pixel only: not a main request */
    NGX_MAILPING_PRIVATE,          /* pixel only: privacy off, day, count */
    NGX_MAILPING_BAD_ID,           /* unsigned mode: id or recipient refused */
    NGX_MAILPING_COLLAPSED,        /* fetches counted, not recorded alone */
    NGX_MAILPING_AMENDED,
    NGX_MAILPING_AMENDS_LOST,      /* amendments the spool did not take */
    NGX_MAILPING_LOST_FULL,        /* the spool was full */
    NGX_MAILPING_LOST_FAILED,      /* the spool could not be written */
    NGX_MAILPING_MINTED,
    NGX_MAILPING_MINT_ERRORS,
    NGX_MAILPING_REFUSED,          /* + mailping_token_e */
    NGX_MAILPING_OPEN = NGX_MAILPING_REFUSED + MAILPING_TOKEN_RESULTS,
    NGX_MAILPING_VERDICT = NGX_MAILPING_OPEN + MAILPING_OPENS,
    NGX_MAILPING_CONNECTS = NGX_MAILPING_VERDICT + MAILPING_VERDICTS,
    NGX_MAILPING_BATCHES,
    NGX_MAILPING_DELIVERED,
    NGX_MAILPING_ADVANCED,         /* a lost reply, found by the mark */
    NGX_MAILPING_REWOUND,
    NGX_MAILPING_MISSING,
    NGX_MAILPING_RESTORED,
    NGX_MAILPING_STOPPED,
    NGX_MAILPING_DISCONNECTS,
    NGX_MAILPING_ERRORS,           /* + mailping_redis_error_e */
    NGX_MAILPING_COUNTERS = NGX_MAILPING_ERRORS + MAILPING_REDIS_ERRORS
} ngx_mailping_counter_e;


/* what the owner of a ring shows of it in the zone */

typedef struct {
    ngx_atomic_t               used;        /* 0 free, 1 claimed, 2 valid */
    u_char                     uuid[16];
    ngx_atomic_t               base;        /* lsn - base: recorded here */
    ngx_atomic_t               lsn;
    ngx_atomic_t               undelivered;
    ngx_atomic_t               oldest;      /* Unix ms, 0 = none */
    ngx_atomic_t               size;
    ngx_atomic_t               state;       /* mailping_ring_state_e */
    ngx_atomic_t               pid;         /* of the owner, 0 = nobody */
} ngx_mailping_zone_ring_t;

#define NGX_MAILPING_ZONE_RINGS  256


/* what a worker has; NULL outside of workers that use the module */

typedef struct {
    ngx_mailping_main_conf_t  *conf;
    ngx_mailping_zone_t       *zone;
    mailping_history_t        *history;     /* in the zone, as the next two */
    mailping_recents_t        *recents;
    mailping_collapse_t       *collapse;
    ngx_uint_t                 row;         /* of the zone's counters */
    ngx_event_t                collapsed;   /* when entries are due */
    ngx_connection_t           dummy;       /* what its "data" is */
    ngx_mailping_spool_t      *spool;
    ngx_mailping_delivery_t   *delivery;    /* NULL: no mailping_redis */
    ngx_log_t                 *log;         /* the cycle's */
} ngx_mailping_worker_t;

extern ngx_mailping_worker_t  *ngx_mailping_worker;

#define ngx_mailping_count(counter, n)                                        \
    ngx_mailping_zone_count(ngx_mailping_worker, counter, n)


/*
 * What became of a request; reached through ngx_mailping_get_ctx().  Buffers
 * stand last, because only what is before them is zeroed.
 */

typedef struct {
    mailping_token_t           token;
    mailping_fetch_t           fetch;
    mailping_past_t            past;
    mailping_facts_t           facts;
    mailping_judgement_t       judgement;
    mailping_event_t           event;
    ngx_uint_t                 place;       /* the network's place counts */
    ngx_uint_t                 judged;      /* the event is complete */
    ngx_str_t                  name;        /* "<producer>/<seq>", or empty */

    uint8_t                    raw[MAILPING_TOKEN_RAW_MAX];
    u_char                     name_data[MAILPING_PRODUCER_TEXT_MAX + 24];
    u_char                     network[MAILPING_NETWORK_TEXT_MAX];
    u_char                     reasons[MAILPING_REASONS_MAX];
    u_char                     fact_text[MAILPING_FACTS_TEXT_MAX];
    u_char                     agent[MAILPING_EVENT_AGENT_MAX];
    u_char                     geo[4][MAILPING_EVENT_TEXT_MAX];
} ngx_mailping_ctx_t;


/* ngx_mailping_module.c */

extern ngx_module_t  ngx_mailping_module;


/* ngx_mailping_conf.c: setters, and the files that directives name */

char *ngx_mailping_conf_pixel(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_mailping_conf_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_mailping_conf_token_part(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_mailping_conf_privacy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_mailping_conf_rules(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_mailping_conf_spool(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_mailping_conf_mint(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_mailping_conf_endpoint(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Reads a file of at most max bytes into pool.  On failure *why is the name
 * of the call that set errno.
 */
ngx_int_t ngx_mailping_read_file(ngx_pool_t *pool, const char *path,
    size_t max, mailping_str_t *text, const char **why);

/* The first line of a text, without what ends it. */
ngx_str_t ngx_mailping_first_line(mailping_str_t *text);

#define NGX_MAILPING_PASSWORD_MAX  4096


/* ngx_mailping_redis.c, ngx_mailping_rules.c: their parts of configuration */

char *ngx_mailping_redis_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Resolves servers that are names when there is no resolver for them, also
 * under "nginx -t".
 */
ngx_int_t ngx_mailping_redis_init_module(ngx_cycle_t *cycle,
    ngx_mailping_main_conf_t *mmcf);

char *ngx_mailping_rules_init(ngx_conf_t *cf, ngx_mailping_main_conf_t *mmcf);


/* ngx_mailping_answer.c */

/*
 * Whether the request comes from this machine: loopback or unix, before and
 * after realip, without a header of a proxy.
 */
ngx_int_t ngx_mailping_local(ngx_http_request_t *r);

/* Adds a response header; value must live as long as the request. */
ngx_int_t ngx_mailping_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/*
 * Prepares a response that nothing may cache, compress, split or identify:
 * status 200, the headers that mint, status, explain and the pixel share.
 */
ngx_int_t ngx_mailping_answer(ngx_http_request_t *r, ngx_str_t *type,
    off_t length);

/*
 * Sends a JSON answer of the mint, status and explain locations: discards the
 * request body, then sends chain "out" (its last buffer gets the flags).
 */
ngx_int_t ngx_mailping_send_json(ngx_http_request_t *r, ngx_uint_t status,
    ngx_chain_t *out);

/*
 * The value of a query argument, percent-decoded into r->pool.  Returns
 * NGX_DECLINED when it is not given.
 */
ngx_int_t ngx_mailping_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* "text" as a JSON string with its quotes, in r->pool.  data NULL: no memory */
ngx_str_t ngx_mailping_json_string(ngx_pool_t *pool, size_t len,
    const u_char *text);


/* ngx_mailping_pixel.c */

ngx_int_t ngx_mailping_pixel_handler(ngx_http_request_t *r);
ngx_mailping_ctx_t *ngx_mailping_get_ctx(ngx_http_request_t *r);


/* ngx_mailping_evidence.c */

/*
 * Turns the request into facts and the event's descriptive values.  The whole
 * address is not kept.
 */
void ngx_mailping_evidence(ngx_http_request_t *r, ngx_mailping_ctx_t *ctx,
    ngx_mailping_loc_conf_t *mlcf, uint64_t now);

/*
 * Adds the place of the masked network to the event, after the judgement,
 * because few events may have one and it is the dearest look-up.
 */
void ngx_mailping_evidence_reader(ngx_http_request_t *r,
    ngx_mailping_ctx_t *ctx, ngx_mailping_loc_conf_t *mlcf);

/* Whether one of these facts, from "from" up to "to", is true. */
ngx_uint_t ngx_mailping_evidence_any(ngx_mailping_main_conf_t *mmcf,
    const mailping_facts_t *f, ngx_uint_t from, ngx_uint_t to);

/*
 * The peer's address in 16 bytes, IPv4 mapped.  Returns NGX_DECLINED for a
 * peer without one (unix).
 */
ngx_int_t ngx_mailping_address(struct sockaddr *sockaddr, uint8_t addr[16]);


/* ngx_mailping_record.c: what becomes a record of the spool */

void ngx_mailping_record_init(ngx_mailping_worker_t *worker);
/* Writes what was collapsed; before the spool is closed. */
void ngx_mailping_record_exit(ngx_mailping_worker_t *worker);

/*
 * Records the open, or counts it into one of its token's last minute; then it
 * has no name.
 */
void ngx_mailping_record_open(ngx_mailping_ctx_t *ctx);

/* Records a correction.  Returns NGX_OK, or what the spool says. */
ngx_int_t ngx_mailping_record_amend(const mailping_amend_t *amend);


/* ngx_mailping_amend.c */

/*
 * Corrects earlier opens that this one shows in another light, and remembers
 * it, as a later one may correct it.
 */
void ngx_mailping_amend(ngx_mailping_ctx_t *ctx);


/* ngx_mailping_mint.c, _status.c, _explain.c, _variables.c */

ngx_int_t ngx_mailping_mint_handler(ngx_http_request_t *r);
ngx_int_t ngx_mailping_status_handler(ngx_http_request_t *r);
ngx_int_t ngx_mailping_explain_handler(ngx_http_request_t *r);
ngx_int_t ngx_mailping_add_variables(ngx_conf_t *cf);


/* ngx_mailping_geo.c */

typedef struct {
    ngx_uint_t                 known;       /* an ASN database was asked */
    uint32_t                   asn;         /* 0 = it has none */
    ngx_str_t                  org;         /* into the buffer given */
} ngx_mailping_network_t;


typedef struct {
    ngx_str_t                  country;     /* ISO code */
    ngx_str_t                  region;
    ngx_str_t                  city;
} ngx_mailping_place_t;


/*
 * The setter of mailping_geoip.  Copies the files to sealed memory and checks
 * the copies, which workers inherit, so that a database that cannot be used
 * refuses the configuration; init_module could only end the master.
 */
char *ngx_mailping_geo_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* Warns of databases that look strange or that workers cannot read again. */
ngx_int_t ngx_mailping_geo_init_module(ngx_cycle_t *cycle,
    ngx_mailping_main_conf_t *mmcf);
ngx_int_t ngx_mailping_geo_init_process(ngx_cycle_t *cycle,
    ngx_mailping_main_conf_t *mmcf);
void ngx_mailping_geo_exit_process(ngx_mailping_main_conf_t *mmcf);

/* Whether an ASN database is configured. */
ngx_uint_t ngx_mailping_geo_has_asn(ngx_mailping_geo_t *geo);

/*
 * Look up the network and the place of an address.  Strings are copied to buf,
 * cut to MAILPING_EVENT_TEXT_MAX, so that a reload cannot pull them away.
 */
void ngx_mailping_geo_network(ngx_mailping_geo_t *geo, const uint8_t addr[16],
    ngx_mailping_network_t *network, u_char buf[MAILPING_EVENT_TEXT_MAX]);
void ngx_mailping_geo_place(ngx_mailping_geo_t *geo, const uint8_t addr[16],
    ngx_mailping_place_t *place, u_char buf[3][MAILPING_EVENT_TEXT_MAX]);

/* A JSON array of the databases, "[]" for geo NULL, for the status. */
ngx_int_t ngx_mailping_geo_status(ngx_mailping_geo_t *geo, ngx_pool_t *pool,
    ngx_str_t *json);


/* ngx_mailping_zone.c */

char *ngx_mailping_zone_create(ngx_conf_t *cf, ngx_mailping_main_conf_t *mmcf);
void ngx_mailping_zone_attach(ngx_mailping_worker_t *worker);
void ngx_mailping_zone_count(ngx_mailping_worker_t *worker,
    ngx_uint_t counter, ngx_int_t n);
ngx_atomic_uint_t ngx_mailping_zone_sum(ngx_mailping_zone_t *zone,
    ngx_uint_t counter);

/* A hash of what stands for a token or a network. */
uint64_t ngx_mailping_zone_hash(const u_char *data, size_t len);

/*
 * The zone's slot of a ring that this process holds, made when there is none;
 * NULL: too many rings at once.
 */
ngx_mailping_zone_ring_t *ngx_mailping_zone_ring(ngx_mailping_zone_t *zone,
    const mailping_ring_t *ring);
void ngx_mailping_zone_publish(ngx_mailping_zone_ring_t *zr,
    const mailping_ring_t *ring, ngx_pid_t owner);
/* A ring is no more; its slot goes on counting, with a size of 0. */
void ngx_mailping_zone_remove(ngx_mailping_zone_t *zone,
    const mailping_ring_t *ring);
ngx_mailping_zone_ring_t *ngx_mailping_zone_rings(ngx_mailping_zone_t *zone);

/* Unix ms of the zone's creation. */
uint64_t ngx_mailping_zone_since(ngx_mailping_zone_t *zone);


/* ngx_mailping_spool.c: the directory of rings */

#define NGX_MAILPING_SPOOL_MIN  (2 * 1024 * 1024)   /* for each worker */

/*
 * Checks that the directory can be used; makes and owns it when it is a real
 * start (under "nginx -t" only looks), and says how many opens it holds.
 */
ngx_int_t ngx_mailping_spool_init_module(ngx_cycle_t *cycle,
    ngx_mailping_main_conf_t *mmcf);

/*
 * Takes or makes the worker's ring.  A failure is logged, retried by
 * ngx_mailping_spool_tick() and never stops the worker.  NULL: no memory.
 */
ngx_mailping_spool_t *ngx_mailping_spool_open(ngx_cycle_t *cycle,
    ngx_mailping_worker_t *worker);
/* Writes what has to be written and gives all rings back. */
void ngx_mailping_spool_close(ngx_mailping_spool_t *spool);

/* Shows in the zone that records of one of the spool's rings were delivered */
void ngx_mailping_spool_changed(mailping_ring_t *ring);

/*
 * Appends a record, which stands for so many opens; on success *ring is the
 * ring that took it and record has its seq.  NGX_DECLINED: no room, NGX_ERROR:
 * not written.  Then its opens are counted as lost, and become a loss record
 * when there is room again.
 */
ngx_int_t ngx_mailping_spool_append(ngx_mailping_spool_t *spool,
    mailping_record_t *record, ngx_uint_t opens, mailping_ring_t **ring);


/* ngx_mailping_delivery.c, ngx_mailping_report.c */

ngx_mailping_delivery_t *ngx_mailping_delivery_start(ngx_cycle_t *cycle,
    ngx_mailping_worker_t *worker);

/* A record was appended: delivery is due at the end of this event loop turn */
void ngx_mailping_delivery_notify(ngx_mailping_delivery_t *delivery);

/* Rings taken and given back by the spool. */
ngx_int_t ngx_mailping_delivery_attach(ngx_mailping_delivery_t *delivery,
    mailping_ring_t *ring);
/* NGX_AGAIN: a batch of it is in flight, ask again later. */
ngx_int_t ngx_mailping_delivery_detach(ngx_mailping_delivery_t *delivery,
    mailping_ring_t *ring);
void ngx_mailping_delivery_stop(ngx_mailping_delivery_t *delivery);

/* One JSON object of this worker's connection for the status. */
ngx_int_t ngx_mailping_delivery_status(ngx_mailping_delivery_t *delivery,
    ngx_pool_t *pool, ngx_str_t *json);


#endif /* _NGX_MAILPING_H_INCLUDED_ */
