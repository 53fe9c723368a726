
/*
 * Copyright (C) MailPing
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mailping_mmdb.h"


/* how far the verification walks through the search tree */

#define NGX_MAILPING_MMDB_DEPTH    128
#define NGX_MAILPING_MMDB_NODES    4096
#define NGX_MAILPING_MMDB_RECORDS  256


static const char *ngx_mailping_mmdb_verify(const MMDB_s *mmdb,
    ngx_uint_t kind, ngx_uint_t *unusual);
static const char *ngx_mailping_mmdb_walk(const MMDB_s *mmdb, ngx_uint_t kind,
    ngx_uint_t *found);
static const char *ngx_mailping_mmdb_fits(MMDB_entry_s *entry, ngx_uint_t kind,
    ngx_uint_t *found);

static ngx_uint_t ngx_mailping_mmdb_find(const MMDB_s *mmdb,
    const uint8_t addr[16], MMDB_lookup_result_s *result);
static void ngx_mailping_mmdb_text(MMDB_lookup_result_s *result,
    const char *const *path, ngx_str_t *value, u_char *buf);
static ngx_int_t ngx_mailping_mmdb_number(MMDB_lookup_result_s *result,
    const char *const *path, uint32_t *number);


ngx_str_t  ngx_mailping_mmdb_kinds[NGX_MAILPING_MMDB_KINDS] = {
    ngx_string("asn"),
    ngx_string("city"),
    ngx_string("country")
};


/* a type name with one of these words says that the database fits */

static const char  *ngx_mailping_mmdb_words[NGX_MAILPING_MMDB_KINDS][4] = {
    { "ASN", "ISP", "Enterprise", NULL },
    { "City", "Enterprise", "Insights", NULL },
    { "Country", "City", "Enterprise", NULL }
};


static const char  *ngx_mailping_mmdb_lacks[] = {
    "it has no autonomous system numbers",
    "it has neither countries nor cities",
    "it has no countries"
};


static const char *const  ngx_mailping_mmdb_asn_path[] = {
    "autonomous_system_number", NULL
};

static const char *const  ngx_mailping_mmdb_org_path[] = {
    "autonomous_system_organization", NULL
};

static const char *const  ngx_mailping_mmdb_country_path[] = {
    "country", "iso_code", NULL
};

static const char *const  ngx_mailping_mmdb_registered_path[] = {
    "registered_country", "iso_code", NULL
};

static const char *const  ngx_mailping_mmdb_region_path[] = {
    "subdivisions", "0", "iso_code", NULL
};

static const char *const  ngx_mailping_mmdb_region_name_path[] = {
    "subdivisions", "0", "names", "en", NULL
};

static const char *const  ngx_mailping_mmdb_city_path[] = {
    "city", "names", "en", NULL
};


/* a record with one of these values belongs to a database that fits */

static const char *const
    *ngx_mailping_mmdb_marks[NGX_MAILPING_MMDB_KINDS][4] =
{
    { ngx_mailping_mmdb_asn_path, NULL },
    { ngx_mailping_mmdb_country_path, ngx_mailping_mmdb_registered_path,
      ngx_mailping_mmdb_city_path, NULL },
    { ngx_mailping_mmdb_country_path, ngx_mailping_mmdb_registered_path, NULL }
};


/* who is asked for a place first */

static const ngx_uint_t  ngx_mailping_mmdb_order[NGX_MAILPING_MMDB_KINDS] = {
    NGX_MAILPING_MMDB_CITY,
    NGX_MAILPING_MMDB_COUNTRY,
    NGX_MAILPING_MMDB_ASN
};


ngx_int_t
ngx_mailping_mmdb_open(const char *path, ngx_uint_t kind, MMDB_s *mmdb,
    ngx_uint_t *unusual, ngx_mailping_mmdb_failure_t *failure)
{
    int  rc;

    failure->err = 0;

    rc = MMDB_open(path, MMDB_MODE_MMAP, mmdb);

    switch (rc) {

    case MMDB_SUCCESS:
        break;

    case MMDB_FILE_OPEN_ERROR:
    case MMDB_IO_ERROR:
    case MMDB_OUT_OF_MEMORY_ERROR:
        failure->what = "MMDB_open() of the copy failed";
        failure->err = errno;
        return NGX_ERROR;

    default:
        failure->what = MMDB_strerror(rc);
        return NGX_DECLINED;
    }

    failure->what = ngx_mailping_mmdb_verify(mmdb, kind, unusual);

    if (failure->what != NULL) {
        MMDB_close(mmdb);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* Returns NULL or what is wrong. */

static const char *
ngx_mailping_mmdb_verify(const MMDB_s *mmdb, ngx_uint_t kind,
    ngx_uint_t *unusual)
{
    int                   rc;
    const char           *what, **word;
    ngx_uint_t            found;
    struct sockaddr_in    sin;
    MMDB_lookup_result_s  result;

    found = 0;

    what = ngx_mailping_mmdb_walk(mmdb, kind, &found);
    if (what != NULL) {
        return what;
    }

    /* the walk starts at the tree's root, IPv4 may start elsewhere */

    memset(&sin, 0, sizeof(struct sockaddr_in));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(0x08080808);

    result = MMDB_lookup_sockaddr(mmdb, (struct sockaddr *) &sin, &rc);

    if (rc != MMDB_SUCCESS) {
        return MMDB_strerror(rc);
    }

    if (result.found_entry) {
        what = ngx_mailping_mmdb_fits(&result.entry, kind, &found);
        if (what != NULL) {
            return what;
        }
    }

    *unusual = 0;

    for (word = ngx_mailping_mmdb_words[kind]; *word != NULL; word++) {
        if (strstr(mmdb->metadata.database_type, *word) != NULL) {
            return NULL;
        }
    }

    *unusual = 1;

    return found ? NULL : ngx_mailping_mmdb_lacks[kind];
}


/* A bounded walk in depth; *found is set by a record that fits the kind. */

static const char *
ngx_mailping_mmdb_walk(const MMDB_s *mmdb, ngx_uint_t kind, ngx_uint_t *found)
{
    int                 rc;
    uint8_t             types[2];
    uint64_t            records[2];
    uint32_t            stack[NGX_MAILPING_MMDB_DEPTH + 1];
    ngx_uint_t          i, depth, nodes, entries;
    const char         *what;
    MMDB_entry_s       *entry;
    MMDB_search_node_s  node;

    stack[0] = 0;
    depth = 1;
    entries = 0;

    for (nodes = 0; depth > 0 && nodes < NGX_MAILPING_MMDB_NODES; nodes++) {

        rc = MMDB_read_node(mmdb, stack[--depth], &node);
        if (rc != MMDB_SUCCESS) {
            return MMDB_strerror(rc);
        }

        types[0] = node.right_record_type;
        types[1] = node.left_record_type;
        records[0] = node.right_record;
        records[1] = node.left_record;

        for (i = 0; i < 2; i++) {

            switch (types[i]) {

            case MMDB_RECORD_TYPE_EMPTY:
                break;

            case MMDB_RECORD_TYPE_SEARCH_NODE:

                /* two children for one parent: the stack grows by one */

                if (depth > NGX_MAILPING_MMDB_DEPTH) {
                    return MMDB_strerror(MMDB_CORRUPT_SEARCH_TREE_ERROR);
                }

                stack[depth++] = (uint32_t) records[i];
                break;

            case MMDB_RECORD_TYPE_DATA:

                if (entries == NGX_MAILPING_MMDB_RECORDS) {
                    break;
                }

                entries++;
                entry = (i == 0) ? &node.right_record_entry
                                 : &node.left_record_entry;

                what = ngx_mailping_mmdb_fits(entry, kind, found);
                if (what != NULL) {
                    return what;
                }

                break;

            default:
                return MMDB_strerror(MMDB_CORRUPT_SEARCH_TREE_ERROR);
            }
        }
    }

    return NULL;
}


static const char *
ngx_mailping_mmdb_fits(MMDB_entry_s *entry, ngx_uint_t kind, ngx_uint_t *found)
{
    int                        rc;
    MMDB_entry_data_s          data;
    const char *const  *const *mark;

    for (mark = ngx_mailping_mmdb_marks[kind]; *mark != NULL; mark++) {

        rc = MMDB_aget_value(entry, &data, *mark);

        switch (rc) {

        case MMDB_SUCCESS:
            if (data.has_data) {
                *found = 1;
            }

            break;

        case MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR:
        case MMDB_INVALID_LOOKUP_PATH_ERROR:
            break;

        default:
            return MMDB_strerror(rc);
        }
    }

    return NULL;
}


void
ngx_mailping_mmdb_network(const MMDB_s *mmdb, const uint8_t addr[16],
    ngx_mailping_network_t *network, u_char buf[MAILPING_EVENT_TEXT_MAX])
{
    MMDB_lookup_result_s  result;

    memset(network, 0, sizeof(ngx_mailping_network_t));

    network->known = ngx_mailping_mmdb_find(mmdb, addr, &result);

    if (ngx_mailping_mmdb_number(&result, ngx_mailping_mmdb_asn_path,
                                 &network->asn)
        == NGX_ERROR)
    {
        network->known = 0;
    }

    ngx_mailping_mmdb_text(&result, ngx_mailping_mmdb_org_path, &network->org,
                           buf);
}


void
ngx_mailping_mmdb_place(const MMDB_s *dbs[NGX_MAILPING_MMDB_KINDS],
    const uint8_t addr[16], ngx_mailping_place_t *place,
    u_char buf[3][MAILPING_EVENT_TEXT_MAX])
{
    ngx_uint_t            i;
    MMDB_lookup_result_s  results[NGX_MAILPING_MMDB_KINDS];

    memset(place, 0, sizeof(ngx_mailping_place_t));

    /*
     * Where the network is comes before where it is registered.  The first
     * database knows most countries, so the others are seldom asked.
     */

    for (i = 0; i < NGX_MAILPING_MMDB_KINDS && place->country.len == 0; i++) {
        (void) ngx_mailping_mmdb_find(dbs[ngx_mailping_mmdb_order[i]], addr,
                                      &results[i]);
        ngx_mailping_mmdb_text(&results[i], ngx_mailping_mmdb_country_path,
                               &place->country, buf[0]);
    }

    for (i = 0; i < NGX_MAILPING_MMDB_KINDS && place->country.len == 0; i++) {
        ngx_mailping_mmdb_text(&results[i], ngx_mailping_mmdb_registered_path,
                               &place->country, buf[0]);
    }

    /* of the city database, which was asked first */

    ngx_mailping_mmdb_text(&results[0], ngx_mailping_mmdb_region_path,
                           &place->region, buf[1]);
    ngx_mailping_mmdb_text(&results[0], ngx_mailping_mmdb_region_name_path,
                           &place->region, buf[1]);
    ngx_mailping_mmdb_text(&results[0], ngx_mailping_mmdb_city_path,
                           &place->city, buf[2]);
}


/* Whether the database could answer, found or not. */

static ngx_uint_t
ngx_mailping_mmdb_find(const MMDB_s *mmdb, const uint8_t addr[16],
    MMDB_lookup_result_s *result)
{
    int                  rc;
    struct sockaddr_in   sin;
    struct sockaddr_in6  sin6;
    static const uint8_t  mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                         0xff, 0xff };

    memset(result, 0, sizeof(MMDB_lookup_result_s));

    if (mmdb == NULL) {
        return 0;
    }

    if (memcmp(addr, mapped, 12) == 0) {
        memset(&sin, 0, sizeof(struct sockaddr_in));
        sin.sin_family = AF_INET;
        memcpy(&sin.sin_addr, addr + 12, 4);

        *result = MMDB_lookup_sockaddr(mmdb, (struct sockaddr *) &sin, &rc);

    } else {

        /* an IPv4 database knows nothing of IPv6 */

        if (mmdb->metadata.ip_version == 4) {
            return 0;
        }

        memset(&sin6, 0, sizeof(struct sockaddr_in6));
        sin6.sin6_family = AF_INET6;
        memcpy(&sin6.sin6_addr, addr, 16);

        *result = MMDB_lookup_sockaddr(mmdb, (struct sockaddr *) &sin6, &rc);
    }

    if (rc != MMDB_SUCCESS) {
        result->found_entry = 0;
        return 0;
    }

    return 1;
}


/* Sets a value that an earlier look-up did not. */

static void
ngx_mailping_mmdb_text(MMDB_lookup_result_s *result, const char *const *path,
    ngx_str_t *value, u_char *buf)
{
    size_t             len;
    MMDB_entry_data_s  data;

    if (value->len != 0
        || !result->found_entry
        || MMDB_aget_value(&result->entry, &data, path) != MMDB_SUCCESS
        || !data.has_data
        || data.type != MMDB_DATA_TYPE_UTF8_STRING)
    {
        return;
    }

    len = data.data_size;

    if (len > MAILPING_EVENT_TEXT_MAX) {
        len = MAILPING_EVENT_TEXT_MAX;

        /* a character of UTF-8 that does not fit goes as a whole */

        while (len > 0 && (data.utf8_string[len] & 0xc0) == 0x80) {
            len--;
        }
    }

    memcpy(buf, data.utf8_string, len);

    value->len = len;
    value->data = buf;
}


/* NGX_DECLINED: there is no number; NGX_ERROR: it cannot be one. */

static ngx_int_t
ngx_mailping_mmdb_number(MMDB_lookup_result_s *result, const char *const *path,
    uint32_t *number)
{
    MMDB_entry_data_s  data;

    if (!result->found_entry
        || MMDB_aget_value(&result->entry, &data, path) != MMDB_SUCCESS
        || !data.has_data)
    {
        return NGX_DECLINED;
    }

    switch (data.type) {

    case MMDB_DATA_TYPE_UINT16:
        *number = data.uint16;
        return NGX_OK;

    case MMDB_DATA_TYPE_UINT32:
        *number = data.uint32;
        return NGX_OK;

    case MMDB_DATA_TYPE_UINT64:

        if (data.uint64 > UINT32_MAX) {
            return NGX_ERROR;
        }

        *number = (uint32_t) data.uint64;
        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}
