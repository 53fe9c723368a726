#!/usr/bin/env perl

# Copyright (C) MailPing

# mailping_mint: an address for a GET, a stream of them for a POST, whoever
# the client is and however slowly, or not at all, it reads.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use JSON::PP qw(decode_json);
use POSIX ();
use Test::More;
use Test::MailPing qw(wait_for run_command);
use Time::HiRes qw(sleep time);


use constant MILLION => 1_000_000;

# what a worker may grow by, in KiB; a batch holds far less
use constant GROWTH => 2048;

my $base = 'https://t.example.com/o/';

my $id_error = 'id must be 1 to 64 printable ASCII characters without space '
               . 'and "@"';
my $recipient_error = 'recipient must be at most 32 printable ASCII '
                      . 'characters without space and "@"';
my $hint_error = 'hint must be unknown, gmail, microsoft, apple, yahoo, '
                 . 'gateway or other';
my $privacy_error = 'privacy must be full, masked, minimal, day, count or off';
my $kind_error = 'kind must be single, top, bottom, amp or test';
my $sent_error = 'sent must be Unix seconds, 0 to 4294967295';

my $t = Test::MailPing->new();

$t->write_conf(<<'END');
%%GLOBALS%%
worker_processes 1;
events { }
http {
    %%GLOBALS_HTTP%%

    mailping_key 1 %%KEYFILE%%;
    client_max_body_size 0;

    server {
        listen 127.0.0.1:%%PORT%%;
        listen 127.0.0.1:%%PORT_H2%% http2;

        location = /mint {
            mailping_mint https://t.example.com/o/;
        }

        location = /any {
            mailping_mint https://t.example.com/o/ any;
        }

        location = /small {
            mailping_mint https://t.example.com/o/;
            client_max_body_size 1k;
        }

        location = /hasty {
            mailping_mint https://t.example.com/o/;
            client_body_timeout 1s;
            send_timeout 1s;
        }

        location = /thrifty {
            mailping_mint https://t.example.com/o/;
            limit_rate 100k;
        }

        location = /file {
            mailping_mint https://t.example.com/o/;
            client_body_in_file_only clean;
        }

        location = /other {
            return 200 other;
        }
    }
}
END

$t->start();


# GET

my $r = $t->get('/mint?id=msg-1&recipient=u1&hint=gmail&privacy=minimal'
                . '&kind=top&sent=1700000000');
my $url = url(id => 'msg-1', recipient => 'u1', hint => 'gmail',
              privacy => 'minimal', kind => 'top', sent => 1700000000);

is($r->status(), 200, 'GET');
is($r->header('Content-Type'), 'application/json', 'type');
like($r->header('Cache-Control'), qr/no-store/, 'not to be stored');
is_deeply(decode_json($r->body()),
          { url => $url,
            html => qq{<img src="$url" alt="" width="1" height="1">} },
          'url and html');

is($t->request('HEAD', '/mint?id=msg-1')->status(), 200, 'HEAD');

my @times = (time());
$r = decode_json($t->get('/mint?id=msg-1')->body());
push(@times, time());

ok(scalar(grep { url(id => 'msg-1', sent => $_) eq $r->{url} }
          (int($times[0]) - 1 .. int($times[1]))), 'sent is now by default');

is(get('sent=0&id=msg-1&hint=&recipient=&kind=&privacy=')->{url},
   url(id => 'msg-1'), 'empty values, any order');
is(get('id=a%2Fb%26c%25%3D%2B+&sent=0')->{url}, url(id => 'a/b&c%=++'),
   'percent-decoded; a plus is a plus');
is(get('&&id=a&&sent=4294967295&')->{url}, url(id => 'a', sent => 4294967295),
   'empty parameters are nothing');

for my $case (
    [ '' => $id_error ],
    [ 'id' => $id_error ],
    [ 'id=' => $id_error ],
    [ 'hint=gmail' => $id_error ],
    [ 'id=a%40b' => $id_error ],
    [ 'id=a%20b' => $id_error ],
    [ 'id=a%00b' => $id_error ],
    [ 'id=%C3%A4' => $id_error ],
    [ 'id=' . 'a' x 65 => $id_error ],
    [ 'id=a&recipient=' . 'a' x 33 => $recipient_error ],
    [ 'id=a&recipient=b%40c' => $recipient_error ],
    [ 'id=a&hint=gmai' => $hint_error ],
    [ 'id=a&hint=1' => $hint_error ],
    [ 'id=a&privacy=location' => $privacy_error ],
    [ 'id=a&privacy=7' => $privacy_error ],
    [ 'id=a&kind=TOP' => $kind_error ],
    [ 'id=a&sent=-1' => $sent_error ],
    [ 'id=a&sent=4294967296' => $sent_error ],
    [ 'id=a&sent=99999999999999999999' => $sent_error ],
    [ 'id=a&sent=now' => $sent_error ],
    [ 'id=a&id=b' => 'parameter id is given twice' ],
    [ 'id=a&Hint=gmail' => 'unknown parameter "Hint", expected id, recipient, '
                           . 'hint, privacy, kind or sent' ],
    [ 'id=a&recipent=b' => 'unknown parameter "recipent", expected id, '
                           . 'recipient, hint, privacy, kind or sent' ],
    [ 'id=a&%68int=gmail' => 'unknown parameter "%68int", expected id, '
                             . 'recipient, hint, privacy, kind or sent' ],
    [ 'id=a&' . 'x"' x 500 => 'unknown parameter "' . 'x"' x 32
                              . '", expected id, recipient, hint, privacy, '
                              . 'kind or sent' ],
) {
    my ($arguments, $error) = @$case;

    $r = $t->get("/mint?$arguments");

    is($r->status() . ' ' . $r->body(), '400 ' . error_json($error),
       'refused: ' . substr($arguments, 0, 30));
}

$r = $t->request('PUT', '/mint', body => 'a');
is($r->status(), 405, 'PUT');
is($r->header('Allow'), 'GET, HEAD, POST', 'what is allowed');


# who may ask

for my $header ('X-Forwarded-For', 'Forwarded', 'Via') {
    for my $method ('GET', 'POST') {
        is($t->request($method, '/mint?id=a', header => [ $header, 'a' ],
                       body => $method eq 'POST' ? "a\n" : '')->status(),
           403, "$method through a proxy: $header");
    }
}

is($t->get('/any?id=a', header => [ 'X-Forwarded-For', '192.0.2.1' ])
   ->status(), 200, 'any');


# POST

my $batch = join("\n",
    'msg-1',
    "msg-2\tu2",
    "msg-3\tu3\tgmail\tminimal\ttop\t1700000000",
    "msg-4\t\t\t\t\t7",
    "msg-5\t\t\t\t\t",
    "msg-6\r",
    '',
    "\r",
    "a\@b",
    "a b",
    "\tu2",
    "a\t" . 'b' x 33,
    "a\tb\tc",
    "a\tb\t\tc",
    "a\tb\t\t\tc",
    "a\tb\t\t\t\tc",
    "a\tb\t\t\t\t1\t",
    "a\0b",
    'x' x 64,
    'x' x 65,
    'x' x 1024,
    'x' x 1025,
    'x' x 100_000,
    'last');

my @answers = (
    url(id => 'msg-1'),
    url(id => 'msg-2', recipient => 'u2'),
    url(id => 'msg-3', recipient => 'u3', hint => 'gmail',
        privacy => 'minimal', kind => 'top', sent => 1700000000),
    url(id => 'msg-4', sent => 7),
    url(id => 'msg-5'),
    url(id => 'msg-6'),
    ("error: $id_error") x 5,
    "error: $recipient_error",
    "error: $hint_error",
    "error: $privacy_error",
    "error: $kind_error",
    "error: $sent_error",
    'error: line must have at most 6 fields separated by tabs',
    "error: $id_error",
    url(id => 'x' x 64),
    ("error: $id_error") x 2,
    ('error: line must be at most 1024 bytes') x 2,
    url(id => 'last'),
);

my $answer = join('', map { "$_\n" } @answers);

$r = $t->request('POST', '/mint', body => $batch);
is($r->status(), 200, 'POST');
is($r->header('Content-Type'), 'text/plain', 'type');
is($r->body(), $answer, 'each line is answered in its place');

is($t->request('POST', '/mint', body => "$batch\n")->body(), $answer,
   'a last line feed is no line');
is($t->request('POST', '/file', body => $batch)->body(), $answer,
   'client_body_in_file_only');
is($t->request('POST', '/mint', body => $batch, version => '1.0')->body(),
   $answer, 'HTTP/1.0');
is($t->request('POST', '/mint?id=a&x=y', body => "a\n")->body(),
   url(id => 'a') . "\n", 'arguments of a POST are nothing');

for my $size (1, 2, 3, 7, 1000, 8191) {
    is($t->request('POST', '/mint', body => chunked($batch, $size),
                   header => [ 'Transfer-Encoding', 'chunked' ])->body(),
       $answer, "chunks of $size bytes");
}

for my $empty ([ 'Content-Length', 0 ], []) {
    $r = $t->request('POST', '/mint', header => $empty);
    is($r->status() . $r->body(), '200', 'empty body');
}

my $c = $t->connect();

$c->send_request('POST', '/mint', body => "a\nb\n");
$c->send_request('POST', '/mint', body => chunked("c\n", 1),
                 header => [ 'Transfer-Encoding', 'chunked' ]);
$c->send_request('GET', '/other');

is($c->response()->body(), url(id => 'a') . "\n" . url(id => 'b') . "\n",
   'a batch');
is($c->response()->body(), url(id => 'c') . "\n", 'a pipelined batch');
is($c->response()->body(), 'other', 'and a request after it');

is($t->request('POST', '/mint', body => "a\n",
               header => [ 'Expect', '100-continue' ])->status(), 100,
   'Expect: 100-continue');


# a client that waits for each answer

$c = $t->connect();
$c->write("POST /mint HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
          . "\r\n" . chunk("one\ntw"));

like(read_until($c, qr/\.gif\n/), qr/\Q@{[ url(id => 'one') ]}\E\n/,
     'the first answer comes before the body ends');

$c->write(chunk("o"));
$c->write(chunk("\nthree"));

like(read_until($c, qr/\.gif\n/), qr/\Q@{[ url(id => 'two') ]}\E\n/,
     'a line in three parts');

$c->write("0\r\n\r\n");

like(read_until($c, qr/\r\n0\r\n\r\n/), qr/\Q@{[ url(id => 'three') ]}\E\n/,
     'the last one comes with the end');

$c->write("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
like(read_until($c, qr/other$/), qr/ 200 /, 'the connection lives on');
$c->close();


# limits

is($t->request('POST', '/small', body => "a\n" x 600)->status(), 413,
   'a body that is announced as too large');

$c = $t->connect();
$c->write("POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
          . "\r\n" . chunk("a\n" x 100));
like(read_until($c, qr/\.gif\n/), qr/ 200 /, 'a body in chunks is begun');
$c->write(chunk("a\n" x 600));
unlike($c->read_all(), qr/\r\n0\r\n\r\n/, 'and cut off where it is too large');

$c = $t->connect();
$c->write("POST /hasty HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\na\nb");
like(read_until($c, qr/\.gif\n/), qr/ 200 /, 'a body that stops');
$c->read_all();
ok(!$c->timed_out(), 'is given up');

$c = $t->connect();
my $begun = time();
flood($c, '/hasty');
ok(time() - $begun < 8, 'a client that never reads is given up');


# clients that leave

my ($worker) = $t->workers();

for my $close ('at once', 'unread') {
    for (1 .. 20) {
        $c = $t->connect();
        $c->write("POST /mint HTTP/1.1\r\nHost: a\r\n"
                  . "Content-Length: 1000000\r\n\r\n" . "abc\n" x 1000);

        if ($close eq 'unread') {
            read_until($c, qr/\.gif/);
        }

        $c->close();
    }
}

is($t->get('/other')->body(), 'other', 'clients that leave');


# a million lines

my $before = peak($worker);

is(million($t, sub { }), MILLION, 'a million addresses');
cmp_ok(peak($worker) - $before, '<', GROWTH, 'in bounded memory');

# one that begins to read late; others are served meanwhile

my $slow = sub {
    my $served = 0;

    for (1 .. 20) {
        $served += $t->get('/other')->status() == 200;
        sleep(0.05);
    }

    is($served, 20, 'others are served while a client does not read');
};

is(million($t, $slow), MILLION, 'a million addresses for a late reader');
cmp_ok(peak($worker) - $before, '<', GROWTH, 'in bounded memory');

$r = $t->request('POST', '/thrifty', body => "a\n" x 2000);
is(scalar(() = $r->body() =~ /\.gif\n/g), 2000, 'limit_rate');

SKIP: {
    my ($code, $output) = run_command('curl', '--version');

    if ($code != 0 || $output !~ /\bHTTP2\b/) {
        skip('no curl with HTTP/2', 5);
    }

    $t->write_file('lines', join('', map { "m$_\tr\n" } 1 .. 300_000));
    $t->write_file('lines.short', "$batch\n");

    my @curl = ('curl', '-sS', '--http2-prior-knowledge', '-X', 'POST',
                '-w', '%{http_version} %{http_code}');
    my $uri = 'http://127.0.0.1:' . $t->port('H2') . '/mint';

    ($code, $output) = run_command(@curl, '--data-binary',
                                   '@' . $t->path('lines.short'), $uri);
    is("$code $output", "0 ${answer}2 200", 'HTTP/2');

    ($code, $output) = run_command(@curl, '--data-binary',
                                   '@' . $t->path('lines'), '-o',
                                   $t->path('h2.out'), $uri);

    is("$code $output", '0 2 200', 'HTTP/2, many lines');

    my @lines = split(/\n/, $t->read_file('h2.out'));

    is(scalar(@lines), 300_000, 'all are answered');
    is($lines[-1], url(id => 'm300000', recipient => 'r'), 'in order');
    cmp_ok(peak($worker) - $before, '<', GROWTH, 'in bounded memory');
}

is(($t->workers())[0], $worker, 'the worker is still the same');

$t->done();


sub url {
    return $base . $t->mint(@_) . '.gif';
}


sub get {
    my ($arguments) = @_;

    return decode_json($t->get("/mint?$arguments")->body());
}


sub error_json {
    my ($error) = @_;

    $error =~ s/"/\\"/g;

    return qq({"error": "$error"}\n);
}


sub chunk {
    my ($bytes) = @_;

    return sprintf("%x\r\n%s\r\n", length($bytes), $bytes);
}


sub chunked {
    my ($bytes, $size) = @_;

    return join('', map { chunk($_) } $bytes =~ /.{1,$size}/gs) . "0\r\n\r\n";
}


# Reads until the bytes match, or the time is over; returns what it read.

sub read_until {
    my ($connection, $regex) = @_;

    my $bytes = '';
    my $until = time() + 10;

    while ($bytes !~ $regex && time() < $until) {
        IO::Select->new($connection->socket())->can_read(0.1) || next;
        sysread($connection->socket(), $bytes, 65536, length($bytes)) || last;
    }

    return $bytes;
}


# Writes lines, and reads nothing, until the peer closes or 10 s are over.

sub flood {
    my ($connection, $uri) = @_;

    my $socket = $connection->socket();
    my $until = time() + 10;

    local $SIG{PIPE} = 'IGNORE';

    $connection->write("POST $uri HTTP/1.1\r\nHost: a\r\n"
                       . "Content-Length: 1000000000\r\n\r\n");
    $socket->blocking(0);

    while (time() < $until) {
        IO::Select->new($socket)->can_write(0.1) || next;
        defined syswrite($socket, "abcdefg\n" x 4096) || $!{EAGAIN} || last;
    }

    $connection->close();
}


# The peak of a process's resident memory, in KiB.

sub peak {
    my ($pid) = @_;

    open(my $file, '<', "/proc/$pid/status") || die "no process $pid: $!\n";

    my ($peak) = grep { defined } map { /^VmHWM:\s+(\d+) kB/ } <$file>;

    return $peak;
}


# Sends a million lines in a process of its own, calls what is to be done
# before reading, reads, and returns how many right answers came in order;
# each 1009th is compared as a whole.

sub million {
    my ($test, $meanwhile) = @_;

    my $connection = $test->connect(timeout => 30);
    my $pid = fork() // die "cannot fork: $!\n";

    if ($pid == 0) {
        alarm(120);

        $connection->write("POST /mint HTTP/1.1\r\nHost: a\r\n"
                           . "Connection: close\r\n"
                           . "Transfer-Encoding: chunked\r\n\r\n");

        for (my $i = 0; $i < MILLION; $i += 1000) {
            $connection->write(chunk(join('',
                map { "m$_\tr$_\tgmail\n" } $i .. $i + 999)));
        }

        $connection->write("0\r\n\r\n");
        POSIX::_exit(0);
    }

    $meanwhile->();

    my ($buffer, $lines, $head) = ('', 0, 0);
    my $socket = $connection->socket();

    # the chunks of the answer end between lines

    READ:
    while (IO::Select->new($socket)->can_read(30)
           && sysread($socket, $buffer, 65536, length($buffer)))
    {
        if (!$head) {
            $buffer =~ s/^HTTP.*?\r\n\r\n//s || next;
            $head = 1;
        }

        while ($buffer =~ /\G([^\n]*)\n/gc) {
            my $line = $1;

            if ($line =~ /^[0-9a-f]*\r$/) {
                next;
            }

            if ($line !~ /^\Q$base\E[\w-]+\.gif$/
                || $lines % 1009 == 0
                   && $line ne url(id => "m$lines", recipient => "r$lines",
                                   hint => 'gmail'))
            {
                diag("line $lines: \"$line\"");
                last READ;
            }

            $lines++;
        }

        $buffer = substr($buffer, pos($buffer) // 0);
    }

    $connection->close();
    waitpid($pid, 0);

    return $lines;
}
