
/*
 * Copyright (C) MailPing
 */


#include <errno.h>

#include "crc32c.h"
#include "spool_format.h"


#define MAILPING_RING_STATIC      512
#define MAILPING_RING_COPY        2048
#define MAILPING_RING_SLOT_A      4096
#define MAILPING_RING_SLOT_B      18432
#define MAILPING_RING_SLOT_HEAD   128
#define MAILPING_RING_SLOT_ENTRY  64

#define MAILPING_RING_FORMAT      1
#define MAILPING_RING_CLEAN_FLAG  1

#define MAILPING_SLOT_MAGIC       0x4c53504d   /* "MPSL" */
#define MAILPING_BLOCK_MAGIC      0x4c42504d   /* "MPBL" */


static uint32_t mailping_ring_seed(const mailping_ring_params_t *params);
static int mailping_ring_check_header(const uint8_t *p,
    mailping_ring_params_t *params, const char **why);
static int mailping_ring_check_slot(const mailping_ring_t *ring,
    unsigned index, mailping_ring_slot_t *slot);
static size_t mailping_ring_build_slot(uint8_t *dst, uint32_t seed,
    uint32_t partitions, const mailping_ring_slot_t *slot,
    const mailping_ring_partition_t *part);


int
mailping_ring_error(int rc)
{
    errno = -rc;
    return MAILPING_ERROR;
}


uint64_t
mailping_ring_place(const mailping_ring_t *ring, uint64_t position)
{
    return MAILPING_RING_HEADER
           + position % (ring->blocks * MAILPING_RING_BLOCK);
}


static uint32_t
mailping_ring_seed(const mailping_ring_params_t *params)
{
    uint32_t  crc;

    crc = mailping_crc32c(0, params->salt, sizeof(params->salt));

    return mailping_crc32c(crc, params->uuid, sizeof(params->uuid));
}


int
mailping_ring_format(const mailping_storage_t *storage,
    const mailping_ring_params_t *params)
{
    int                   rc;
    uint8_t               header[MAILPING_RING_HEADER], *p;
    uint32_t              seed;
    uint64_t              blocks;
    mailping_ring_slot_t  slot;

    blocks = params->size / MAILPING_RING_BLOCK;

    if (params->size % MAILPING_RING_BLOCK != 0
        || blocks < 1 + MAILPING_RING_BLOCKS_MIN
        || blocks > 1 + MAILPING_RING_BLOCKS_MAX
        || params->partitions == 0
        || params->partitions > MAILPING_RING_PARTITIONS_MAX
        || params->prefix.len > MAILPING_RING_PREFIX_MAX)
    {
        errno = EINVAL;
        return MAILPING_ERROR;
    }

    memset(header, 0, sizeof(header));

    p = header;

    memcpy(p, "MAILPING", 8);
    mailping_put32(p + 8, MAILPING_RING_FORMAT);
    mailping_put32(p + 20, MAILPING_RING_HEADER);
    mailping_put32(p + 24, MAILPING_RING_BLOCK);
    mailping_put32(p + 28, params->partitions);
    mailping_put64(p + 32, params->size);
    mailping_put64(p + 40, params->device);
    mailping_put64(p + 48, params->inode);
    mailping_put64(p + 56, params->made);
    memcpy(p + 64, params->uuid, 16);
    memcpy(p + 80, params->salt, 16);
    mailping_put32(p + 96, (uint32_t) params->prefix.len);

    if (params->prefix.len != 0) {
        memcpy(p + 100, params->prefix.data, params->prefix.len);
    }

    mailping_put32(p + MAILPING_RING_STATIC - 4,
                   mailping_crc32c(0, p, MAILPING_RING_STATIC - 4));

    memcpy(header + MAILPING_RING_COPY, p, MAILPING_RING_STATIC);

    memset(&slot, 0, sizeof(mailping_ring_slot_t));

    slot.boot_id = params->boot_id;
    seed = mailping_ring_seed(params);

    slot.generation = 1;
    mailping_ring_build_slot(header + MAILPING_RING_SLOT_A, seed,
                             params->partitions, &slot, NULL);

    slot.generation = 2;
    mailping_ring_build_slot(header + MAILPING_RING_SLOT_B, seed,
                             params->partitions, &slot, NULL);

    rc = storage->pwrite(storage->data, header, sizeof(header), 0);

    return rc == 0 ? MAILPING_OK : mailping_ring_error(rc);
}


int
mailping_ring_load_header(mailping_ring_t *ring,
    const mailping_storage_t *storage, uint64_t size, const char **why)
{
    int                     rc;
    const char             *ignored;
    mailping_ring_params_t  other;

    memset(ring, 0, sizeof(mailping_ring_t));

    ring->storage = *storage;

    if (size < (1 + MAILPING_RING_BLOCKS_MIN) * MAILPING_RING_BLOCK) {
        *why = "the file is too short for a ring";
        return MAILPING_DECLINED;
    }

    rc = storage->pread(storage->data, ring->block, MAILPING_RING_HEADER, 0);

    if (rc != 0) {
        return mailping_ring_error(rc);
    }

    if (mailping_ring_check_header(ring->block, &ring->params, why)
        != MAILPING_OK)
    {
        if (mailping_ring_check_header(ring->block + MAILPING_RING_COPY,
                                       &ring->params, &ignored)
            != MAILPING_OK)
        {
            return MAILPING_DECLINED;
        }

        ring->damage = MAILPING_RING_STATIC;

    } else if (mailping_ring_check_header(ring->block + MAILPING_RING_COPY,
                                          &other, &ignored)
               != MAILPING_OK)
    {
        ring->damage = MAILPING_RING_STATIC;
    }

    if (ring->params.size != size) {
        *why = "the file's size is not the one in its header";
        return MAILPING_DECLINED;
    }

    memcpy(ring->prefix, ring->params.prefix.data, ring->params.prefix.len);
    ring->params.prefix.data = (const uint8_t *) ring->prefix;

    ring->blocks = size / MAILPING_RING_BLOCK - 1;
    ring->seed = mailping_ring_seed(&ring->params);

    return MAILPING_OK;
}


static int
mailping_ring_check_header(const uint8_t *p, mailping_ring_params_t *params,
    const char **why)
{
    uint64_t  blocks;

    if (memcmp(p, "MAILPING", 8) != 0) {
        *why = "the file is not a ring";
        return MAILPING_DECLINED;
    }

    if (mailping_get32(p + 8) != MAILPING_RING_FORMAT) {
        *why = "the ring has an unknown format version";
        return MAILPING_DECLINED;
    }

    if (mailping_get32(p + MAILPING_RING_STATIC - 4)
        != mailping_crc32c(0, p, MAILPING_RING_STATIC - 4))
    {
        *why = "the ring's header has a wrong checksum";
        return MAILPING_DECLINED;
    }

    if (mailping_get32(p + 12) != 0) {
        *why = "the ring has unknown incompatible flags";
        return MAILPING_DECLINED;
    }

    if (mailping_get32(p + 20) != MAILPING_RING_HEADER
        || mailping_get32(p + 24) != MAILPING_RING_BLOCK)
    {
        *why = "the ring has another header or block size";
        return MAILPING_DECLINED;
    }

    params->partitions = mailping_get32(p + 28);

    if (params->partitions == 0
        || params->partitions > MAILPING_RING_PARTITIONS_MAX)
    {
        *why = "the ring's number of partitions is out of range";
        return MAILPING_DECLINED;
    }

    params->size = mailping_get64(p + 32);
    blocks = params->size / MAILPING_RING_BLOCK;

    if (params->size % MAILPING_RING_BLOCK != 0
        || blocks < 1 + MAILPING_RING_BLOCKS_MIN
        || blocks > 1 + MAILPING_RING_BLOCKS_MAX)
    {
        *why = "the ring's size is out of range";
        return MAILPING_DECLINED;
    }

    params->prefix.len = mailping_get32(p + 96);

    if (params->prefix.len > MAILPING_RING_PREFIX_MAX) {
        *why = "the ring's prefix is too long";
        return MAILPING_DECLINED;
    }

    params->prefix.data = p + 100;
    params->device = mailping_get64(p + 40);
    params->inode = mailping_get64(p + 48);
    params->made = mailping_get64(p + 56);
    memcpy(params->uuid, p + 64, 16);
    memcpy(params->salt, p + 80, 16);

    return MAILPING_OK;
}


int
mailping_ring_load_slot(mailping_ring_t *ring, mailping_ring_slot_t *slot)
{
    int                         have[2];
    uint32_t                    i;
    const uint8_t              *p;
    mailping_ring_slot_t        found[2];
    mailping_ring_partition_t  *part;

    have[0] = mailping_ring_check_slot(ring, 0, &found[0]);
    have[1] = mailping_ring_check_slot(ring, 1, &found[1]);

    if (!have[0] && !have[1]) {
        return 0;
    }

    if (have[0] && have[1]) {
        *slot = found[found[1].generation > found[0].generation];

    } else {
        *slot = found[have[1]];
    }

    ring->generation = slot->generation;
    ring->clean = (slot->flags & MAILPING_RING_CLEAN_FLAG) != 0;
    memcpy(ring->boot_id, slot->boot_id, sizeof(ring->boot_id));

    for (i = 0; i < ring->params.partitions; i++) {
        p = slot->entries + i * MAILPING_RING_SLOT_ENTRY;
        part = &ring->part[i];

        part->acked = mailping_get64(p);
        memcpy(part->identity.run_id, p + 8, 20);
        memcpy(part->identity.replid, p + 28, 20);
    }

    return 1;
}


/* Fills *slot, which points into ring->block then.  Returns 0 or 1. */

static int
mailping_ring_check_slot(const mailping_ring_t *ring, unsigned index,
    mailping_ring_slot_t *slot)
{
    size_t          size;
    uint32_t        i;
    const uint8_t  *p;

    p = ring->block + (index ? MAILPING_RING_SLOT_A : MAILPING_RING_SLOT_B);
    size = MAILPING_RING_SLOT_HEAD
           + ring->params.partitions * MAILPING_RING_SLOT_ENTRY;

    if (mailping_get32(p) != MAILPING_SLOT_MAGIC
        || mailping_get32(p + 4)
           != mailping_crc32c(ring->seed, p + 8, size - 8))
    {
        return 0;
    }

    slot->generation = mailping_get64(p + 8);
    slot->flags = mailping_get32(p + 16);
    slot->state = mailping_get32(p + 20);
    slot->hint = mailping_get64(p + 32);
    slot->hint_lsn = mailping_get64(p + 40);
    slot->head = mailping_get64(p + 48);
    slot->head_lsn = mailping_get64(p + 56);
    slot->undelivered = mailping_get64(p + 64);
    slot->boot_id = p + 72;
    slot->entries = p + MAILPING_RING_SLOT_HEAD;

    if (slot->generation % 2 != index
        || slot->generation == 0
        || slot->generation >= MAILPING_RING_LIMIT
        || (slot->flags & ~(uint32_t) MAILPING_RING_CLEAN_FLAG) != 0
        || slot->state > MAILPING_RING_FAILED
        || mailping_get32(p + 24) != ring->params.partitions
        || mailping_get32(p + 28) != 0)
    {
        return 0;
    }

    if (slot->head >= MAILPING_RING_LIMIT
        || slot->hint > slot->head
        || slot->head - slot->hint > ring->blocks * MAILPING_RING_BLOCK
        || slot->hint % 8 != 0
        || slot->head % 8 != 0
        || slot->hint_lsn > slot->hint / MAILPING_RING_RECORD
        || slot->head_lsn > slot->head / MAILPING_RING_RECORD
        || slot->hint_lsn > slot->head_lsn
        || slot->undelivered > slot->head_lsn - slot->hint_lsn)
    {
        return 0;
    }

    for (i = 0; i < ring->params.partitions; i++) {
        if (mailping_get64(slot->entries + i * MAILPING_RING_SLOT_ENTRY)
            > slot->head_lsn)
        {
            return 0;
        }
    }

    return 1;
}


int
mailping_ring_write_slot(mailping_ring_t *ring)
{
    int                   rc;
    size_t                n;
    mailping_ring_slot_t  slot;

    memset(&slot, 0, sizeof(mailping_ring_slot_t));

    slot.generation = ++ring->generation;
    slot.flags = ring->clean ? MAILPING_RING_CLEAN_FLAG : 0;
    slot.state = ring->state;
    slot.hint = ring->tail;
    slot.hint_lsn = ring->tail_lsn;
    slot.head = ring->position;
    slot.head_lsn = ring->lsn;
    slot.undelivered = ring->undelivered;
    slot.boot_id = ring->boot_id;

    n = mailping_ring_build_slot(ring->page, ring->seed,
                                 ring->params.partitions, &slot, ring->part);

    rc = ring->storage.pwrite(ring->storage.data, ring->page, n,
                              slot.generation % 2 ? MAILPING_RING_SLOT_A
                                                  : MAILPING_RING_SLOT_B);

    return rc == 0 ? MAILPING_OK : mailping_ring_error(rc);
}


static size_t
mailping_ring_build_slot(uint8_t *dst, uint32_t seed, uint32_t partitions,
    const mailping_ring_slot_t *slot, const mailping_ring_partition_t *part)
{
    size_t    size;
    uint8_t  *p;
    uint32_t  i;

    size = MAILPING_RING_SLOT_HEAD + partitions * MAILPING_RING_SLOT_ENTRY;

    memset(dst, 0, size);

    mailping_put32(dst, MAILPING_SLOT_MAGIC);
    mailping_put64(dst + 8, slot->generation);
    mailping_put32(dst + 16, slot->flags);
    mailping_put32(dst + 20, slot->state);
    mailping_put32(dst + 24, partitions);
    mailping_put64(dst + 32, slot->hint);
    mailping_put64(dst + 40, slot->hint_lsn);
    mailping_put64(dst + 48, slot->head);
    mailping_put64(dst + 56, slot->head_lsn);
    mailping_put64(dst + 64, slot->undelivered);
    memcpy(dst + 72, slot->boot_id, 16);

    if (part != NULL) {
        p = dst + MAILPING_RING_SLOT_HEAD;

        for (i = 0; i < partitions; i++) {
            mailping_put64(p, part[i].acked);
            memcpy(p + 8, part[i].identity.run_id, 20);
            memcpy(p + 28, part[i].identity.replid, 20);

            p += MAILPING_RING_SLOT_ENTRY;
        }
    }

    mailping_put32(dst + 4, mailping_crc32c(seed, dst + 8, size - 8));

    return size;
}


int
mailping_ring_check_block(const mailping_ring_t *ring, const uint8_t *p,
    uint64_t *number, uint64_t *lsn)
{
    if (mailping_get32(p) != MAILPING_BLOCK_MAGIC
        || mailping_get32(p + 4)
           != mailping_crc32c(ring->seed, p + 8, MAILPING_RING_BLOCK_HEAD - 8))
    {
        return 0;
    }

    *number = mailping_get64(p + 8);
    *lsn = mailping_get64(p + 16);

    return *number < MAILPING_RING_LIMIT / MAILPING_RING_BLOCK
           && *lsn != 0
           && *lsn - 1 <= *number * MAILPING_RING_BLOCK / MAILPING_RING_RECORD;
}


size_t
mailping_ring_build_block(uint8_t *dst, uint32_t seed, uint64_t number,
    uint64_t lsn)
{
    memset(dst, 0, MAILPING_RING_BLOCK_HEAD);

    mailping_put32(dst, MAILPING_BLOCK_MAGIC);
    mailping_put64(dst + 8, number);
    mailping_put64(dst + 16, lsn);
    mailping_put32(dst + 4, mailping_crc32c(seed, dst + 8,
                                            MAILPING_RING_BLOCK_HEAD - 8));

    return MAILPING_RING_BLOCK_HEAD;
}


size_t
mailping_ring_check_record(const mailping_ring_t *ring,
    const mailping_ring_cursor_t *c, uint64_t at, size_t n,
    mailping_record_t *record, unsigned *tries)
{
    size_t          len;
    uint64_t        above;
    const uint8_t  *p;

    if (n < MAILPING_RING_RECORD) {
        return 0;
    }

    p = ring->block + at % MAILPING_RING_BLOCK;
    len = mailping_get32(p + 4);

    if (len > MAILPING_RING_PAYLOAD_MAX
        || mailping_ring_align(MAILPING_RING_RECORD + len, 8) > n
        || p[8] == 0
        || mailping_get32(p + 12) != 0)
    {
        return 0;
    }

    record->partition = mailping_get16(p + 10);
    record->lsn = mailping_get64(p + 16);
    record->seq = mailping_get64(p + 24);

    /* there cannot be more records than fit into the bytes between */

    above = c->loose ? at : at - c->position;

    if (record->partition >= ring->params.partitions
        || record->lsn <= c->lsn
        || record->lsn - c->lsn - 1 > above / MAILPING_RING_RECORD
        || record->seq == 0
        || record->seq > record->lsn)
    {
        return 0;
    }

    if (mailping_get32(p)
        != mailping_crc32c(ring->seed, p + 4, MAILPING_RING_RECORD - 4 + len))
    {
        (*tries)--;
        return 0;
    }

    record->payload.len = len;
    record->payload.data = p + MAILPING_RING_RECORD;
    record->time = mailping_get64(p + 32);
    record->type = p[8];
    record->version = p[9];

    return (size_t) mailping_ring_align(MAILPING_RING_RECORD + len, 8);
}


size_t
mailping_ring_build_record(uint8_t *dst, uint32_t seed,
    const mailping_record_t *record)
{
    size_t  n, size;

    n = MAILPING_RING_RECORD + record->payload.len;
    size = (size_t) mailping_ring_align(n, 8);

    mailping_put32(dst + 4, (uint32_t) record->payload.len);
    dst[8] = record->type;
    dst[9] = record->version;
    mailping_put16(dst + 10, (uint16_t) record->partition);
    mailping_put32(dst + 12, 0);
    mailping_put64(dst + 16, record->lsn);
    mailping_put64(dst + 24, record->seq);
    mailping_put64(dst + 32, record->time);

    if (record->payload.len != 0) {
        memcpy(dst + MAILPING_RING_RECORD, record->payload.data,
               record->payload.len);
    }

    memset(dst + n, 0, size - n);

    mailping_put32(dst, mailping_crc32c(seed, dst + 4, n - 4));

    return size;
}
