#!/usr/bin/env perl

# Copyright (C) MailPing

# The examples of the documentation are loaded: each ```nginx block is put
# where its "test:" comment says and given to "nginx -t"; the README's lines
# are added to Debian's own nginx.conf, and an open goes from there to Redis.
# The map of the source names every file, and no other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::MailPing qw(wait_for repository run_command);
use Test::MailPing::MMDB qw(mmdb_write asn_record city_record);


my $t = Test::MailPing->new();
my $redis = $t->redis();

mkdir($t->path('etc'));
$t->write_file('etc/1.key', $t->key());
$t->write_file('etc/2.key', 'ab' x 32);
$t->write_file('etc/redis.password', "secret\n");
$t->write_file('etc/site.rules', "# none yet\n");

mmdb_write($t->path('GeoLite2-ASN.mmdb'), 'GeoLite2-ASN',
           [ [ '192.0.2.0/24', asn_record(64496, 'Example') ] ]);
mmdb_write($t->path('GeoLite2-City.mmdb'), 'GeoLite2-City',
           [ [ '192.0.2.0/24', city_record('CH', 'ZH', 'Winterthur') ] ]);

my %wrap = (
    main => sub { $_[0] },
    http => sub {
        my ($example) = @_;

        my $spool = $example =~ /mailping_spool/ ? ''
                    : 'mailping_spool /var/lib/mailping;';
        my $key = $example =~ /mailping_key/ ? ''
                  : 'mailping_key 1 /etc/nginx/mailping/1.key;';

        return "%%GLOBALS%%\nevents { }\nhttp {\n%%GLOBALS_HTTP%%\n$spool\n"
               . "$key\n$example\nserver { listen 127.0.0.1:%%PORT%%; "
               . "location /o/ { mailping; } }\n}\n";
    },
    server => sub {
        my ($example) = @_;

        return "%%GLOBALS%%\nevents { }\nhttp {\n%%GLOBALS_HTTP%%\n"
               . "mailping_spool /var/lib/mailping;\n"
               . "mailping_key 1 /etc/nginx/mailping/1.key;\n"
               . "server { listen 127.0.0.1:%%PORT%%;\n$example\n}\n}\n";
    },
);


# the paths and ports of the documentation become those of the test

sub here {
    my ($text) = @_;

    my $prefix = $t->prefix();
    my $module = $t->module();
    my $port = $t->port();

    $text =~ s{/etc/nginx/mailping/}{$prefix/etc/}g;
    $text =~ s{/var/lib/mailping}{$prefix/spool}g;
    $text =~ s{/usr/share/GeoIP/}{$prefix/}g;
    $text =~ s{modules/ngx_mailping_module\.so}{$module}g;
    $text =~ s{redis\.example\.com:6379|127\.0\.0\.1:6379}
              {unix:$prefix/redis.sock}g;
    $text =~ s{listen\s+80;}{listen 127.0.0.1:$port;}g;

    return $text;
}


sub text_of {
    my ($file) = @_;

    open(my $in, '<', repository() . "/$file") || die "no $file: $!\n";
    local $/;

    return scalar(<$in>);
}


sub examples {
    my ($file, $mark) = @_;

    my $text = text_of($file);

    my $unmarked = () = $text =~ /^```nginx\n/mg;
    my @examples;

    while ($text =~ /^<!--\ $mark:\ (\w+)\ -->\n```nginx\n(.*?)^```\n/xmsg) {
        push(@examples, [ $1, $2 ]);
    }

    is(scalar(@examples), $unmarked, "every example of $file is marked");

    return @examples;
}


my $n = 0;

for my $file (map { s|.*/docs/|docs/|r } glob(repository() . '/docs/*.md')) {
    for my $example (examples($file, 'test')) {
        my ($where, $text) = @$example;
        my ($code, $output) = $t->check_conf(here($wrap{$where}->($text)));

        $n++;
        is($code, 0, "$file: example $n, in $where")
            || diag("$text\n$output");
    }
}

cmp_ok($n, '>', 10, 'there are examples');

my ($code) = $t->check_conf(here($wrap{server}->("location / { mailpin; }")));
isnt($code, 0, 'the control: a wrong example fails');


# a file of core is named with or without its suffix, one of the glue also
# without what all of them begin with

sub unnamed {
    my ($text, @files) = @_;

    return grep {
        my ($core, $stem, $suffix) = m|(core/)?(\w+)(\.[ch])$|;
        my $short = $stem =~ s/^ngx_mailping(?=_)//r;

        $text !~ m{`(?:core/)?(?:\Q$stem$suffix\E|\Q$short$suffix\E)`}
        && !($core && $text =~ /`\Q$stem\E`/)
    } @files;
}


my $architecture = text_of('docs/architecture.md');
my $source = repository() . '/ngx_mailping_module';
my @files = glob("$source/*.[ch] $source/core/*.[ch]");

cmp_ok(scalar(@files), '>', 50, 'there are source files');
is(join(' ', unnamed($architecture, @files)), '',
   'docs/architecture.md names every source file');
is(join(' ', unnamed($architecture, 'core/no.c', 'ngx_mailping_no.c')),
   'core/no.c ngx_mailping_no.c', 'the control: an unnamed file is noticed');

my @gone = grep { !-e "$source/$_" && !-e "$source/core/$_" }
           $architecture =~ /`(?:core\/)?(ngx_mailping\w*\.[ch])`/g;

is("@gone", '', 'docs/architecture.md names no file that is gone');


# the README's lines in Debian's stock configuration

SKIP: {
    my $stock = '/etc/nginx/nginx.conf';

    if (!-r $stock) {
        skip("no $stock of Debian's nginx", 6);
    }

    # dpkg knows what the file was before an operator changed it

    my (undef, $files) = run_command('dpkg-query', '-W', '-f', '${Conffiles}',
                                     'nginx-common');
    my ($shipped) = $files =~ m{ \Q$stock\E ([0-9a-f]{32})};
    my ($code, $sum) = run_command('md5sum', $stock);

    if ($code != 0 || !$shipped || $sum !~ /^$shipped /) {
        skip("$stock is not as Debian ships it", 6);
    }

    my %readme = map { $_->[0] => here($_->[1]) }
                     examples('README.md', 'stock');

    open(my $in, '<', $stock) || die;
    my $conf = do { local $/; <$in> };

    my $prefix = $t->prefix();
    my $modules = '/etc/nginx/modules-enabled';

    mkdir("$prefix/conf.d");
    $t->write_file('conf.d/mailping.conf', $readme{http});

    # the same file, but with the test's own log, pid, site and conf.d

    $conf =~ s{include \Q$modules\E/\*\.conf;}{};
    $conf =~ s{/etc/nginx/sites-enabled/}{$prefix/none/}g;
    $conf =~ s{/etc/nginx/conf\.d/}{$prefix/conf.d/}g;
    $conf =~ s{/var/log/nginx/}{$prefix/}g;
    $conf =~ s{/run/nginx\.pid}{$prefix/nginx.pid}g;
    $conf =~ s/^http \{/http {\n%%GLOBALS_HTTP%%\n/m;

    $t->write_conf($readme{top} . $conf);

    ($code, my $output) = $t->check_conf($readme{top} . $conf);

    is($code, 0, "Debian's nginx.conf with the README's lines")
        || diag($output);

    $t->start();

    my $c = $t->connect();
    my $r = $c->exchange('GET', '/mint?id=order-4711&recipient=u83&hint=gmail',
                         header => [ Host => 't.example.com' ]);

    is($r->status(), 200, 'minted');

    my ($url) = $r->body() =~ m{https://t\.example\.com(/o/[\w.-]+)};

    $r = $c->exchange('GET', $url, header => [ Host => 't.example.com' ]);

    is(length($r->body()), 43, 'the pixel');

    ok(wait_for(sub { $redis->entries() == 1 }), 'the open is in the stream');
    is(($redis->entries())[0]{id}, 'order-4711', 'with its id');
}

$t->done();
