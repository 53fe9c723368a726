
/*
 * Copyright (C) MailPing
 */


#include "judge.h"


static void mailping_judge_json_text(mailping_str_t text);
static void mailping_judge_tsv_text(mailping_str_t text);


void
mailping_judge_row(mailping_judge_t *judge, unsigned input,
    const mailping_judge_cell_t *cells, unsigned ncells)
{
    unsigned        i, output;
    mailping_str_t  name;

    output = judge->output != MAILPING_JUDGE_ANY ? judge->output : input;

    if (output == MAILPING_JUDGE_TSV) {

        /* each kind of row has a table of columns of its own */

        if (judge->head != cells[0].name) {
            judge->head = cells[0].name;

            for (i = 0; i < ncells; i++) {
                fputs_unlocked(cells[i].name, stdout);
                putc_unlocked(i + 1 < ncells ? '\t' : '\n', stdout);
            }
        }

        for (i = 0; i < ncells; i++) {
            mailping_judge_tsv_text(cells[i].value);
            putc_unlocked(i + 1 < ncells ? '\t' : '\n', stdout);
        }

        return;
    }

    for (i = 0; i < ncells; i++) {
        putc_unlocked(i ? ',' : '{', stdout);

        name.data = (const uint8_t *) cells[i].name;
        name.len = strlen(cells[i].name);

        mailping_judge_json_text(name);
        putc_unlocked(':', stdout);
        mailping_judge_json_text(cells[i].value);
    }

    fputs_unlocked("}\n", stdout);
}


static void
mailping_judge_json_text(mailping_str_t text)
{
    size_t   i, start, n;
    uint8_t  c;

    putc_unlocked('"', stdout);

    start = 0;
    i = 0;

    while (i < text.len) {
        c = text.data[i];

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }

        n = mailping_judge_character(text.data + i, text.len - i);

        if (n > 1) {
            i += n;
            continue;
        }

        if (i != start) {
            fwrite_unlocked(text.data + start, 1, i - start, stdout);
        }

        if (n == 0) {

            /* JSON is UTF-8: what is none becomes the replacement character */

            fputs_unlocked("\\ufffd", stdout);

        } else if (c == '"' || c == '\\') {
            putc_unlocked('\\', stdout);
            putc_unlocked(c, stdout);

        } else {
            fprintf(stdout, "\\u%04x", c);
        }

        start = ++i;
    }

    if (i != start) {
        fwrite_unlocked(text.data + start, 1, i - start, stdout);
    }

    putc_unlocked('"', stdout);
}


static void
mailping_judge_tsv_text(mailping_str_t text)
{
    size_t   i;
    uint8_t  c;

    for (i = 0; i < text.len; i++) {
        c = text.data[i];

        putc_unlocked(c < 0x20 || c == 0x7f ? ' ' : c, stdout);
    }
}


/* RFC 3629, section 4: neither overlong forms nor surrogates. */

size_t
mailping_judge_character(const uint8_t *p, size_t n)
{
    size_t    i, len;
    uint32_t  c;

    static const uint32_t  least[] = { 0, 0, 0x80, 0x800, 0x10000 };

    if (p[0] < 0x80) {
        return 1;
    }

    if (p[0] >= 0xc2 && p[0] < 0xe0) {
        len = 2;

    } else if (p[0] >= 0xe0 && p[0] < 0xf0) {
        len = 3;

    } else if (p[0] >= 0xf0 && p[0] < 0xf5) {
        len = 4;

    } else {
        return 0;
    }

    if (len > n) {
        return 0;
    }

    c = p[0] & (0x7fu >> len);

    for (i = 1; i < len; i++) {

        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = c << 6 | (p[i] & 0x3f);
    }

    return c >= least[len] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff)
           ? len : 0;
}


void
mailping_judge_cells(const mailping_judge_t *judge,
    const mailping_judgement_t *j, mailping_judge_cell_t *cells,
    uint8_t buf[MAILPING_JUDGE_CELL_MAX])
{
    int          len;
    const char  *name;

    name = mailping_open_name(j->open);

    cells[0].name = "open";
    cells[0].value.data = (const uint8_t *) name;
    cells[0].value.len = strlen(name);

    len = j->person == MAILPING_PERSON_NONE
          ? 0 : snprintf((char *) buf, 8, "%d", j->person);

    cells[1].name = "person";
    cells[1].value.data = buf;
    cells[1].value.len = (size_t) len;

    name = mailping_verdict_name(j->verdict);

    cells[2].name = "verdict";
    cells[2].value.data = (const uint8_t *) name;
    cells[2].value.len = strlen(name);

    cells[3].name = "provider";
    cells[3].value = j->provider;

    cells[4].name = "reasons";
    cells[4].value.data = buf + 8;
    cells[4].value.len = mailping_classify_reasons(judge->rules, j, buf + 8);
}
