package Test::MailPing::Truth;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Truth - tables of fetches and of what they are judged to be

=head1 SYNOPSIS

    my $truth = Test::MailPing::Truth->new();

    $truth->add('Gmail', <<'END');
    # fetcher     from      age  hint    open   verdict   provider  more
    gmail         google    1h   gmail   yes    proxied   gmail     >=95
    gmail HEAD    google    1h   -       no     scanner   gmail     by:head
    END

    $truth->check();
    $truth->done();

=head1 DESCRIPTION

Each line is a request through nginx, with the headers of that fetcher in its
order and nothing else: the address comes by the PROXY protocol, the network's
number from a database made for the test, the time of sending from the token.
Expected is what stands in the stream.

Columns are separated by two blanks or more; a line with a backslash at its end
goes on in the next one.

=over

=item fetcher

A name of the list below or of agents(), and after single blanks C<HEAD>,
C<HTTP/1.0>, C<xN> (the N-th fetch of its token is judged), C<-Name> (without
this header) and at the end C<+Name: value> (with this one, or several).

=item from

A name of the list below or of place(), C<AS64500> for a network of this number
that no list has, or C<unix> for a fetch without an address.  C<home +50>: just
before, 50 other tokens were fetched in the same way from the same address.
C<aws E<gt> home>: just before, this token was fetched from there.

=item age

Time since sending, such as C<5s>, C<10m>, C<1h>, C<3d>; C<-> when it is not
known.  Tokens have whole seconds, so the fetch is up to a second older.

=item hint

The recipient's mailbox provider in the token, or C<->.

=item open, verdict, provider

As in the event; C<-> is no provider.

=item more

Words: C<E<gt>=95>, C<E<lt>=20>, C<40-60> (person), C<by:rule> (among the
reasons), C<not:rule> (not among them), C<client:name>, C<all> (the tokens
fetched just before are judged alike), C<after> (all amendments; without it,
what the open itself says).

=back

Each case has a masked network of its own, because ten seconds of fetches from
one network are evidence, too; where a place has too few, up to three share
one.

=cut

use strict;
use warnings;

use Socket qw(AF_INET AF_INET6 inet_ntop inet_pton);
use Test::More ();

use Test::MailPing qw(wait_for);
use Test::MailPing::MMDB qw(mmdb_write asn_record);

# fewer tokens from one network than any rule minds
use constant SHARE => 3;

my %seconds = (s => 1, m => 60, h => 3600, d => 86400);

my @opens = qw(yes no maybe);
my @verdicts = qw(human proxied shielded prefetch scanner bot self unknown);
my @hints = qw(gmail microsoft apple yahoo gateway other);


=head1 FETCHERS

Header by header as the sources have it: Gmail's proxy is gophish issue 1390,
Accept of browsers MDN's list of default values, Sec-Fetch MDN.  Of Apple's and
Yahoo's proxies no public source has more than the agent, so there are two of
each: with an image's usual headers, and "lean" with nothing but the agent.
Gateways have none of their own: the sources say that they send a browser's
agent, so in tables they are "chrome" (a sandboxed browser) or "chrome-lean"
(a script that says it is one).

=cut

my $webkit = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) '
             . 'AppleWebKit/605.1.15 (KHTML, like Gecko)';
my $ios = 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) '
          . 'AppleWebKit/605.1.15 (KHTML, like Gecko)';
my $chrome = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) '
             . 'AppleWebKit/537.36 (KHTML, like Gecko) '
             . 'Chrome/126.0.0.0 Safari/537.36';
my $prefetch = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) '
               . 'AppleWebKit/537.36 (KHTML, like Gecko) '
               . 'Chrome/42.0.2311.135 Safari/537.36 Edge/12.246';

my @host = (Host => 't.example.com');
my @alive = (Connection => 'keep-alive');

my $accept_chrome = 'image/avif,image/webp,image/apng,image/svg+xml,image/*,'
                    . '*/*;q=0.8';
my $accept_firefox = 'image/avif,image/webp,image/png,image/svg+xml,'
                     . 'image/*;q=0.8,*/*;q=0.5';
my $accept_safari = 'image/webp,image/png,image/svg+xml,image/*;q=0.8,'
                    . 'video/*;q=0.8,*/*;q=0.5';

my @chrome = (
    @host, @alive,
    'sec-ch-ua-platform' => '"Windows"',
    'User-Agent' => $chrome,
    'sec-ch-ua' => '"Not/A)Brand";v="8", "Chromium";v="126", '
                   . '"Google Chrome";v="126"',
    'sec-ch-ua-mobile' => '?0',
    Accept => $accept_chrome,
    'Sec-Fetch-Site' => 'cross-site',
    'Sec-Fetch-Mode' => 'no-cors',
    'Sec-Fetch-Dest' => 'image',
    'Accept-Encoding' => 'gzip, deflate, br, zstd',
    'Accept-Language' => 'en-US,en;q=0.9',
);

my @firefox = (
    @host,
    'User-Agent' => 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 '
                    . 'Firefox/128.0',
    Accept => $accept_firefox,
    'Accept-Language' => 'de,en-US;q=0.7,en;q=0.3',
    'Accept-Encoding' => 'gzip, deflate, br, zstd',
    @alive,
    'Sec-Fetch-Dest' => 'image',
    'Sec-Fetch-Mode' => 'no-cors',
    'Sec-Fetch-Site' => 'cross-site',
);

my @safari = (
    @host,
    'Sec-Fetch-Dest' => 'image',
    'User-Agent' => "$webkit Version/17.5 Safari/605.1.15",
    Accept => $accept_safari,
    'Sec-Fetch-Site' => 'cross-site',
    'Sec-Fetch-Mode' => 'no-cors',
    'Accept-Language' => 'en-GB,en;q=0.9',
    'Accept-Encoding' => 'gzip, deflate, br',
    @alive,
);

my @apple_mail = (
    @host,
    Accept => $accept_safari,
    @alive,
    'User-Agent' => $webkit,
    'Accept-Language' => 'en-GB,en;q=0.9',
    'Accept-Encoding' => 'gzip, deflate, br',
);

# Windows' own HTTP library

my @wininet = (
    Accept => '*/*',
    'Accept-Encoding' => 'gzip, deflate',
    'User-Agent' => 'Mozilla/4.0 (compatible; ms-office; MSOffice 16)',
    @host,
    Connection => 'Keep-Alive',
);

my %fetchers = (
    gmail => [
        @host, @alive,
        'User-Agent' => 'Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko '
                        . 'Firefox/11.0 (via ggpht.com GoogleImageProxy)',
        'Accept-Encoding' => 'gzip,deflate,br',
    ],
    'gmail-prefetch' => [
        @host, @alive,
        'User-Agent' => "$prefetch Mozilla/5.0",
        'Accept-Encoding' => 'gzip,deflate,br',
    ],
    'gmail-prefetch-twice' => [
        @host, @alive,
        'User-Agent' => "$prefetch Mozilla/5.0 $prefetch Mozilla/5.0",
        'Accept-Encoding' => 'gzip,deflate,br',
    ],
    edge12 => _as(\@chrome, $prefetch),

    mpp => [
        @host,
        Accept => $accept_safari,
        @alive,
        'User-Agent' => 'Mozilla/5.0',
        'Accept-Language' => 'en-GB,en;q=0.9',
        'Accept-Encoding' => 'gzip, deflate, br',
    ],
    'mpp-lean' => [ @host, 'User-Agent' => 'Mozilla/5.0', @alive ],

    yahoo => [
        @host,
        'User-Agent' => 'YahooMailProxy; https://help.yahoo.com/kb/'
                        . 'yahoo-mail-proxy-SLN28749.html',
        Accept => 'image/*',
        'Accept-Encoding' => 'gzip',
        @alive,
    ],
    'yahoo-lean' => [
        @host,
        'User-Agent' => 'YahooMailProxy; https://help.yahoo.com/kb/'
                        . 'yahoo-mail-proxy-SLN28749.html',
    ],

    chrome => \@chrome,
    'chrome-lean' => [
        @host,
        'User-Agent' => $chrome,
        Accept => '*/*',
        'Accept-Encoding' => 'gzip, deflate',
    ],
    edge => _as(\@chrome, "$chrome Edg/126.0.0.0"),
    firefox => \@firefox,
    safari => \@safari,
    iphone => _as(\@safari, "$ios Version/17.5 Mobile/15E148 Safari/604.1"),

    'apple-mail' => \@apple_mail,
    'ios-mail' => _as(\@apple_mail, "$ios Mobile/15E148"),
    'ms-office' => \@wininet,
    outlook => _as(\@wininet, 'Microsoft Office/16.0 (Windows NT 10.0; '
                              . 'Microsoft Outlook 16.0.17928; Pro)'),
    'new-outlook' => _as(\@chrome, "$chrome Edg/136.0.0.0 "
                                   . 'OneOutlook/1.2025.516.400'),
    thunderbird => [
        @host,
        'User-Agent' => 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) '
                        . 'Gecko/20100101 Thunderbird/128.5.0',
        Accept => $accept_firefox,
        'Accept-Language' => 'en-US,en;q=0.5',
        'Accept-Encoding' => 'gzip, deflate, br',
        @alive,
    ],

    curl => [ @host, 'User-Agent' => 'curl/8.5.0', Accept => '*/*' ],
    python => [
        @host,
        'User-Agent' => 'python-requests/2.31.0',
        'Accept-Encoding' => 'gzip, deflate',
        Accept => '*/*',
        @alive,
    ],
);


# These headers with another agent.

sub _as {
    my ($headers, $agent) = @_;

    my @headers = @$headers;

    for (my $i = 0; $i < @headers; $i += 2) {
        if (lc($headers[$i]) eq 'user-agent') {
            $headers[$i + 1] = $agent;
        }
    }

    return \@headers;
}


=head1 PLACES

Real networks with the numbers that announce them.  "home" is an access network
(Deutsche Telekom's), "phone" a carrier's with its NAT (T-Mobile's), "campus" a
university's (Zurich's).

=cut

my %places = (
    home => [ 3320, '91.0.0.0/16' ],
    home6 => [ 3320, '2003:c0::/32' ],
    phone => [ 21928, '172.56.0.0/16' ],
    campus => [ 559, '129.132.0.0/16' ],
    satellite => [ 14593, '14.1.64.0/19' ],

    # field.md: 66.249.8x, 66.249.9x "and other Google"; google6 is the
    # fetchers' published IPv6; google-own is Google's without being theirs
    google => [ 15169, '66.249.80.0/20' ],
    'google-more' => [ 15169, map { "$_.0/24" } qw(
        74.125.208 74.125.215 172.253.181 64.233.172 66.102.6 66.102.8) ],
    google6 => [ 15169, '2001:4860:4801:4008::/63' ],
    'google-own' => [ 15169, '108.177.2.0/24', '108.177.3.0/24' ],
    googlebot => [ 15169, '66.249.64.0/20' ],
    'google-cloud' => [ 396982, '35.192.0.0/16' ],

    # Apple's egress list, by who runs the nodes
    'relay-akamai' => [ 36183, qw(172.226.110.0/26 172.225.5.0/24
        172.225.7.0/24 172.225.12.0/24 172.225.15.0/24 172.225.16.0/24
        172.226.3.0/24 172.226.12.0/24 172.226.16.0/24) ],
    'relay-cloudflare' => [ 13335, qw(104.28.28.0/26 104.28.30.0/25
        104.28.39.0/25 104.28.40.0/25 104.28.42.0/25) ],
    'relay-fastly' => [ 54113, qw(146.75.132.0/25 146.75.136.0/24
        146.75.152.0/24 146.75.154.0/24) ],
    relay6 => [ 13335, '2606:54c0::/35' ],

    # not on the list, though trackers test it
    apple => [ 714, '17.58.0.0/16' ],
    warp => [ 13335, '104.28.0.0/20' ],

    yahoo => [ 34010, '46.228.32.0/20' ],
    'yahoo-us' => [ 36646, '66.163.168.0/21' ],
    proton => [ 62371, '185.70.40.0/22' ],
    fastmail => [ 151847, '202.12.124.0/24' ],

    microsoft => [ 8075, '20.33.0.0/16' ],
    microsoft6 => [ 8075, '2603:1000::/24' ],
    defender => [ 8075, '57.155.170.0/23' ],
    'eop-40.92' => [ 8075, '40.92.0.0/15' ],
    'eop-40.107' => [ 8075, '40.107.0.0/16' ],
    'eop-52.100' => [ 8075, '52.100.0.0/14' ],
    'eop-104.47' => [ 8075, '104.47.0.0/17' ],
    'eop-52.238' => [ 8075, '52.238.78.88/32' ],
    'eop-f400' => [ 8075, '2a01:111:f400::/48' ],
    'eop-f403' => [ 8075, '2a01:111:f403::/48' ],

    # aws is on the list of ranges, ovh has only its number
    aws => [ 16509, '3.5.0.0/18' ],
    hetzner => [ 24940, '88.198.0.0/16' ],
    ovh => [ 16276, '51.38.0.0/16' ],
    leaseweb => [ 60781, '95.211.0.0/16' ],

    aws6 => [ 16509, '2600:1f00:1000::/40' ],

    # exits of VPNs; their numbers are those of data centers
    vpn => [ 9009, '2.27.224.0/22', '5.157.160.0/22' ],
    'vpn-hosting' => [ 24940, '5.157.192.0/19' ],
    vpn6 => [ 9009, '2001:678:8b4::/48' ],
    m247 => [ 9009, '146.70.0.0/16' ],
    zscaler => [ 22616, '165.225.0.0/17' ],

    proofpoint => [ 22843, '67.231.144.0/20' ],
    proofpoint6 => [ 22843, '2620:0:2900::/47' ],
    mimecast => [ 30031, '170.10.128.0/21' ],
    mimecast6 => [ 30031, '2401:73c0::/47' ],
    cisco => [ 16417, '68.232.128.0/22' ],
    'barracuda-aws' => [ 16509, '3.24.133.128/25', '15.222.16.128/25',
                         '18.185.115.192/26' ],
    barracuda => [ 15324, '209.222.82.0/24', '198.35.20.0/22' ],
    symantec => [ 26282, '130.119.2.0/24' ],
    trendmicro => [ 16880, '150.70.0.0/20' ],
    forcepoint => [ 13448, '204.15.68.0/23' ],
    fortinet => [ 40934, '96.45.40.0/21' ],
);


=head1 METHODS

=over

=item new(asn => 1, http => '', location => '')

asn 0 is a server without an ASN database; http and location are more lines of
the configuration.

=cut

sub new {
    my ($class, %options) = @_;

    return bless {
        asn => 1,
        http => '',
        location => '',
        %options,
        t => Test::MailPing->new(),
        agents => {},
        places => { %places },
        fetchers => { %fetchers },
        networks => {},
        cases => [],
        fetched => 0,
    }, $class;
}


=item agents(BASE, NAME => AGENT, ...), place(NAME, ASN, CIDR...)

More fetchers, with the headers of BASE and another agent; another place, whose
networks have no number when ASN is undef.  A new place replaces one of its
name.

=cut

sub agents {
    my ($self, $base, %agents) = @_;

    for my $name (keys %agents) {
        die "fetcher \"$name\" is there\n" if $self->{fetchers}{$name};

        $self->{fetchers}{$name} = _as($self->{fetchers}{$base},
                                       $agents{$name});
    }

    return $self;
}


sub place {
    my ($self, $name, @place) = @_;

    $self->{places}{$name} = [ @place ];

    return $self;
}


=item add(SUBJECT, TABLE)

Adds the cases of a table; dies at a line that cannot be read.

=cut

sub add {
    my ($self, $subject, $table) = @_;

    # a backslash at its end continues a line

    for my $line (split(/\n/, $table =~ s/ *\\\n */  /gr)) {
        next if $line =~ /^\s*(?:#|$)/;

        push(@{$self->{cases}}, $self->_case($subject, $line));
    }

    return $self;
}


sub _case {
    my ($self, $subject, $line) = @_;

    my @columns = split(/\s{2,}/, $line =~ s/^\s+|\s+$//gr);
    my $wrong = sub { die "$_[0]: $line\n" };

    if (@columns != 7 && @columns != 8) {
        $wrong->('expected 7 or 8 columns, found ' . @columns);
    }

    my ($fetcher, $from, $age, $hint, $open, $verdict, $provider, $more)
        = @columns;

    my %case = (
        line => $line,
        name => "$subject: $fetcher from $from, "
                . ($age eq '-' ? 'sent ?' : $age)
                . ($hint eq '-' ? '' : ", for $hint"),
        open => $open,
        verdict => $verdict,
        provider => $provider eq '-' ? '' : $provider,
        hint => $hint eq '-' ? 0 : $hint,
    );

    if (!grep { $_ eq $open } @opens) {
        $wrong->("unknown open \"$open\"");
    }

    if (!grep { $_ eq $verdict } @verdicts) {
        $wrong->("unknown verdict \"$verdict\"");
    }

    if (!grep { $_ eq $hint } '-', @hints) {
        $wrong->("unknown hint \"$hint\"");
    }

    if ($age =~ /^(-?\d+)([smhd])$/) {
        $case{age} = $1 * $seconds{$2};

    } elsif ($age ne '-') {
        $wrong->("unknown age \"$age\"");
    }

    my @request = eval { $self->_request($fetcher) };
    $wrong->($@ =~ s/\n//r) if $@;

    @case{qw(method version nth header)} = @request;

    if ($from !~ /^(\S+(?: > \S+)*)(?: \+(\d+))?$/) {
        $wrong->("unknown place \"$from\"");
    }

    $case{crowd} = $2 // 0;
    $case{places} = [ split(/ > /, $1) ];

    # which of the token's entries is judged
    $case{seen} = $case{nth} + $#{$case{places}};

    for my $place (@{$case{places}}) {
        if (!$self->_known($place)) {
            $wrong->("unknown place \"$place\"");
        }
    }

    for my $word (split(/ /, $more // '')) {
        if ($word !~ /^(?:all|after|>=\d+|<=\d+|\d+-\d+
                          |(?:by|not|client):\S+)$/x)
        {
            $wrong->("unknown word \"$word\"");
        }

        push(@{$case{more}}, $word);
    }

    return \%case;
}


# Whether there is such a place; a number gets a network of its own.

sub _known {
    my ($self, $place) = @_;

    if ($place =~ /^AS(\d+)$/) {
        my $n = grep { /^AS\d/ } keys(%{$self->{places}});

        $self->{places}{$place} //= [ $1, "10.$n.0.0/16" ];
    }

    return $place eq 'unix' || $self->{places}{$place};
}


# Method, version, how many times, and headers of a fetcher's column.

sub _request {
    my ($self, $text) = @_;

    my $added = $text =~ s/ \+(\S.*)$// ? $1 : '';
    my ($name, @words) = split(/ /, $text);

    my @header = @{$self->{fetchers}{$name}
                   // die "unknown fetcher \"$name\"\n"};
    my ($method, $version, $nth) = ('GET', '1.1', 1);

    for my $word (@words) {
        if ($word eq 'HEAD') {
            $method = 'HEAD';

        } elsif ($word eq 'HTTP/1.0') {
            $version = '1.0';

        } elsif ($word =~ /^x(\d+)$/) {
            $nth = $1;

        } elsif ($word =~ /^-(\S+)$/) {
            my $gone = lc($1);
            my @kept;

            while (my ($key, $value) = splice(@header, 0, 2)) {
                push(@kept, $key, $value) if lc($key) ne $gone;
                $gone = '' if lc($key) eq $gone;
            }

            die "no header \"$gone\" to leave out\n" if $gone ne '';
            @header = @kept;

        } else {
            die "unknown word \"$word\"\n";
        }
    }

    for my $line (split(/ \+(?=[\w-]+: )/, $added)) {
        $line =~ /^([^\s:]+): (.*)$/ || die "not a header \"$line\"\n";
        push(@header, $1, $2);
    }

    return ($method, $version, $nth, \@header);
}


# The next masked network of a place: the address of its first host.

sub _address {
    my ($self, $place) = @_;

    my $state = $self->{networks}{$place} //= [ map {
        my ($address, $len) = m|^(.+)/(\d+)$| or die "not a CIDR: $_\n";
        my $family = $address =~ /:/ ? AF_INET6 : AF_INET;

        { family => $family, at => inet_pton($family, $address), len => $len,
          used => 0 };
    } @{$self->{places}{$place}}[1 .. $#{$self->{places}{$place}}] ];

    for my $share (1 .. SHARE) {
        for my $cidr (@$state) {
            my $mask = $cidr->{family} == AF_INET ? 24 : 48;
            my $n = $cidr->{len} < $mask ? 1 << ($mask - $cidr->{len}) : 1;

            if ($cidr->{used} < $n * $share) {
                my $i = $cidr->{used}++ % $n;
                my @bytes = unpack('C*', $cidr->{at});

                # the network's number stands in front of the mask's end

                $bytes[$mask / 8 - 1] += $i & 255;
                $bytes[$mask / 8 - 2] += $i >> 8;

                return inet_ntop($cidr->{family}, pack('C*', @bytes));
            }
        }
    }

    die "place \"$place\" has too few networks\n";
}


sub _start {
    my ($self) = @_;

    my $t = $self->{t};
    my $geoip = '';

    if ($self->{asn}) {
        my @records;

        for my $name (sort keys %{$self->{places}}) {
            my ($asn, @networks) = @{$self->{places}{$name}};

            if (defined $asn) {
                push(@records, map { [ $_, asn_record($asn, $name) ] }
                               @networks);
            }
        }

        mmdb_write($t->path('asn.mmdb'), 'GeoLite2-ASN', \@records);
        $geoip = "mailping_geoip asn=" . $t->path('asn.mmdb') . ';';
    }

    $t->write_conf(<<"END");
%%GLOBALS%%
events { }
http {
    %%GLOBALS_HTTP%%
    mailping_spool %%SPOOL%% size=16m sync=off;
    mailping_redis { server %%REDIS%%; }
    mailping_key 1 %%KEYFILE%%;
    $geoip
    set_real_ip_from 127.0.0.1;
    real_ip_header proxy_protocol;
    $self->{http}
    server {
        listen 127.0.0.1:%%PORT%% proxy_protocol;
        listen unix:%%PREFIX%%/http.sock;
        location /o/ { mailping; $self->{location} }
        location = /why { mailping_explain any; }
    }
}
END

    $self->{redis} = $t->redis();
    $t->start();

    return;
}


# Fetches a case; the id under which its entry is found.

sub _fetch {
    my ($self, $case, $id) = @_;

    my @addresses = map { $_ eq 'unix' ? undef : $self->_address($_) }
                    @{$case->{places}};
    my $address = pop(@addresses);

    for my $before (@addresses) {
        $self->_send($case, $id, $before);
    }

    for my $n (1 .. $case->{crowd}) {
        $self->_send($case, "$id-$n", $address);
    }

    for my $n (1 .. $case->{nth}) {
        $self->_send($case, $id, $address);
    }

    return $id;
}


sub _send {
    my ($self, $case, $id, $address) = @_;

    my $t = $self->{t};

    # the same token for each fetch of a case

    my $token = $case->{token}{$id} //= $t->mint(
        id => $id, hint => $case->{hint},
        sent => defined $case->{age} ? int(time()) - $case->{age} : 0);

    my $family = ($address // '') =~ /:/ ? 'TCP6' : 'TCP4';
    my $to = $family eq 'TCP6' ? '::1' : '127.0.0.1';

    my $r = $t->request($case->{method}, "/o/$token.gif", exact => 1,
        header => [ @{$case->{header}} ], version => $case->{version},
        defined $address
            ? (proxy_protocol => "PROXY $family $address $to 40000 80\r\n")
            : (unix => $t->path('http.sock')));

    if (!$r || $r->status() != 200) {
        die "no pixel: $case->{line}\n";
    }

    $self->{fetched}++;
}


=item run()

Starts nginx at the first call, fetches all cases that were added since the
last, and returns a list of [ case, entry, difference... ].

=cut

sub run {
    my ($self) = @_;

    $self->_start() if !$self->{redis};

    my @cases = splice(@{$self->{cases}});
    my $n = $self->{fetched};
    my %case = map { $self->_fetch($_, 'case-' . ++$n) => $_ } @cases;

    my (%entry, %amended);

    my $seen = sub {
        my @all = $self->{redis}->entries();
        my @opens = grep { $_->{type} eq 'open' } @all;
        my %event = map { $_->{event} => $_ } @opens;

        %entry = map { ("$_->{id} $_->{seen}" => $_) } @opens;
        %amended = map { $event{$_->{ref}} ? ($event{$_->{ref}} => $_) : () }
                   grep { $_->{type} eq 'amend' } @all;

        return @opens;
    };

    if (!wait_for(sub { $seen->() == $self->{fetched} })) {
        die "$self->{fetched} fetches, " . $seen->() . " events\n";
    }

    my %id = reverse(map { ($_ => $case{$_}) } keys(%case));

    return map { $self->_result($_, $id{$_}, \%entry, \%amended, $seen) }
           @cases;
}


# The entry of a case and what is wrong with it.  An amendment may come some
# time after the last open.

sub _result {
    my ($self, $case, $id, $entries, $amended, $seen) = @_;

    my %word = map { $_ => 1 } @{$case->{more} // []};
    my $key = "$id $case->{seen}";
    my @keys = ($key, $word{all} ? map { "$id-$_ 1" } 1 .. $case->{crowd} : ());
    my %wrong;

    $entries->{$key} // die "no event: $case->{line}\n";

    my $look = sub {
        %wrong = ();

        for my $entry (map { $entries->{$_} } @keys) {
            my $judged = $word{after} && $amended->{$entry}
                         ? { %$entry, %{$amended->{$entry}} } : $entry;

            $wrong{$_} = 1 for (differences($case, $judged));
        }

        return !%wrong;
    };

    if (!$look->() && $word{after}) {
        wait_for(sub { $seen->(); $look->() }, 2);
    }

    return [ $case, $entries->{$key}, sort keys %wrong ];
}


=item differences(CASE, ENTRY)

What of the entry is not as the case expects, a text each.

=cut

sub differences {
    my ($case, $entry) = @_;

    my @wrong;
    my $person = $entry->{person};
    my %reason = map { $_ => 1 } split(/,/, $entry->{reasons});

    for my $field (qw(open verdict provider)) {
        if ($entry->{$field} ne $case->{$field}) {
            push(@wrong, "$field \"$entry->{$field}\", "
                         . "expected \"$case->{$field}\"");
        }
    }

    # what every judgement owes: a score that agrees, where there is one

    my $open = $person eq '' ? $entry->{verdict} eq 'shielded' ? 'maybe' : 'no'
               : $person >= 80 ? 'yes' : $person <= 20 ? 'no' : 'maybe';

    if ($open ne $entry->{open}
        || ($person eq '') != ($entry->{verdict} =~ /^(?:shielded|self)$/))
    {
        push(@wrong, "person \"$person\" of \"$entry->{open}\"");
    }

    for my $word (@{$case->{more} // []}) {
        my $holds = $word =~ /^(?:all|after)$/ ? 1
                    : $word =~ /^by:(.+)/ ? $reason{$1}
                    : $word =~ /^not:(.+)/ ? !$reason{$1}
                    : $word =~ /^client:(.+)/ ? $entry->{client} eq $1
                    : $person eq '' ? 0
                    : $word =~ /^>=(.+)/ ? $person >= $1
                    : $word =~ /^<=(.+)/ ? $person <= $1
                    : $word =~ /^(\d+)-(\d+)$/ && $person >= $1
                      && $person <= $2;

        if (!$holds) {
            push(@wrong, "not $word");
        }
    }

    return @wrong;
}


=item check()

run(), with one test for each case.

=cut

sub check {
    my ($self) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    for my $result ($self->run()) {
        my ($case, $entry, @wrong) = @$result;

        if (!Test::More::ok(!@wrong, $case->{name})) {
            Test::More::diag($case->{line});
            Test::More::diag("  $_") for (@wrong);
            Test::More::diag("  person $entry->{person}, reasons "
                             . "$entry->{reasons}, facts $entry->{facts}");
        }
    }
}


=item server(), fetched(), done()

The L<Test::MailPing>, how many fetches it was asked for, and its end.

=back

=cut

sub fetched {
    return $_[0]{fetched};
}


sub server {
    return $_[0]{t};
}


sub done {
    my ($self) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    $self->{t}->done();
}


1;
